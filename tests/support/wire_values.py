"""Values of every kind that the wire carries: hypothesis strategies for them, and when two of them are the same."""

from __future__ import annotations

import math
import struct
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import scipy.sparse
from hypothesis import strategies as st
from PIL import Image

DTYPES = ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    texts,
    st.binary(max_size=12),
)
zones = st.one_of(
    st.none(),
    st.integers(-86_399_999_999, 86_399_999_999).map(lambda us: timezone(timedelta(microseconds=us))),
    st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"]).map(ZoneInfo),
)
times = st.one_of(
    st.dates(),
    st.times(timezones=zones),
    st.datetimes(timezones=zones, allow_imaginary=True),
    st.timedeltas(),
    st.builds(lambda when, fold: when.replace(fold=fold), st.datetimes(), st.integers(0, 1)),
)
decimals = st.one_of(
    st.decimals(),
    st.builds(
        lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(), st.integers(-999, 999)
    ),
    st.sampled_from(["-0", "0E+9999", "1E-9999", "sNaN7", "-NaN12345", "-Infinity", "1.50", "9" * 999]).map(
        Decimal
    ),
)
keys = st.one_of(texts, st.integers(-(2**63), 2**64 - 1), st.booleans())
few = st.integers(0, 4)
shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)


def filled(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """An array of every bit pattern that its dtype can have."""
    kind = np.dtype(dtype)
    data = np.random.default_rng(seed).integers(0, 256, math.prod(shape) * kind.itemsize, np.uint8)
    return (data % 2 if kind.kind == "b" else data).view(kind).reshape(shape)


def _laid_out(array: np.ndarray[Any, Any], how: str) -> np.ndarray[Any, Any]:
    if how == "fortran":
        return np.asfortranarray(array)
    if how == "big-endian":
        return array.astype(array.dtype.newbyteorder(">"))
    if how == "strided" and array.ndim:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if how == "reversed" and array.ndim:
        return array[::-1]
    if how == "transposed":
        return array.T
    return array


@st.composite
def number_arrays(draw: Any, shape: Any = shapes) -> Any:
    """Arrays of all numeric dtypes, orders and strides, 0-d ones and empty ones too."""
    array = filled(draw(st.sampled_from(DTYPES)), draw(shape), draw(st.integers(0, 2**16)))
    return _laid_out(
        array,
        draw(st.sampled_from(["as it is", "fortran", "big-endian", "strided", "reversed", "transposed"])),
    )


@st.composite
def string_arrays(draw: Any, shape: Any = shapes) -> Any:
    """Arrays of strings, numpy's own and of objects."""
    size = draw(shape)
    items = draw(st.lists(texts, min_size=math.prod(size), max_size=math.prod(size)))
    array = np.empty(len(items), dtype=object)
    array[:] = items
    array = array.reshape(size)
    # numpy's own drops NULs at the end when it is made, so there is nothing to keep.
    return array.astype(np.str_) if draw(st.booleans()) else array


arrays = st.one_of(number_arrays(), string_arrays())
numpy_scalars = st.builds(lambda array: array.reshape(-1)[0], number_arrays(st.just((1,))))


@st.composite
def columns(draw: Any, rows: int) -> Any:
    """What a DataFrame may have as a column."""
    kind = draw(st.sampled_from([*DTYPES, "object", "str", "string", "datetime", "timedelta"]))
    seed = draw(st.integers(0, 2**16))
    if kind in DTYPES:
        return pd.Series(filled(kind, (rows,), seed))
    if kind == "object":
        items = draw(st.lists(scalars, min_size=rows, max_size=rows))
        return pd.Series(np.fromiter(items, dtype=object, count=rows), dtype=object)
    if kind in ("str", "string"):
        items = draw(st.lists(st.none() | texts, min_size=rows, max_size=rows))
        return pd.Series(items, dtype=kind)
    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    numbers = np.random.default_rng(seed).integers(-(10**9), 10**9, rows)
    return pd.Series(numbers.view(f"{kind}64[{unit}]"))


@st.composite
def indexes(draw: Any, rows: int) -> Any:
    """What a table may be numbered with."""
    kind = draw(st.sampled_from(["default", "range", "int", "str", "datetime"]))
    if kind == "default":
        return pd.RangeIndex(rows)
    if kind == "range":
        start, step = draw(st.integers(-5, 5)), draw(st.sampled_from([-2, 1, 3]))
        return pd.RangeIndex(start, start + step * rows, step, name=draw(st.sampled_from([None, "n"])))
    if kind == "int":
        return pd.Index(np.arange(rows)[::-1] * 3, name=draw(st.sampled_from([None, "k"])))
    if kind == "str":
        return pd.Index([f"row {i}" for i in range(rows)], dtype=object)
    return pd.Index(np.arange(rows).view("datetime64[s]"), name="when")


@st.composite
def series(draw: Any, rows: Any = few) -> Any:
    """Series of all dtypes and indexes."""
    count = draw(rows)
    column = draw(columns(count))
    column.index = draw(indexes(count))
    column.name = draw(st.sampled_from([None, "s", 3, ("a", 1)]))
    return column


@st.composite
def frames(draw: Any, rows: Any = few) -> Any:
    """DataFrames of mixed columns, without any too, and with the same name twice."""
    count = draw(rows)
    names = draw(st.lists(st.sampled_from(["a", "b", "c", 1]), max_size=4))
    data = {i: draw(columns(count)) for i in range(len(names))}
    frame = pd.DataFrame(data, index=pd.RangeIndex(count))
    frame.columns = pd.Index(names)
    frame.index = draw(indexes(count))
    return frame


@st.composite
def images(draw: Any) -> Any:
    """Images of every mode that is carried."""
    mode = draw(
        st.sampled_from(
            [
                "1",
                "L",
                "LA",
                "P",
                "RGB",
                "RGBA",
                "I;16",
                "CMYK",
                "YCbCr",
                "LAB",
                "HSV",
                "I",
                "F",
                "RGBX",
                "La",
            ]
        )
    )
    size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    if mode == "P":  # with the palette that real ones have
        return draw(images().filter(lambda image: image.mode == "RGB")).quantize(8)
    image = Image.new(mode, size)
    data = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, len(image.tobytes()), np.uint8)
    return Image.frombytes(mode, size, data.tobytes())


SPARSE_FORMATS = ("csr", "csc", "coo", "bsr", "dia", "lil", "dok")


@st.composite
def sparse(draw: Any) -> Any:
    """Matrices and arrays of every format and dtype, without rows or values too, one-dimensional arrays among them."""
    form = draw(st.sampled_from(SPARSE_FORMATS))
    kind = draw(st.sampled_from(["matrix", "array"]))
    dtype = draw(st.sampled_from([dtype for dtype in DTYPES if dtype != "f2"]))
    dense = filled(dtype, draw(st.tuples(few, few)), draw(st.integers(0, 99)))
    dense = np.where(np.random.default_rng(dense.size).random(dense.shape) < 0.5, dense, 0).astype(dtype)
    if kind == "array" and form in ("coo", "csr") and draw(st.booleans()):
        dense = dense.ravel()
    return getattr(scipy.sparse, f"coo_{kind}")(dense).asformat(form)


tables = st.one_of(series(), frames())
leaves = st.one_of(
    *(
        scalars,
        arrays,
        numpy_scalars,
        tables,
        images(),
        times,
        decimals,
        st.uuids(),
        sparse(),
        texts.map(np.str_),
    )
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=12,
)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are alike in type, dtype, shape and every bit; strings of arrays may be objects or not."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return _same_arrays(one, other)
    if isinstance(one, Image.Image) and isinstance(other, Image.Image):
        return (one.mode, one.size, _pixels(one)) == (other.mode, other.size, _pixels(other))
    if type(one) is not type(other):
        return False
    if scipy.sparse.issparse(one):
        return _same_sparse(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(is_same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        same_keys = [(type(key), key) for key in one] == [(type(key), key) for key in other]
        return same_keys and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, str):
        return str.__eq__(one, other)
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, (datetime, time)):
        return (repr(one), one.fold) == (repr(other), other.fold)
    if isinstance(one, np.generic):
        return _same_arrays(np.asarray(one), np.asarray(other))
    if isinstance(one, float):
        return struct.pack("<d", one) == struct.pack("<d", other)
    if isinstance(one, pd.Series):
        return _same_tables(one.to_frame(), other.to_frame()) and one.name == other.name
    if isinstance(one, pd.DataFrame):
        return _same_tables(one, other)
    return bool(one == other)


def _pixels(image: Image.Image) -> bytes:
    return (image.convert("RGB") if image.mode == "P" else image).tobytes()


def _same_arrays(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind in "OU" and other.dtype.kind in "OU":
        return one.tolist() == other.tolist()
    one, other = (array.astype(array.dtype.newbyteorder("<")) for array in (one, other))
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def _same_tables(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    if one.shape != other.shape or list(one.columns) != list(other.columns):
        return False
    if list(one.dtypes) != list(other.dtypes) or one.index.dtype != other.index.dtype:
        return False
    if one.index.name != other.index.name or list(one.index) != list(other.index):
        return False
    for i in range(one.shape[1]):
        ours, theirs = one.iloc[:, i], other.iloc[:, i]
        if isinstance(ours.dtype, np.dtype) and ours.dtype != object:
            if ours.to_numpy().tobytes() != theirs.to_numpy().tobytes():
                return False
        elif not _same_items(ours.tolist(), theirs.tolist()):
            return False
    return True


def _same_sparse(one: Any, other: Any) -> bool:
    """Whether format, shape, dtype, and every stored value with its place are the same."""
    if (one.format, one.shape, one.dtype) != (other.format, other.shape, other.dtype):
        return False
    return all(a.tolist() == b.tolist() for a, b in zip(_stored(one), _stored(other), strict=True))


def _stored(matrix: Any) -> list[Any]:
    whole = matrix.asformat("coo") if matrix.format in ("lil", "dok") else matrix
    names = {"dia": ("offsets",), "coo": ("coords",)}.get(whole.format, ("indices", "indptr"))
    return [whole.data.view(np.uint8), *(np.asarray(getattr(whole, name)) for name in names)]


def _same_items(ours: list[Any], theirs: list[Any]) -> bool:
    return all((a is b) or is_same(a, b) for a, b in zip(ours, theirs, strict=True))
