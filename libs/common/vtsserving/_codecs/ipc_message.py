"""The claims of a message's header in an Arrow stream, read before the message is decoded.

A record batch is compressed buffer by buffer, each with its size before compression as its first 8 bytes. So how much
memory a message takes stands in it, and nothing has to be decompressed to see that. The header is a flatbuffer:

    Message      0 version, 1 header type, 2 header, 3 body length
    RecordBatch  0 length, 1 nodes [length, nulls], 2 buffers [offset, length], 3 compression
    DictionaryBatch  0 id, 1 data: a RecordBatch
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

DICTIONARY_BATCH: Final = 2
RECORD_BATCH: Final = 3
_U16: Final = struct.Struct("<H")
_I32: Final = struct.Struct("<i")
_U32: Final = struct.Struct("<I")
_I64: Final = struct.Struct("<q")
_PAIR: Final = struct.Struct("<qq")


class Sizes(NamedTuple):
    """The content of a message.

    Attributes:
        nodes: values of its longest array.
        decompressed: bytes of its buffers, decompressed.
    """

    nodes: int
    decompressed: int


def sizes_of_message(header: bytes, body: Any) -> Sizes:
    """The sizes that a message claims.

    Args:
        header: its flatbuffer.
        body: its buffer; None where it has none.

    Raises:
        struct.error, IndexError: the header is damaged.
    """
    message = _U32.unpack_from(header, 0)[0]
    kind = _field(header, message, 1)
    place = _field(header, message, 2)
    number = header[kind] if kind else 0
    if number not in (DICTIONARY_BATCH, RECORD_BATCH) or not place:
        return Sizes(0, 0)
    table = _target(header, place)
    if number == DICTIONARY_BATCH:
        inner = _field(header, table, 1)
        if not inner:
            return Sizes(0, 0)
        table = _target(header, inner)
    is_compressed = bool(_field(header, table, 3))
    longest = max((length for length, _ in _pairs(header, _field(header, table, 1))), default=0)
    total = 0
    data = memoryview(body) if body is not None else memoryview(b"")
    for offset, length in _pairs(header, _field(header, table, 2)):
        claimed = length
        if is_compressed and length >= _I64.size and 0 <= offset <= len(data) - _I64.size:
            found = _I64.unpack_from(data, offset)[0]
            claimed = length if found == -1 else found
        total += max(claimed, length)
        if claimed < -1:
            raise struct.error("a buffer of a negative size")
    return Sizes(longest, total)


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table stands; 0: it has none."""
    vtable = table - _I32.unpack_from(data, table)[0]
    if vtable < 0:
        raise struct.error("a table outside of its message")
    slot = 4 + 2 * number
    if slot + 2 > _U16.unpack_from(data, vtable)[0]:
        return 0
    offset = _U16.unpack_from(data, vtable + slot)[0]
    return table + offset if offset else 0


def _target(data: bytes, place: int) -> int:
    return place + int(_U32.unpack_from(data, place)[0])


def _pairs(data: bytes, place: int) -> list[tuple[int, int]]:
    """A vector of structs of two int64."""
    if not place:
        return []
    start = _target(data, place)
    count = _U32.unpack_from(data, start)[0]
    if count * _PAIR.size > len(data):
        raise struct.error("a vector longer than its message")
    return [_PAIR.unpack_from(data, start + 4 + at * _PAIR.size) for at in range(count)]
