"""Tensors on the wire: a dtype from a fixed list, a shape, and the bytes, row-major and little-endian.

    tensor = dtype:u8 container:u8 ndim:u8 dim:u64le * ndim bytes

Decoding makes no copy: the array is a read-only view of the received bytes. Strings travel as `str` tensors:
u32le byte lengths of all items, then the items in UTF-8.
"""

from __future__ import annotations

import math
import struct
import sys
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._wire.limits import MAX_TENSOR_DIMS
from vtsserving.exceptions import BadTensor, MissingDependency, UnsupportedValue

# The position in this list is the dtype's code on the wire: append only.
DTYPES: Final = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "str",
)
BOOL: Final = DTYPES.index("bool")
BFLOAT16: Final = DTYPES.index("bfloat16")
STR: Final = DTYPES.index("str")
ITEM_BYTES: Final = (1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8, 0)

NUMPY: Final = 0
"""Container flag: comes back as a numpy array."""
TORCH: Final = 1
"""Container flag: comes back as a torch tensor on the CPU."""
SCALAR: Final = 2
"""Container flag: comes back as a numpy scalar."""
LIST: Final = 3
"""Container flag: comes back as nested lists of Python's own float, int, bool or str."""
OBJECTS: Final = 4
"""Container flag: strings come back as a numpy array of objects, which pads and trims nothing."""

_LAST_CONTAINER: Final = OBJECTS

_LISTED: Final = frozenset(DTYPES.index(name) for name in ("bool", "int64", "float64", "str"))
"""Dtypes whose items are one type of Python's each, so that a list comes back as it was."""

_NUMPY_DTYPES: Final = [np.dtype(name) if name not in ("bfloat16", "str") else None for name in DTYPES]
_CODE_OF: Final = {dtype.str: code for code, dtype in enumerate(_NUMPY_DTYPES) if dtype is not None}
NATIVE: Final = frozenset(_CODE_OF)
"""`dtype.str` of the numpy dtypes that travel as they lie in memory."""
_MAX_PADDING: Final = 16
"""numpy pads all strings of an array to the longest. Where that would take more than this many times the bytes
received (and more than 64 KiB), the array holds Python strings instead."""
_FREE_PADDING_BYTES: Final = 64 * 1024
_FIXED: Final = struct.Struct("<BBB")


class Spec(NamedTuple):
    """What a tensor is, without its bytes."""

    dtype: int
    container: int
    shape: tuple[int, ...]

    def pack(self) -> bytes:
        """The spec's bytes on the wire."""
        return _FIXED.pack(self.dtype, self.container, len(self.shape)) + struct.pack(
            f"<{len(self.shape)}Q", *self.shape
        )


class HeldTensor(np.ndarray[Any, Any]):
    """A tensor as numpy's numbers where what it belongs to is not installed; it travels on as what it was.

    Attributes:
        is_torch: whether it is a tensor of torch.
        is_bfloat16: whether its numbers, which are float32 here, are those of bfloat16.
    """

    is_torch: bool
    is_bfloat16: bool

    def __array_finalize__(self, other: Any) -> None:
        """Be what the array is that this one was made of."""
        self.is_torch = getattr(other, "is_torch", False)
        self.is_bfloat16 = getattr(other, "is_bfloat16", False)


def held(array: np.ndarray[Any, Any], *, is_torch: bool = False, is_bfloat16: bool = False) -> HeldTensor:
    """An array as a HeldTensor; the bits of bfloat16 become float32, which holds each of its numbers."""
    if is_bfloat16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    tensor = array.view(HeldTensor)
    tensor.is_torch, tensor.is_bfloat16 = is_torch, is_bfloat16
    return tensor


def is_torch(value: Any) -> bool:
    """Whether `value` is a torch tensor; never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def to_wire(value: Any, where: str = "value") -> tuple[Spec, np.ndarray[Any, Any] | bytes]:
    """Spec and bytes of an array, a numpy scalar or a torch tensor.

    Args:
        value: numpy array of any shape, numpy scalar, or torch tensor (moved to the CPU, detached).
        where: how to name the value in an error.

    Returns:
        (spec, data): data is a C-contiguous array of the wire's byte order, or the packed bytes of a str tensor.

    Raises:
        UnsupportedValue: the dtype is not in DTYPES or there are more than 8 dimensions.
    """
    container = NUMPY
    if isinstance(value, np.str_):
        # As an array, or by str(), it would lose NULs at its end.
        return Spec(STR, SCALAR, ()), pack_strings([value])
    if isinstance(value, np.generic):
        container = SCALAR
        value = np.asarray(value)
    elif not isinstance(value, np.ndarray):
        return _torch_to_wire(value, where)
    elif type(value) is HeldTensor:
        container = TORCH if value.is_torch else NUMPY
        if value.is_bfloat16 and value.dtype == np.float32:
            bits = (np.ascontiguousarray(value).view(np.ndarray).view(np.uint32) >> 16).astype(np.uint16)
            return Spec(BFLOAT16, container, value.shape), bits.reshape(value.shape)
    if value.ndim > MAX_TENSOR_DIMS:
        raise UnsupportedValue(
            f"{where} has {value.ndim} dimensions; at most {MAX_TENSOR_DIMS} are supported"
        )
    code = _CODE_OF.get(value.dtype.str)
    if code is None:
        return _unusual_to_wire(value, container, where)
    return Spec(code, container, value.shape), np.ascontiguousarray(value).reshape(value.shape)


def _unusual_to_wire(value: Any, container: int, where: str) -> tuple[Spec, np.ndarray[Any, Any] | bytes]:
    dtype = value.dtype
    if dtype.name == "bfloat16":
        return Spec(BFLOAT16, container, value.shape), np.ascontiguousarray(value).view(np.uint16)
    if dtype.kind == "U":
        return Spec(STR, container, value.shape), pack_strings(value.ravel().tolist())
    if dtype.kind == "O" and all(isinstance(item, str) for item in value.flat):
        return Spec(STR, OBJECTS, value.shape), pack_strings(value.ravel().tolist())
    swapped = dtype.newbyteorder("<")
    if swapped.str in _CODE_OF:
        return Spec(_CODE_OF[swapped.str], container, value.shape), np.ascontiguousarray(
            value.astype(swapped)
        )
    raise UnsupportedValue(
        f"{where} has dtype {dtype}, which cannot be sent; supported are {', '.join(DTYPES)}"
    )


def _torch_to_wire(value: Any, where: str) -> tuple[Spec, np.ndarray[Any, Any]]:
    import torch

    value = value.detach().cpu().contiguous()
    if value.ndim > MAX_TENSOR_DIMS:
        raise UnsupportedValue(
            f"{where} has {value.ndim} dimensions; at most {MAX_TENSOR_DIMS} are supported"
        )
    shape = tuple(value.shape)
    if value.dtype == torch.bfloat16:
        return Spec(BFLOAT16, TORCH, shape), value.view(torch.int16).numpy().view(np.uint16)
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise UnsupportedValue(f"{where} has dtype {value.dtype}, which cannot be sent")
    return Spec(DTYPES.index(name), TORCH, shape), value.numpy()


def unpack_spec(data: memoryview) -> tuple[Spec, int]:
    """Read a spec.

    Args:
        data: starts with a spec.

    Returns:
        (spec, where its bytes end in `data`).

    Raises:
        BadTensor: it is no spec.
    """
    try:
        dtype, container, ndim = _FIXED.unpack_from(data)
        if dtype >= len(DTYPES) or container > _LAST_CONTAINER or ndim > MAX_TENSOR_DIMS:
            raise BadTensor("unknown dtype, container or number of dimensions")
        shape = struct.unpack_from(f"<{ndim}Q", data, _FIXED.size)
    except struct.error as error:
        raise BadTensor("truncated tensor") from error
    return Spec(dtype, container, shape), _FIXED.size + 8 * ndim


def held_from_wire(spec: Spec, data: memoryview | bytes) -> Any:
    """Like `from_wire`, with tensors of torch as HeldTensor: torch is not needed, nor imported."""
    if spec.container != TORCH:
        return from_wire(spec, data)
    if spec.dtype != BFLOAT16:
        return held(from_wire(spec._replace(container=NUMPY), data), is_torch=True)
    bits = from_wire(spec._replace(container=NUMPY, dtype=DTYPES.index("uint16")), data)
    return held(bits, is_torch=True, is_bfloat16=True)


def from_wire(spec: Spec, data: memoryview | bytes) -> Any:
    """The value of a spec and its bytes.

    Args:
        spec: dtype, container, shape.
        data: exactly prod(shape) * itemsize bytes (checked), or the packed bytes of a str tensor.

    Returns:
        A read-only array that shares `data`, a numpy scalar, or a torch tensor of its own memory. Numbers of bfloat16
        without ml_dtypes: a HeldTensor.

    Raises:
        BadTensor: bytes and spec do not agree.
        MissingDependency: a torch tensor, but torch is not installed here.
    """
    items = math.prod(spec.shape)
    if spec.dtype != STR and items * ITEM_BYTES[spec.dtype] != len(data):
        raise BadTensor(
            f"a tensor of shape {list(spec.shape)} and dtype {DTYPES[spec.dtype]} has "
            f"{items * ITEM_BYTES[spec.dtype]} bytes, not {len(data)}"
        )
    try:
        if spec.dtype == STR:
            if spec.container == LIST and len(spec.shape) == 1:
                return unpack_strings(data, items)
            strings = unpack_strings(data, items)
            is_padded = spec.container not in (LIST, OBJECTS)
            array = (string_array(strings, len(data)) if is_padded else object_array(strings)).reshape(
                spec.shape
            )
        elif spec.dtype == BFLOAT16:
            return _bfloat16(spec, np.frombuffer(data, np.uint16).reshape(spec.shape))
        else:
            array = np.frombuffer(data, _NUMPY_DTYPES[spec.dtype]).reshape(spec.shape)
    except (ValueError, OverflowError) as error:  # dimensions that no array may have, beside one that is 0
        raise BadTensor(f"a tensor of shape {list(spec.shape)}") from error
    if spec.dtype == BOOL and items and array.view(np.uint8).max() > 1:
        raise BadTensor("a bool tensor with bytes other than 0 and 1")
    if spec.container == TORCH:
        if spec.dtype == STR:
            raise BadTensor("torch has no str tensors")
        return _torch().from_numpy(array.copy())
    if spec.container == LIST:
        if spec.dtype not in _LISTED or not spec.shape:
            raise BadTensor("lists hold float64, int64, bool or str")
        return array.tolist()
    if spec.container != SCALAR:
        return array
    return np.str_(array[()]) if spec.dtype == STR else array[()]


def _bfloat16(spec: Spec, bits: np.ndarray[Any, Any]) -> Any:
    if spec.container == TORCH:
        torch = _torch()
        return torch.from_numpy(bits.view(np.int16).copy()).view(torch.bfloat16)
    try:
        from ml_dtypes import bfloat16
    except ImportError:
        array = held(bits, is_bfloat16=True)
        return np.float32(array[()]) if spec.container == SCALAR else array
    array = bits.view(bfloat16)
    return array[()] if spec.container == SCALAR else array


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(
            "a torch tensor was received, but torch is missing: pip install torch"
        ) from error
    return torch


def pack_strings(items: list[str], *, is_sized: bool = False) -> bytes:
    """Lengths in UTF-8 bytes as u32le, then the strings; before them the number of all bytes as u64le if `is_sized`."""
    encoded = [item.encode("utf-8", "surrogatepass") for item in items]
    lengths = struct.pack(f"<{len(encoded)}I", *map(len, encoded))
    size = struct.pack("<Q", len(lengths) + sum(map(len, encoded))) if is_sized else b""
    return b"".join((size, lengths, *encoded))


def unpack_strings(data: memoryview | bytes, count: int) -> list[str]:
    """The `count` strings that `pack_strings` packed; BadTensor when the bytes do not add up."""
    view = memoryview(data)
    if 4 * count > len(view):
        raise BadTensor("truncated str tensor")
    lengths = struct.unpack_from(f"<{count}I", view)
    if 4 * count + sum(lengths) != len(view):
        raise BadTensor("the lengths of a str tensor do not add up")
    position, items = 4 * count, []
    for length in lengths:
        try:
            items.append(str(view[position : position + length], "utf-8", "surrogatepass"))
        except UnicodeDecodeError as error:
            raise BadTensor("a str tensor is not UTF-8") from error
        position += length
    return items


def string_array(items: list[str], received_bytes: int) -> np.ndarray[Any, Any]:
    """A flat array of strings: of numpy's str dtype, or of objects where that would lose or waste something.

    Args:
        items: the strings.
        received_bytes: how many bytes they came in, which bounds the memory that they may take.
    """
    padded_bytes = 4 * len(items) * max(map(len, items), default=0)
    # numpy takes NULs at the end for padding.
    if _is_wasteful(padded_bytes, received_bytes) or any(item[-1:] == "\0" for item in items):
        return object_array(items)
    return np.array(items, dtype=np.str_)


def object_array(items: list[str]) -> np.ndarray[Any, Any]:
    """A flat array of Python strings."""
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


def concatenate_strings(parts: list[np.ndarray[Any, Any]], axis: int) -> np.ndarray[Any, Any]:
    """One array of several arrays of strings, padded or not by the rule of `string_array`."""
    if any(part.dtype.kind == "O" for part in parts):
        # numpy would take NULs at the end of objects for padding, once another part made it choose its own strings.
        return np.concatenate([part.astype(object) for part in parts], axis=axis)
    padded_bytes = sum(part.size for part in parts) * max(part.dtype.itemsize for part in parts)
    if _is_wasteful(padded_bytes, sum(part.nbytes for part in parts)):
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts, axis=axis)


def _is_wasteful(padded_bytes: int, received_bytes: int) -> bool:
    return padded_bytes > _FREE_PADDING_BYTES and padded_bytes > _MAX_PADDING * received_bytes
