"""Tensors of the Open Inference Protocol: datatypes, JSON data, binary data."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._codecs import json_forms
from vtsserving._codecs.json_arrays import Array, ArraySpec, to_array
from vtsserving._codecs.json_write import to_json
from vtsserving._wire import arrow_data, sparse
from vtsserving._wire.limits import MAX_TENSOR_DIMS
from vtsserving._wire.tensors import object_array
from vtsserving._wire.uniform_lists import uniform
from vtsserving.exceptions import BadDtype, BadInput, BadModelOutput, BadShape, WrongType

BYTES: Final = "BYTES"
BF16: Final = "BF16"
_LENGTH: Final = struct.Struct("<I")

DTYPES: Final = {
    "BOOL": np.dtype(np.bool_),
    **{
        f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}")
        for kind in ("UINT", "INT")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
_DATATYPES: Final = {dtype: name for name, dtype in DTYPES.items()}


def datatype_of(dtype: np.dtype[Any]) -> str:
    """The protocol's name of a dtype.

    Raises:
        BadModelOutput: the protocol has none.
    """
    if dtype.kind in "UOS":
        return BYTES
    if dtype.name == "bfloat16":
        return BF16
    name = _DATATYPES.get(dtype.newbyteorder("="))
    if name is None:
        raise BadModelOutput(f"the result has dtype {dtype}, which the protocol does not know")
    return name


def read_tensor(raw: Any, data: memoryview | None) -> tuple[str, Array]:
    """One input of a request.

    Args:
        raw: its JSON object.
        data: its binary data; None when it is in the JSON.

    Returns:
        Its name and value; BYTES are an array of str where they are UTF-8, else of objects.

    Raises:
        BadInput: of many kinds.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        raise BadInput("each input is an object with a name")
    name: str = raw["name"]
    datatype = raw.get("datatype")
    shape = _shape(raw.get("shape"), name)
    if not isinstance(datatype, str) or datatype not in (BYTES, BF16, *DTYPES):
        raise BadDtype(f"input {name[:80]!r} has the unknown datatype {str(datatype)[:40]!r}")
    if data is not None:
        if "data" in raw:
            raise BadInput(f"input {name[:80]!r} has both data and binary data")
        return name, _from_binary(data, datatype, shape, name)
    if "data" not in raw:
        raise BadInput(f"input {name[:80]!r} has no data")
    if datatype in ("FP16", BF16):
        raise BadInput(f"input {name[:80]!r}: {datatype} has no JSON form; send it as binary data")
    return name, _from_json(raw["data"], datatype, shape, name)


def _shape(raw: Any, name: str) -> tuple[int, ...]:
    if not isinstance(raw, list) or len(raw) > MAX_TENSOR_DIMS:
        raise BadShape(f"input {name[:80]!r} needs a shape of at most {MAX_TENSOR_DIMS} dimensions")
    if any(type(size) is not int or size < 0 for size in raw):
        raise BadShape(f"input {name[:80]!r} has a shape with something else than sizes")
    return tuple(raw)


def _from_json(data: Any, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    if datatype == BYTES:
        return _texts_from_json(data, shape, name)
    dtype = DTYPES[datatype]
    is_nested = isinstance(data, list) and bool(data) and isinstance(data[0], list)
    wanted = shape if is_nested else (math.prod(shape),)
    values = data if isinstance(data, list) else [data]
    return to_array(values, ArraySpec(name, dtype, wanted), name[:80]).reshape(shape)


def _texts_from_json(data: Any, shape: tuple[int, ...], name: str) -> Array:
    flat = data if isinstance(data, list) else [data]
    for _ in shape[1:]:
        if not flat or not all(isinstance(items, list) for items in flat):
            break
        flat = [item for items in flat for item in items]
    if any(type(item) is not str for item in flat):
        raise WrongType(f"input {name[:80]!r} holds something else than strings")
    if len(flat) != math.prod(shape):
        raise BadShape(
            f"input {name[:80]!r} has {len(flat)} strings; its shape {list(shape)} has {math.prod(shape)}"
        )
    return object_array(flat).reshape(shape)


def _from_binary(data: memoryview, datatype: str, shape: tuple[int, ...], name: str) -> Array:
    items = math.prod(shape)
    if datatype == BYTES:
        return _strings(data, items, name).reshape(shape)
    width = 2 if datatype == BF16 else DTYPES[datatype].itemsize
    if items * width != len(data):
        raise BadShape(
            f"input {name[:80]!r}: {len(data)} bytes are no {datatype} tensor of shape {list(shape)}, "
            f"which has {items * width}"
        )
    if datatype == BF16:
        # numpy has no such dtype; float32 holds each of its values.
        wide: Array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        return wide.reshape(shape)
    if datatype == "BOOL":
        return np.not_equal(np.frombuffer(data, np.uint8), 0).reshape(shape)
    array: Array = np.frombuffer(data, DTYPES[datatype].newbyteorder("<"))
    return array.reshape(shape)


def _strings(data: memoryview, items: int, name: str) -> Array:
    found: list[bytes] = []
    position = 0
    while position < len(data):
        end = position + _LENGTH.size
        if end > len(data) or end + _LENGTH.unpack_from(data, position)[0] > len(data) or len(found) == items:
            raise BadShape(f"input {name[:80]!r}: its bytes are not {items} strings with their lengths")
        (size,) = _LENGTH.unpack_from(data, position)
        found.append(bytes(data[end : end + size]))
        position = end + size
    if len(found) != items:
        raise BadShape(f"input {name[:80]!r} has {len(found)} strings; its shape says {items}")
    try:
        return object_array([item.decode() for item in found])
    except UnicodeDecodeError as error:
        raise BadInput(f"input {name[:80]!r}: BYTES are text in UTF-8 here") from error


class Output(NamedTuple):
    """One part of a result as a tensor.

    Attributes:
        array: its values; texts are objects.
        is_json: whether each text is the JSON of an item that is no tensor, such as a dict.
    """

    array: Array
    is_json: bool = False


def to_outputs(value: Any, names: list[str]) -> dict[str, Output]:
    """A result as named tensors.

    Args:
        value: what the method returned.
        names: recorded names of the outputs; too few say nothing.

    Returns:
        Name to output: the keys of a dict, the columns of a table, the fields of records, the parts of a sparse matrix,
        one for each item of a tuple, else one.

    Raises:
        BadModelOutput: part of the result is no tensor and has no JSON form.
    """
    if sparse.is_sparse(value):
        value = json_forms.plain(value)
    if getattr(getattr(value, "dtype", None), "names", None):
        value = {name: value[name] for name in value.dtype.names}
    if arrow_data.class_of(value) in ("polars.DataFrame", "pyarrow.Table", "pyarrow.RecordBatch"):
        names_of_columns = getattr(value, "column_names", None) or value.columns
        named = {name: value[name] for name in names_of_columns}
    elif isinstance(value, Mapping):
        named = {json_forms.key_text(key): item for key, item in value.items()}
    elif hasattr(value, "columns") and hasattr(value, "dtypes"):
        named = {str(name): value.iloc[:, i] for i, name in enumerate(value.columns)}
    elif isinstance(value, tuple):
        named = {_name(names, i, len(value)): item for i, item in enumerate(value)}
    else:
        named = {_name(names, 0, 1): value}
    return {name: _output(item, name) for name, item in named.items()}


def _name(names: list[str], index: int, count: int) -> str:
    if len(names) >= count:
        return names[index]
    return "output" if count == 1 else f"output_{index}"


def _output(value: Any, name: str) -> Output:
    if _is_tensor(value):
        return Output(np.asarray(value))
    dtype = getattr(value, "dtype", None)
    if hasattr(value, "to_numpy") and isinstance(dtype, np.dtype) and _is_tensor(found := value.to_numpy()):
        return Output(np.asarray(found))
    own: Any = getattr(dtype, "numpy_dtype", None)
    if own is not None and own.kind == "f":
        return Output(np.asarray(value.to_numpy(own, na_value=np.nan)))
    if not isinstance(value, list | tuple | bool | int | float | str | bytes):
        value = _plain(value, name)
    if value is None:
        raise BadModelOutput(f"the result {name!r} is missing, which no tensor can be")
    texts = uniform(value) if type(value) is list and value else None
    if texts is not None and isinstance(texts.items, list):
        return Output(object_array(texts.items).reshape(texts.shape))
    if isinstance(value, str | bytes):
        return Output(_objects([value]).reshape(()))
    try:
        array = np.asarray(value)
    except ValueError:  # lists of many lengths
        return _json_items(value)
    if array.dtype.kind != "O":
        return Output(array)
    items = [item if isinstance(item, _PLAIN) else _plain(item, name) for item in array.ravel().tolist()]
    if all(isinstance(item, str | bytes) for item in items):
        return Output(_objects(items).reshape(array.shape))
    if any(isinstance(item, str | bytes | list | dict) for item in items):
        return _json_items(value)
    # Whole numbers beside one that is missing are fractions, as everywhere in numpy.
    if any(isinstance(item, int) and abs(item) > _LARGEST_EXACT for item in items):
        raise BadModelOutput(
            f"the result {name!r} has a missing value beside whole numbers that no FP64 holds"
        )
    numbers = [np.nan if item is None else item for item in items]
    return Output(np.array(numbers, np.float64).reshape(array.shape))


def _json_items(value: Any) -> Output:
    """The items of a list, each as JSON; anything else as one item."""
    items = value if isinstance(value, list) else [value]
    return Output(object_array([to_json(item).decode() for item in items]), is_json=True)


_LARGEST_EXACT: Final = 2**53
_PLAIN: Final = (str, bytes, bool, int, float, type(None))


def _is_tensor(value: Any) -> bool:
    is_array = isinstance(value, np.ndarray | np.generic) and not isinstance(value, np.ma.MaskedArray)
    return is_array and (value.dtype.kind in "biufUS" or value.dtype.name == "bfloat16")


def _plain(value: Any, name: str) -> Any:
    try:
        return json_forms.plain(value)
    except json_forms.Unwritable as error:
        raise BadModelOutput(f"the result {name!r} holds {error} no form as a tensor") from error


def _objects(items: list[Any]) -> Array:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def write_binary(array: Array) -> bytes:
    """The binary form: little-endian, row-major; strings with their lengths."""
    if array.dtype.kind in "UOS":
        encoded = [
            item if isinstance(item, bytes) else str(item).encode("utf-8", "replace") for item in array.flat
        ]
        return b"".join(_LENGTH.pack(len(item)) + item for item in encoded)
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def write_json(array: Array) -> tuple[str, Any]:
    """Datatype and JSON data, flat. What has no JSON form is shown as the next wider datatype that has one."""
    datatype = datatype_of(array.dtype)
    if datatype in ("FP16", BF16):
        datatype, array = "FP32", array.astype(np.float32)
    flat = array.ravel()
    if datatype != BYTES:
        return datatype, np.ascontiguousarray(flat)
    return datatype, [json_forms.plain(item) if isinstance(item, bytes) else item for item in flat.tolist()]
