"""Counts what a msgpack value would build before anything is built.

msgpack's own limits bound each container, not their sum: 10 MB of empty maps take seconds and hundreds of MB. One
pass over the bytes, in Python, stops at the first object over the limit.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from vtsserving.exceptions import BadFrame, TooDeep
from vtsserving.wire.limits import MAX_VALUE_DEPTH, MAX_VALUE_NODES

# First byte -> (bytes of length field, bytes of payload beside it), for scalars, strings, bins and extensions.
_FIXED: Final = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8} | {
    0xD0: 1,
    0xD1: 2,
    0xD2: 4,
    0xD3: 8,
}
_SIZED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_EXT_FIXED: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_EXT_SIZED: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_CONTAINERS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def check_msgpack(
    data: bytes | memoryview,
    nested_extensions: AbstractSet[int],
    *,
    max_nodes: int = MAX_VALUE_NODES,
    max_depth: int = MAX_VALUE_DEPTH,
) -> None:
    """Refuse a msgpack value over the limits, or one that does not end where its bytes end.

    Args:
        data: one msgpack value.
        nested_extensions: extension codes whose data is msgpack again; it counts too.
        max_nodes: most objects.
        max_depth: deepest nesting of containers.

    Raises:
        BadFrame: truncated, trailing bytes, an unknown type byte, or too many objects.
        TooDeep: nested too deeply.
    """
    end = _Scanner(data, nested_extensions, max_nodes, max_depth).run()
    if end != len(data):
        raise BadFrame(f"{len(data) - end} bytes after the value")


class _Scanner:
    def __init__(
        self, data: bytes | memoryview, nested: AbstractSet[int], max_nodes: int, max_depth: int
    ) -> None:
        self._data = data
        self._nested = nested
        self._max_nodes = max_nodes
        self._max_depth = max_depth
        self._nodes = 1
        self._position = 0

    def run(self) -> int:
        """Scan one value; returns where it ends."""
        left = [1]
        while left:
            if not left[-1]:
                left.pop()
                continue
            left[-1] -= 1
            children = self._one()
            if children:
                self._nodes += children
                if self._nodes > self._max_nodes:
                    raise BadFrame(f"a value holds more than {self._max_nodes} objects")
                if len(left) > self._max_depth:
                    raise TooDeep(f"a value is nested deeper than {self._max_depth} levels")
                left.append(children)
        return self._position

    def _one(self) -> int:
        """Step over one object; returns how many children follow."""
        if self._position >= len(self._data):
            raise BadFrame("truncated value")
        first = self._data[self._position]
        self._position += 1
        if first < 0x80 or first >= 0xE0:
            return 0
        if first < 0xC0:
            return self._short(first)
        if first in _FIXED:
            self._skip(_FIXED[first])
        elif first in _SIZED:
            self._skip(self._length(_SIZED[first]))
        elif first in _CONTAINERS:
            width, factor = _CONTAINERS[first]
            return self._length(width) * factor
        else:
            return self._extension(first)
        return 0

    def _short(self, first: int) -> int:
        if first < 0x90:
            return (first & 0x0F) * 2
        if first < 0xA0:
            return first & 0x0F
        self._skip(first & 0x1F)
        return 0

    def _extension(self, first: int) -> int:
        if first in _EXT_FIXED:
            size = _EXT_FIXED[first]
        elif first in _EXT_SIZED:
            size = self._length(_EXT_SIZED[first])
        else:
            raise BadFrame(f"unknown msgpack type byte {first:#x}")
        code = self._length(1)
        if code in self._nested:
            return 1
        self._skip(size)
        return 0

    def _length(self, width: int) -> int:
        start = self._position
        self._skip(width)
        return int.from_bytes(self._data[start : self._position], "big")

    def _skip(self, count: int) -> None:
        self._position += count
        if self._position > len(self._data):
            raise BadFrame("truncated value")
