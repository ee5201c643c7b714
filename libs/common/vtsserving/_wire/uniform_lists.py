"""Lists of one type in a regular shape travel as tensors, as small and as fast, and come back as the same lists."""

from __future__ import annotations

from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._wire import tensors
from vtsserving._wire.limits import MAX_TENSOR_DIMS

MIN_PARAMETER_ITEMS: Final = 64
"""Shorter lists that are no rows stay msgpack: looking at them costs more than it saves."""

_DTYPES: Final[dict[type, Any]] = {float: np.float64, int: np.int64, bool: np.bool_}


class Uniform(NamedTuple):
    """A list that is a tensor in all but name.

    Attributes:
        shape: of the nested lists.
        items: an array of that shape; of strings, the flat list.
    """

    shape: tuple[int, ...]
    items: np.ndarray[Any, Any] | list[str]

    @property
    def spec(self) -> tensors.Spec:
        """What it is on the wire."""
        if isinstance(self.items, list):
            return tensors.Spec(tensors.STR, tensors.LIST, self.shape)
        return tensors.Spec(tensors.DTYPES.index(self.items.dtype.name), tensors.LIST, self.shape)

    def part(self, start: int, stop: int, *, is_sized: bool = False) -> bytes:
        """The bytes of items [start, stop) of the outermost list; those of strings after their number if `is_sized`."""
        if isinstance(self.items, list):
            width = len(self.items) // self.shape[0]
            some = self.items if stop - start == self.shape[0] else self.items[start * width : stop * width]
            return tensors.pack_strings(some, is_sized=is_sized)
        return self.items[start:stop].tobytes()


def uniform(value: list[Any]) -> Uniform | None:
    """A list as a tensor, if its nested lists have one shape, and its items one type.

    Args:
        value: not empty.

    Returns:
        None unless all items are of exactly one type of float, bool, str, and int within 64 bits.
    """
    shape, flat = [len(value)], value
    kinds = set(map(type, flat))
    while kinds == {list}:
        widths = set(map(len, flat))
        if len(widths) != 1 or len(shape) == MAX_TENSOR_DIMS:
            return None
        shape.append(widths.pop())
        flat = list(chain.from_iterable(flat))
        kinds = set(map(type, flat))
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind is str:
        return Uniform(tuple(shape), flat)
    dtype = _DTYPES.get(kind)
    if dtype is None:
        return None
    try:
        return Uniform(tuple(shape), np.array(flat, dtype).reshape(shape))
    except OverflowError:
        return None


class ListTensor:
    """A list within a value that is being packed: it leaves as a tensor."""

    __slots__ = ("uniform",)

    def __init__(self, found: Uniform) -> None:
        self.uniform = found

    def pack(self) -> bytes:
        """Its spec and its bytes."""
        return self.uniform.spec.pack() + self.uniform.part(0, self.uniform.shape[0])


def compact(value: Any) -> Any:
    """A value that travels whole, with a long uniform list as a tensor; every other value as it is."""
    if type(value) is not list or not value:
        return value
    if len(value) < MIN_PARAMETER_ITEMS and type(value[0]) is not list:
        return value
    found = uniform(value)
    return value if found is None else ListTensor(found)
