"""Values: what a method takes and returns, as data. Encoded whole, self-describing, with explicit limits.

msgpack carries None, bool, int, float, str, bytes, list and dict with str keys; everything else is an extension:

    1 tensor     see wire/tensors.py
    2 tuple      msgpack array
    3 DataFrame  msgpack [columns, [column...], index, index name]
    4 Series     msgpack [name, column, index, index name]
    5 image      msgpack [format, mode, encoded bytes]

A column is [kind, values]: kind "tensor", "list", or "datetime64[unit]" / "timedelta64[unit]" over an int64 tensor;
an index may also be ["range", [start, stop, step]].
"""

from __future__ import annotations

import io
import sys
from typing import Any, Final, cast

import msgpack
import numpy as np

from vtsserving.exceptions import BadFrame, TooDeep, UnsupportedValue, VtsServingException
from vtsserving.wire import tensors
from vtsserving.wire.limits import MAX_VALUE_DEPTH
from vtsserving.wire.scan import check_msgpack

TENSOR: Final = 1
TUPLE: Final = 2
DATAFRAME: Final = 3
SERIES: Final = 4
IMAGE: Final = 5

NESTED: Final = frozenset((TUPLE, DATAFRAME, SERIES, IMAGE))
"""Extensions whose data is msgpack again, which the limits look into."""

_PNG_MODES: Final = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "I;16"))


def encode_value(value: Any, where: str = "value") -> bytes:
    """Encode any supported value.

    Args:
        value: see the module's list; subclasses of dict and list count as dict and list.
        where: how an error names the value, for example "argument 1".

    Returns:
        msgpack bytes.

    Raises:
        UnsupportedValue: a type, dtype or dict key that cannot be sent; the message names `where`.
        TooDeep: nested deeper than 32 levels.
    """
    check_plain(value, where)
    return pack(value, where)


def pack(value: Any, where: str) -> bytes:
    """Like encode_value, for a value whose containers were checked already."""
    try:
        packed: bytes = msgpack.packb(
            value, default=lambda node: to_extension(node, where), strict_types=True
        )
    except VtsServingException:
        raise
    except (ValueError, OverflowError, TypeError, UnicodeEncodeError) as error:
        raise UnsupportedValue(f"{where} cannot be sent: {error}") from error
    return packed


def check_plain(value: Any, where: str, depth: int = 1) -> None:
    """Refuse what msgpack would take and the receiver not: dict keys that are no str, and deep nesting."""
    if depth > MAX_VALUE_DEPTH:
        raise TooDeep(f"{where} is nested deeper than {MAX_VALUE_DEPTH} levels")
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) is not str:
                raise UnsupportedValue(
                    f"{where} has a dict key of type {type(key).__name__}; only str keys can be sent"
                )
            check_plain(item, where, depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if isinstance(item, (list, tuple, dict)):
                check_plain(item, where, depth + 1)


def decode_value(data: bytes | memoryview) -> Any:
    """Decode what encode_value made.

    Args:
        data: one msgpack value.

    Returns:
        The value; arrays are read-only.

    Raises:
        BadFrame, BadTensor: malformed. TooDeep: over the limits of wire/limits.py.
    """
    check_msgpack(data, NESTED)
    return unpack_checked(data)


def unpack_checked(data: bytes | memoryview, ext_hook: Any = None) -> Any:
    """Unpack msgpack whose size and depth were checked already; see decode_value."""
    size = len(data)
    try:
        return msgpack.unpackb(
            data,
            ext_hook=ext_hook or from_extension,
            object_pairs_hook=_unique,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=size,
            max_ext_len=size,
        )
    except VtsServingException:
        raise
    except (ValueError, TypeError, KeyError, RecursionError, msgpack.UnpackException) as error:
        raise BadFrame(f"unreadable value: {type(error).__name__}") from error


def _unique(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs) or any(type(key) is not str for key in result):
        raise BadFrame("a map has duplicate keys or keys that are no str")
    return result


def to_extension(node: Any, where: str) -> Any:
    """The extension of a node that msgpack does not know, or a plain equivalent (subclasses of dict, list, str...)."""
    if isinstance(node, (np.ndarray, np.generic)) or tensors.is_torch(node):
        spec, data = tensors.to_wire(node, where)
        return msgpack.ExtType(TENSOR, spec.pack() + (data if isinstance(data, bytes) else data.tobytes()))
    if isinstance(node, tuple):
        return msgpack.ExtType(TUPLE, pack(list(node), where))
    for plain in (dict, list, str, bool, int, float, bytes):
        if isinstance(node, plain):
            return cast(Any, plain)(node)
    if isinstance(node, (bytearray, memoryview)):
        return bytes(node)
    return _pandas_or_image(node, where)


def _pandas_or_image(node: Any, where: str) -> Any:
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(node, pandas.DataFrame):
        columns = [
            _column(node.iloc[:, i], f"{where}, column {name!r}") for i, name in enumerate(node.columns)
        ]
        fields = [list(node.columns), columns, _index(node.index, where), node.index.name]
        return msgpack.ExtType(DATAFRAME, pack(fields, where))
    if pandas is not None and isinstance(node, pandas.Series):
        fields = [node.name, _column(node, where), _index(node.index, where), node.index.name]
        return msgpack.ExtType(SERIES, pack(fields, where))
    image = sys.modules.get("PIL.Image")
    if image is not None and isinstance(node, image.Image):
        file = io.BytesIO()
        form = "PNG" if node.mode in _PNG_MODES else "TIFF"
        node.save(file, format=form)
        return msgpack.ExtType(IMAGE, pack([form, node.mode, file.getvalue()], where))
    raise UnsupportedValue(
        f"{where} has type {type(node).__module__}.{type(node).__qualname__}, which cannot be sent; send arrays, "
        "tensors, DataFrames, images, or lists, dicts and tuples of plain values"
    )


def _column(series: Any, where: str) -> list[Any]:
    dtype = series.dtype
    if not isinstance(dtype, np.dtype):
        if str(dtype) in ("string", "str"):
            return [
                "list",
                [str(item) if isinstance(item, str) else None for item in series.tolist()],
            ]
        raise UnsupportedValue(
            f"{where} has the pandas dtype {dtype}, which cannot be sent; convert it with .astype"
        )
    if dtype.kind in "mM":
        return [dtype.name, series.to_numpy().view(np.int64)]
    if dtype.kind == "O":
        items = series.tolist()
        check_plain(items, where)
        return ["list", items]
    return ["tensor", series.to_numpy()]


def _index(index: Any, where: str) -> list[Any]:
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.RangeIndex):
        return ["range", [index.start, index.stop, index.step]]
    if isinstance(index, pandas.MultiIndex):
        raise UnsupportedValue(f"{where} has a MultiIndex, which cannot be sent; use .reset_index()")
    return _column(index.to_series(), f"{where}, index")


def from_extension(code: int, data: bytes) -> Any:
    """The value of an extension; BadFrame for a code that is not known."""
    if code == TENSOR:
        view = memoryview(data)
        spec, end = tensors.unpack_spec(view)
        return tensors.from_wire(spec, view[end:])
    if code not in NESTED:
        raise BadFrame(f"unknown extension {code}")
    fields = unpack_checked(data)
    if type(fields) is not list:
        raise BadFrame(f"extension {code} holds no array")
    if code == TUPLE:
        return tuple(fields)
    return _decode_image(fields) if code == IMAGE else _decode_pandas(code, fields)


def _decode_image(fields: list[Any]) -> Any:
    from PIL import Image

    form, mode, data = fields
    if form not in ("PNG", "TIFF"):
        raise BadFrame("an image is PNG or TIFF")
    image = Image.open(io.BytesIO(data), formats=(form,))
    image.load()
    return image if image.mode == mode else image.convert(mode)


def _decode_pandas(code: int, fields: list[Any]) -> Any:
    import pandas as pd

    first, columns, index_fields, index_name = fields
    kind, values = index_fields
    index = pd.RangeIndex(*values) if kind == "range" else pd.Index(_decode_column(kind, values))
    index.name = index_name
    if code == SERIES:
        return pd.Series(_decode_column(*columns), index=index, name=first)
    series = [pd.Series(_decode_column(kind, values), index=index) for kind, values in columns]
    frame = pd.concat(series, axis=1) if series else pd.DataFrame(index=index)
    frame.columns = pd.Index(first)
    return frame


def _decode_column(kind: str, values: Any) -> Any:
    if kind == "list":
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array
    if kind.startswith(("datetime64[", "timedelta64[")):
        return np.asarray(values).view(np.dtype(kind))
    return np.asarray(values).copy()
