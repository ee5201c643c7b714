"""Arrays as `.npy` bytes, read without copying and without ever unpickling."""

from __future__ import annotations

import io
import math
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy

from vtsserving.exceptions import BadDtype, BadInput, BadShape
from vtsserving.wire.limits import MAX_TENSOR_DIMS

Array = np.ndarray[Any, Any]

MAX_HEADER_BYTES: Final = 10_000
_KINDS: Final = "biufU"
_READERS: Final = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_npy(body: bytes | bytearray) -> Array:
    """The array of a `.npy` body; a read-only view of it.

    Raises:
        BadInput: it is no `.npy`.
        BadDtype: the dtype cannot be served: objects, records, times, complex numbers.
        BadShape: shape and bytes do not agree.
    """
    file = io.BytesIO(body)
    try:
        version = npy.read_magic(file)
        if version not in _READERS:
            raise BadInput(f"the body is .npy of version {version[0]}.{version[1]}; 1.0 and 2.0 are read")
        shape, fortran, dtype = _READERS[version](file, max_header_size=MAX_HEADER_BYTES)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput("the body is no .npy file") from error
    if dtype.hasobject or dtype.kind not in _KINDS or dtype.names is not None or dtype.itemsize == 0:
        raise BadDtype(f"arrays of dtype {dtype} are not taken; send numbers, booleans or strings")
    if len(shape) > MAX_TENSOR_DIMS or any(size < 0 for size in shape):
        raise BadShape(f"an array has 0 to {MAX_TENSOR_DIMS} dimensions of at least 0, not {list(shape)[:16]}")
    data = memoryview(body)[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise BadShape(f"{len(data)} bytes are no array of shape {list(shape)} and dtype {dtype}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    array.flags.writeable = False
    native: Array = array.astype(dtype.newbyteorder("="), order="C", copy=False)
    return native


def write_npy(array: Array) -> bytes:
    """An array as `.npy`."""
    file = io.BytesIO()
    npy.write_array(file, array, allow_pickle=False)
    return file.getvalue()
