"""Counts what a msgpack value would build before anything is built.

msgpack's own limits bound each container, not their sum: 10 MB of empty maps take seconds and hundreds of MB. One
pass over the bytes, in Python, stops at the first object over the limit.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from vtsserving._wire.limits import MAX_VALUE_DEPTH, MAX_VALUE_NODES
from vtsserving.exceptions import BadFrame, TooDeep

_SIZED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
"""bin and str with a length: type byte to the bytes of the length."""
_EXT_FIXED: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_EXT_SIZED: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_CONTAINERS: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
"""Long arrays and maps: bytes of the length, objects per item."""
_NUMBERS: Final = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}


def _payload(first: int) -> int:
    """Bytes that follow a type byte, if it alone says how many; else -1."""
    if first < 0x80 or first >= 0xE0 or first in (0xC0, 0xC2, 0xC3):
        return 0
    if 0xA0 <= first < 0xC0:
        return first & 0x1F
    return _NUMBERS.get(first, -1)


_PAYLOAD: Final = tuple(_payload(first) for first in range(256))


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
        nested_extensions: extension codes whose data is a msgpack array again; it counts too, and extension and
            array together are one level.
        max_nodes: most objects.
        max_depth: deepest nesting of containers.

    Raises:
        BadFrame: truncated, trailing bytes, an unknown type byte, or too many objects.
        TooDeep: nested too deeply.
    """
    try:
        end = _scan(data, nested_extensions, max_nodes, max_depth)
    except IndexError:
        raise BadFrame("truncated value") from None
    if end > len(data):
        raise BadFrame("truncated value")
    if end < len(data):
        raise BadFrame(f"{len(data) - end} bytes after the value")


def _scan(data: bytes | memoryview, nested: AbstractSet[int], max_nodes: int, max_depth: int) -> int:
    """Where the first value of `data` ends; IndexError if it goes on after the bytes do."""
    position, nodes, left = 0, 1, 1
    levels: list[
        tuple[int, int]
    ] = []  # for each open container: what its parent still holds, where it must end
    while True:
        while not left:
            if not levels:
                return position
            left, end = levels.pop()
            if end and end != position:
                raise BadFrame("the content of an extension is not as long as the extension")
        left -= 1
        first = data[position]
        payload = _PAYLOAD[first]
        if payload >= 0:
            position += 1 + payload
            continue
        end = 0
        if first in _SIZED:
            start = position + 1 + _SIZED[first]
            position = start + int.from_bytes(data[position + 1 : start], "big")
            continue
        if first in _EXT_FIXED or first in _EXT_SIZED:
            position, size_bytes, code = _extension(data, position)
            if code not in nested:
                position += size_bytes
                continue
            end = position + size_bytes
            first = data[position]
            nodes += 1
            if not (0x90 <= first < 0xA0 or first in (0xDC, 0xDD)):
                raise BadFrame(f"extension {code} holds no array")
        position, children = _container(data, position, first)
        nodes += children
        if nodes > max_nodes:
            raise BadFrame(f"a value holds more than {max_nodes} objects")
        if len(levels) >= max_depth:
            raise TooDeep(f"a value is nested deeper than {max_depth} levels")
        levels.append((left, end))
        left = children


def _container(data: bytes | memoryview, position: int, first: int) -> tuple[int, int]:
    """(where the content of an array or map starts, how many objects it holds)."""
    if 0x80 <= first < 0x90:
        return position + 1, (first & 0x0F) * 2
    if first < 0xA0:
        return position + 1, first & 0x0F
    if first not in _CONTAINERS:
        raise BadFrame(f"unknown msgpack type byte {first:#x}")
    width, factor = _CONTAINERS[first]
    start = position + 1 + width
    return start, int.from_bytes(data[position + 1 : start], "big") * factor


def _extension(data: bytes | memoryview, position: int) -> tuple[int, int, int]:
    """(where the content of an extension starts, its bytes, its code)."""
    first = data[position]
    position += 1
    size_bytes = _EXT_FIXED.get(first, 0)
    if not size_bytes:
        start = position + _EXT_SIZED[first]
        size_bytes = int.from_bytes(data[position:start], "big")
        position = start
    code = data[position]
    if code >= 0x80:
        # Negative codes are msgpack's own, such as its timestamp, which would come back as an object of its.
        raise BadFrame(f"unknown extension {code - 0x100}")
    return position + 1, size_bytes, code
