"""Thrift's compact protocol, read within bounds: the headers of Parquet files, before a library believes them."""

from __future__ import annotations

import struct
from typing import Any, Final

MAX_DEPTH: Final = 16
MAX_NODES: Final = 1_000_000
"""Most fields and items in one header; a table of 16,384 columns needs about half of them."""

_TRUE: Final = 1
_FALSE: Final = 2
_BYTE: Final = 3
_INTEGERS: Final = (4, 5, 6)
_DOUBLE: Final = 7
_BINARY: Final = 8
_LISTS: Final = (9, 10)
_MAP: Final = 11
_STRUCT: Final = 12
_UUID: Final = 13
_LONG: Final = 15
_WIDEST_BITS: Final = 70


class Reader:
    """Reads structures one after the other.

    Attributes:
        at: where the next byte is.
    """

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        """Read `data` from a position."""
        self._data = data
        self.at = at
        self._nodes = 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """The fields of a structure, by their numbers.

        Raises:
            struct.error, IndexError: the bytes are none, or nested too deeply, or too many.
        """
        if depth > MAX_DEPTH:
            raise struct.error("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while True:
            head = self._byte()
            if not head:
                return fields
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            fields[number] = self._value(head & 15, depth)

    def _value(self, kind: int, depth: int) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise struct.error("too many fields")
        if kind in (_TRUE, _FALSE):
            return kind == _TRUE
        if kind in _INTEGERS:
            return self._zigzag()
        if kind == _BINARY:
            return self._bytes(self._varint())
        if kind == _STRUCT:
            return self.structure(depth + 1)
        if kind in _LISTS:
            return self._list(depth + 1)
        if kind == _MAP:
            return self._map(depth + 1)
        if kind in (_BYTE, _DOUBLE, _UUID):
            return self._bytes({_BYTE: 1, _DOUBLE: 8, _UUID: 16}[kind])
        raise struct.error("a field of an unknown type")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count = head >> 4 if head >> 4 != _LONG else self._varint()
        return self._items(count, head & 15, depth)

    def _items(self, count: int, kind: int, depth: int) -> list[Any]:
        if count > len(self._data) - self.at:
            raise struct.error("a list longer than its bytes")
        if kind in (_TRUE, _FALSE):
            return list(self._bytes(count))
        return [self._value(kind, depth) for _ in range(count)]

    def _map(self, depth: int) -> list[Any]:
        count = self._varint()
        if not count:
            return []
        kinds = self._byte()
        if count > len(self._data) - self.at:
            raise struct.error("a map longer than its bytes")
        return [(self._items(1, kinds >> 4, depth), self._items(1, kinds & 15, depth)) for _ in range(count)]

    def _byte(self) -> int:
        found = self._data[self.at]
        self.at += 1
        return found

    def _bytes(self, size: int) -> bytes:
        if size > len(self._data) - self.at:
            raise struct.error("a text longer than its bytes")
        self.at += size
        return bytes(self._data[self.at - size : self.at])

    def _varint(self) -> int:
        found = shift = 0
        while True:
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
            shift += 7
            if shift >= _WIDEST_BITS:
                raise struct.error("a number of too many bytes")

    def _zigzag(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)
