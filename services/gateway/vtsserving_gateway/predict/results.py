"""Results as plain numpy values: a torch tensor's bytes are shown as they are, without torch in the gateway."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np

from vtsserving._inference.request import Outcome
from vtsserving._wire import tensors, values
from vtsserving._wire.leaves import (
    FRAME_HOLE,
    LIST_HOLE,
    TENSOR_HOLE,
    VALUE_HOLE,
    WHOLE_HOLE,
)
from vtsserving._wire.rows import join_results
from vtsserving._wire.scan import check_msgpack
from vtsserving._wire.table_records import NUMBERS_HOLE, RECORDS_HOLE

MAX_BARE_HEAD_BYTES: Final = 128
"""A head above this is no bare array: one dtype and at most eight sizes."""


def numpy_value(outcome: Outcome) -> Any:
    """What the method returned, with arrays where it returned tensors.

    Args:
        outcome: of a call that has ended.

    Raises:
        VtsServingException: the call's error, or that the answer cannot be decoded.
    """
    if outcome.error is not None:
        raise outcome.error
    parts = outcome.packed()
    head, rows, body = parts[0]
    bare = _bare_array(head) if len(parts) == 1 else None
    if bare is not None and len(body) == rows * bare.row_bytes:
        array = np.frombuffer(body, bare.dtype)
        return array.reshape(rows, *bare.tail) if bare.tail else array
    if not head:
        check_msgpack(body, values.NESTED)
        return values.unpack_checked(body, _plain_extension)
    if _without_containers(head) is not head:
        parts = [part._replace(head=_without_containers(part.head)) for part in parts]
    return join_results(parts)


class _Bare(NamedTuple):
    """A result that is one array with its rows first."""

    dtype: np.dtype[Any]
    tail: tuple[int, ...]
    row_bytes: int


@lru_cache(maxsize=512)
def _bare_array(head: bytes) -> _Bare | None:
    """What the usual result looks like, so that it is read in one step; None for all others."""
    if not head or len(head) > MAX_BARE_HEAD_BYTES:
        return None
    check_msgpack(head, values.NESTED)
    found = values.unpack_checked(head, lambda code, data: (code, data))
    if type(found) is not tuple or found[0] not in (TENSOR_HOLE, WHOLE_HOLE) or found[1][0] != 0:
        return None
    spec, _ = tensors.unpack_spec(memoryview(found[1])[1:])
    if spec.dtype in (tensors.STR, tensors.BFLOAT16) or spec.container == tensors.LIST or not spec.shape:
        return None
    dtype = np.dtype(tensors.DTYPES[spec.dtype])
    return _Bare(dtype, spec.shape[1:], math.prod(spec.shape[1:]) * dtype.itemsize)


def _plain_extension(code: int, data: bytes) -> Any:
    if code == values.TENSOR:
        view = memoryview(data)
        spec, end = tensors.unpack_spec(view)
        if spec.container == tensors.TORCH:
            spec = spec._replace(container=tensors.NUMPY)
        return tensors.from_wire(spec, view[end:])
    if code == values.TUPLE:
        return tuple(values.unpack_checked(data, _plain_extension))
    if code == values.MAPPING:
        return values.mapping_of(values.unpack_checked(data, _plain_extension))
    return values.from_extension(code, data)


@lru_cache(maxsize=512)
def _without_containers(head: bytes) -> bytes:
    """The head whose tensors are plain arrays; the same object where they are already."""
    check_msgpack(head, values.NESTED)
    changed = False

    def extension(code: int, data: bytes) -> Any:
        nonlocal changed
        if code == TENSOR_HOLE:
            spec, _ = tensors.unpack_spec(memoryview(data)[1:])
            if spec.container == tensors.TORCH:
                changed = True
                data = data[:1] + spec._replace(container=tensors.NUMPY).pack()
        elif code in (values.TUPLE, values.MAPPING):
            data = msgpack.packb(values.unpack_checked(data, extension))
        elif (
            code not in (LIST_HOLE, FRAME_HOLE, VALUE_HOLE, NUMBERS_HOLE, RECORDS_HOLE)
            and code == values.TENSOR
        ):
            spec, end = tensors.unpack_spec(memoryview(data))
            if spec.container == tensors.TORCH:
                changed = True
                data = spec._replace(container=tensors.NUMPY).pack() + data[end:]
        return msgpack.ExtType(code, data)

    plain = values.unpack_checked(head, extension)
    return msgpack.packb(plain) if changed else head
