"""Results as plain numpy values: a torch tensor's bytes are shown as they are, without torch in the gateway."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgpack

from vtsserving.inference.request import Outcome
from vtsserving.wire import tensors, values
from vtsserving.wire.leaves import FRAME_HOLE, LIST_HOLE, TENSOR_HOLE
from vtsserving.wire.rows import join_results
from vtsserving.wire.scan import check_msgpack


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
    head = parts[0].head
    if not head:
        check_msgpack(parts[0].body, values.NESTED)
        return values.unpack_checked(parts[0].body, _plain_extension)
    if _without_containers(head) is not head:
        parts = [part._replace(head=_without_containers(part.head)) for part in parts]
    return join_results(parts)


def _plain_extension(code: int, data: bytes) -> Any:
    if code == values.TENSOR:
        view = memoryview(data)
        spec, end = tensors.unpack_spec(view)
        if spec.container == tensors.TORCH:
            spec = spec._replace(container=tensors.NUMPY)
        return tensors.from_wire(spec, view[end:])
    if code == values.TUPLE:
        return tuple(values.unpack_checked(data, _plain_extension))
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
        elif code == values.TUPLE:
            data = msgpack.packb(values.unpack_checked(data, extension))
        elif code not in (LIST_HOLE, FRAME_HOLE) and code == values.TENSOR:
            spec, end = tensors.unpack_spec(memoryview(data))
            if spec.container == tensors.TORCH:
                changed = True
                data = spec._replace(container=tensors.NUMPY).pack() + data[end:]
        return msgpack.ExtType(code, data)

    plain = values.unpack_checked(head, extension)
    return msgpack.packb(plain) if changed else head
