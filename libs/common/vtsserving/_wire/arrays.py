"""Arrays of numpy that are no tensors: times, raw bytes, records, masked arrays, and arrays of anything.

    array = [form, shape or nil for a scalar, content...]

| form | content |
|---|---|
| raw | the dtype as `.npy` files describe it, little-endian; the bytes, row by row |
| objects | array of any values |
| texts | array of str or nil; whether there is a missing value, and which: numpy's StringDType |
| masked | the values, the mask or nil, the fill value |
| missing | nothing: the single value `numpy.ma.masked` |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from vtsserving._wire import tensors
from vtsserving._wire.limits import MAX_TENSOR_DIMS
from vtsserving.exceptions import BadFrame, UnsupportedValue

ARRAY: Final = 21

Array = np.ndarray[Any, Any]

_MAX_FIELDS: Final = 1_000
"""Most fields of a record, those of its fields included."""

_RAW_KINDS: Final = "mMcSV"


def is_unusual(value: Any) -> bool:
    """Whether an array or scalar of numpy travels in one of these forms, and not as a tensor."""
    dtype = value.dtype
    if type(value) is not np.ndarray and isinstance(value, np.ma.MaskedArray):
        return True
    if dtype.str in tensors.NATIVE or dtype.kind in "biuf":
        return False
    if dtype.name == "bfloat16" or dtype.kind == "U":
        return False
    return not (dtype.kind == "O" and all(isinstance(item, str) for item in np.asarray(value).flat))


def kind_of(value: Any, axis: int) -> list[Any]:
    """The part that such arrays must have in common to be rows of one: form, dtype, the other dimensions."""
    shape = [0 if at == axis else size for at, size in enumerate(value.shape)]
    form = _form_of(value)
    if form == "texts":
        return [form, shape, repr(value.dtype)]
    if form == "objects":
        return [form, shape, ""]
    own = repr(value.fill_value) if form == "masked" else ""
    return [form, shape, repr(_described(value.dtype)), own]


def _form_of(value: Any) -> str:
    if isinstance(value, np.ma.MaskedArray):
        return "masked"
    if value.dtype.kind == "T":
        return "texts"
    dtype = value.dtype
    is_raw = dtype.kind in _RAW_KINDS and not dtype.hasobject
    # Other packages' dtypes of numbers call themselves void, too.
    return "raw" if is_raw and (dtype.kind != "V" or issubclass(dtype.type, np.void)) else "objects"


def concatenated(parts: list[Any], axis: int) -> Any:
    """One array of several of equal kind.

    Raises:
        TypeError: they are not.
    """
    kinds = [kind_of(part, axis) for part in parts]
    if any(kind != kinds[0] for kind in kinds):
        raise TypeError("they are of different types")
    if kinds[0][0] == "masked":
        joined: Any = np.ma.concatenate(parts, axis=axis)  # type: ignore[no-untyped-call]
        joined.fill_value = parts[0].fill_value
        return joined
    if parts[0].dtype.kind != "V":
        return np.concatenate(parts, axis=axis)
    # numpy would pack the fields of records closer than they are.
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return np.concatenate(parts, axis=axis, out=np.zeros(shape, parts[0].dtype))


def is_same(one: Any, other: Any, same: Callable[[Any, Any], bool]) -> bool:
    """Whether two arrays of one shape hold the same.

    Args:
        one: of these forms.
        other: likewise.
        same: compares what they hold.
    """
    if kind_of(one, -1) != kind_of(other, -1):
        return False
    if isinstance(one, np.ma.MaskedArray):
        masks = np.ma.getmaskarray(one), np.ma.getmaskarray(other)
        return bool(np.array_equal(*masks)) and same(one.filled(), other.filled())
    if one.dtype.kind in "mMS":
        return bool(one.tobytes() == other.tobytes())
    return all(same(a, b) for a, b in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True))


# --- writing ----------------------------------------------------------------------------------------------------------


def fields_of(value: Any, where: str) -> list[Any]:
    """The fields that travel; see the module.

    Args:
        value: an array or scalar for which `is_unusual` holds.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: more dimensions than are carried, or a dtype that is not.
    """
    if value is np.ma.masked:
        return ["missing", None]
    if value.ndim > MAX_TENSOR_DIMS:
        raise UnsupportedValue(
            f"{where} has {value.ndim} dimensions; at most {MAX_TENSOR_DIMS} are supported"
        )
    shape = None if isinstance(value, np.generic) else list(value.shape)
    form = _form_of(value)
    if form == "masked":
        mask = None if value.mask is np.ma.nomask else np.ma.getmaskarray(value)
        if mask is not None and mask.dtype.names:
            raise UnsupportedValue(
                f"{where} is a masked array of records, which cannot be sent; use .filled()"
            )
        return [form, shape, np.ma.getdata(value), mask, np.asarray(value.fill_value)[()]]
    if form == "texts":
        return [form, shape, *_texts(value)]
    array = np.asarray(value)
    if form == "objects":
        if array.dtype.kind != "O":
            raise UnsupportedValue(
                f"{where} has dtype {array.dtype}, which cannot be sent; send its fields as a dict"
            )
        return [form, shape, array.ravel().tolist()]
    return [
        form,
        shape,
        _described(array.dtype),
        np.ascontiguousarray(array).astype(_little(array.dtype)).tobytes(),
    ]


def _texts(value: Array) -> list[Any]:
    missing = getattr(value.dtype, "na_object", _texts)
    items = [item if isinstance(item, str) else None for item in value.ravel().tolist()]
    return [items, missing is not _texts, None if missing is _texts else missing]


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<") if dtype.kind in "mMc" else dtype


def _described(dtype: np.dtype[Any]) -> Any:
    return _lists(np.lib.format.dtype_to_descr(_little(dtype)))


def _lists(description: Any) -> Any:
    """A description with lists for its tuples, which msgpack has not."""
    return list(map(_lists, description)) if isinstance(description, list | tuple) else description


# --- reading ----------------------------------------------------------------------------------------------------------


def decode(fields: list[Any]) -> Any:
    """The array or scalar of what travelled; its memory is its own.

    Raises:
        BadFrame: it is none.
    """
    try:
        form, shape, *content = fields
        if form == "missing":
            return np.ma.masked
        array = _READERS[form](*content)
        sizes = () if shape is None else tuple(shape)
        if len(sizes) > MAX_TENSOR_DIMS or any(type(size) is not int or size < 0 for size in sizes):
            raise BadFrame("an array of an impossible shape")
        if math.prod(sizes) != array.size:
            raise BadFrame(f"{array.size} items are no array of shape {list(sizes)}")
        array = array.reshape(sizes)
        return array[()] if shape is None else array
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise BadFrame(f"unreadable array: {type(error).__name__}") from error


def _read_raw(description: Any, data: Any) -> Array:
    dtype = np.dtype(np.lib.format.descr_to_dtype(_tuples(description, [_MAX_FIELDS])))
    if dtype.hasobject or not dtype.itemsize or type(data) is not bytes or len(data) % dtype.itemsize:
        raise BadFrame("an array of a dtype that its bytes do not fit")
    array = np.frombuffer(bytearray(data), dtype)
    if dtype.kind == "V":
        array.tolist()  # ValueError: text that is no Unicode
    return array


def _tuples(description: Any, left: list[int], *, is_field: bool = False) -> Any:
    """A description as numpy takes it: a list of fields, each a tuple."""
    left[0] -= 1
    if left[0] < 0:
        raise BadFrame("an array of records of too many fields")
    if isinstance(description, str):
        return description
    if not isinstance(description, list):
        raise BadFrame("an array of an unknown dtype")
    if not is_field:
        return [_tuples(field, left, is_field=True) for field in description]
    name, dtype, *rest = description
    name = tuple(name) if isinstance(name, list) else name
    shape = tuple(tuple(one) if isinstance(one, list) else one for one in rest)
    return (name, _tuples(dtype, left), *shape)


def _read_objects(items: Any) -> Array:
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array


def _read_texts(items: Any, has_missing: Any, missing: Any) -> Array:
    if any(item is not None and type(item) is not str for item in items):
        raise BadFrame("an array of texts with something else in it")
    if not hasattr(np.dtypes, "StringDType"):  # numpy 1
        return _read_objects([missing if item is None else item for item in items])
    dtype = np.dtypes.StringDType(na_object=missing) if has_missing is True else np.dtypes.StringDType()
    return np.array([missing if item is None else item for item in items], dtype=dtype)


def _read_masked(data: Any, mask: Any, fill: Any) -> Array:
    if not isinstance(data, np.ndarray) or not (
        mask is None or (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == data.shape)
    ):
        raise BadFrame("a masked array without a mask of its shape")
    own = np.ma.nomask if mask is None else mask.copy()
    return np.ma.MaskedArray(data.copy(), mask=own, fill_value=fill)


_READERS: Final[dict[Any, Callable[..., Array]]] = {
    "raw": _read_raw,
    "objects": _read_objects,
    "texts": _read_texts,
    "masked": _read_masked,
}
