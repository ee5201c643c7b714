"""Frames: encode and decode, sans-IO.

    frame  = "VT" version:u8 kind:u8 header_size:u32le header body
    header = a msgpack array whose length and types are fixed by kind and version
    body   = what the header's sizes say, byte for byte

Per-entry numbers travel as columns (one bin of packed little-endian integers), so a frame of 64 requests costs a
handful of msgpack objects, and no process on the way touches a tensor. docs/wire.md is the prose version.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple, TypeVar

import msgpack

from vtsserving._bus.interface import Deferred
from vtsserving._wire.fields import EACH_ENTRY, READERS, SOME_ENTRIES, WRITERS
from vtsserving._wire.kinds import (
    KINDS,
    Batch,
    Buffer,
    Cancel,
    Control,
    Event,
    Failure,
    Fault,
    Frame,
    Heartbeat,
    Loaded,
    Prepare,
    Reply,
    Report,
    Request,
    Result,
    Traits,
)
from vtsserving._wire.limits import (
    MAX_ENTRIES,
    MAX_HEADER_BIN_BYTES,
    MAX_HEADER_BYTES,
    MAX_HEADER_ITEMS,
    MAX_HEADER_STR_BYTES,
    PROTOCOL_VERSION,
)
from vtsserving.exceptions import BadFrame, UnsupportedProtocol

_PREFIX: Final = struct.Struct("<2sBBI")
_MAGIC: Final = b"VT"
PREFIX_BYTES: Final = _PREFIX.size
_MAX_HEADER_LISTS: Final = 2
"""A header is one array and holds at most one more. Others are stopped before they build arrays of arrays of arrays."""

__all__ = [
    "PREFIX_BYTES",
    "Batch",
    "Buffer",
    "Cancel",
    "Control",
    "Event",
    "Failure",
    "Fault",
    "Frame",
    "Heartbeat",
    "Loaded",
    "Prepare",
    "Reply",
    "Report",
    "Request",
    "Result",
    "Traits",
    "decode",
    "decode_as",
    "encode",
    "encode_parts",
    "message",
]

F = TypeVar("F", bound=Frame)

REMEMBERED_BYTES: Final = 64 * 1024
"""Frames with bodies up to this size are passed on unencoded within a process."""

MAX_DEFERRED_ENTRIES: Final = 512
"""So that the size of an unencoded frame has a bound."""

_WITH_BODIES: Final = (Request, Batch, Reply, Result)


class _Kind(NamedTuple):
    """What the letters of a kind say, worked out once.

    Attributes:
        number: on the wire.
        cls: the class.
        writers: (position, writer) of the fields that do not go into the header as they are.
        readers: one for each field.
        each: positions of the fields with one item per entry.
        some: positions of those that may be empty instead.
        has_bodies: whether the last two fields are head and bodies.
    """

    number: int
    cls: type[Any]
    writers: tuple[tuple[int, Callable[[Any], Any]], ...]
    readers: tuple[Callable[[Any], Any], ...]
    each: tuple[int, ...]
    some: tuple[int, ...]
    has_bodies: bool

    @classmethod
    def of(cls, number: int) -> _Kind:
        """The kind with a number."""
        frame_class, letters = KINDS[number]
        return cls(
            number,
            frame_class,
            tuple([(i, WRITERS[letter]) for i, letter in enumerate(letters) if letter in WRITERS]),
            tuple([READERS[letter] for letter in letters]),
            tuple([i for i, letter in enumerate(letters) if letter in EACH_ENTRY]),
            tuple([i for i, letter in enumerate(letters) if letter in SOME_ENTRIES]),
            letters.endswith("V"),
        )


_GATEWAYS: Final = Batch._fields.index("gateways")
_GATEWAY_INDEX: Final = Batch._fields.index("gateway_index")
_BY_NUMBER: Final = {number: _Kind.of(number) for number in KINDS}
_BY_CLASS: Final = {kind.cls: kind for kind in _BY_NUMBER.values()}


def encode(frame: Frame) -> bytes:
    """Encode a frame.

    Args:
        frame: any of the classes above; columns of one frame have equal length.

    Returns:
        The whole frame in one bytes object.
    """
    return b"".join(encode_parts(frame))


class Unencoded:
    """A frame on its way to somebody in this process, perhaps: its bytes are made when they are asked for."""

    __slots__ = ("_data", "frame")

    def __init__(self, frame: Frame) -> None:
        """Carry a frame that is not changed any more."""
        self.frame = frame
        self._data: bytes | None = None

    def __bytes__(self) -> bytes:
        if self._data is None:
            self._data = encode(self.frame)
        return self._data

    def __len__(self) -> int:
        return len(bytes(self))


def message(frame: Frame) -> bytes | Unencoded:
    """A frame to be published.

    Where the bus passes messages by reference, `decode` finds the frame in them and has nothing to do: in the embedded
    mode, writing and reading frames was half of what a single request cost the services.

    Args:
        frame: not changed afterwards.

    Returns:
        The same bytes as `encode`, if need be only when they are asked for. A large frame is encoded at once, unless
        its bodies are bytes: the memory that others lie in may be used again when this turn of the loop is over.
    """
    if isinstance(frame, _WITH_BODIES) and (
        len(frame.bodies) > MAX_DEFERRED_ENTRIES
        or (
            len(frame.head) + sum(map(len, frame.bodies)) > REMEMBERED_BYTES
            and not all(type(body) is bytes for body in frame.bodies)
        )
    ):
        return encode(frame)
    return Unencoded(frame)


def encode_parts(frame: Frame) -> tuple[Buffer, ...]:
    """Encode a frame for a writer that can gather: what `encode` joins, with head and bodies as they are."""
    kind = _BY_CLASS[type(frame)]
    fields: list[Any] = list(frame)
    for position, write in kind.writers:
        fields[position] = write(fields[position])
    body: Sequence[Buffer] = ()
    if kind.has_bodies:
        head, bodies = fields[-2:]
        fields[-2:] = (len(head), struct.pack(f"<{len(bodies)}I", *map(len, bodies)))
        body = (head, *bodies)
    header: bytes = msgpack.packb(fields)
    return (_PREFIX.pack(_MAGIC, PROTOCOL_VERSION, kind.number, len(header)), header, *body)


def decode(data: Buffer | Deferred) -> Frame:
    """Decode and check a frame.

    Args:
        data: one whole frame; the returned bodies are views into it, read-only if it is bytes.

    Returns:
        The frame.

    Raises:
        BadFrame: the bytes are no frame of this version.
        UnsupportedProtocol: another protocol version.
    """
    if type(data) is Unencoded:
        return data.frame
    assert isinstance(data, bytes | bytearray | memoryview)  # what else a bus carries was made here
    number, header_size = _prefix(data)
    kind = _BY_NUMBER.get(number)
    if kind is None:
        raise BadFrame(f"unknown frame kind {number}")
    end = PREFIX_BYTES + header_size
    if header_size > MAX_HEADER_BYTES or end > len(data):
        raise BadFrame(f"header of {header_size} bytes does not fit the frame")
    fields = _unpack_header(data[PREFIX_BYTES:end])
    # Head and bodies come from the body; the header carries their sizes in the same two places.
    if len(fields) != len(kind.readers):
        raise BadFrame(f"{kind.cls.__name__} has {len(fields)} fields, not {len(kind.readers)}")
    values = [read(value) for read, value in zip(kind.readers, fields, strict=True)]
    if kind.has_bodies:
        values[-2:] = _cut_body(memoryview(data)[end:], values[-2], values[-1])
    elif end != len(data):
        raise BadFrame(f"{len(data) - end} bytes after the frame")
    if kind.each:
        _check_columns(kind, values)
    return kind.cls(*values)  # type: ignore[no-any-return]


def decode_as(cls: type[F], data: Buffer | Deferred) -> F:
    """Decode a frame that must be of one kind; BadFrame if it is another."""
    frame = decode(data)
    if not isinstance(frame, cls):
        raise BadFrame(f"expected {cls.__name__}, got {type(frame).__name__}")
    return frame


def _prefix(data: Buffer) -> tuple[int, int]:
    if len(data) < PREFIX_BYTES:
        raise BadFrame(f"a frame has at least {PREFIX_BYTES} bytes, this has {len(data)}")
    magic, version, kind, header_size = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise BadFrame("no frame: wrong magic")
    if version != PROTOCOL_VERSION:
        raise UnsupportedProtocol(f"protocol version {version}; this side speaks {PROTOCOL_VERSION}")
    return kind, header_size


def _unpack_header(header: Buffer) -> list[Any]:
    lists_left = [None] * _MAX_HEADER_LISTS

    def count_list(items: list[Any]) -> list[Any]:
        lists_left.pop()
        return items

    try:
        fields = msgpack.unpackb(
            header,
            list_hook=count_list,
            max_array_len=MAX_HEADER_ITEMS,
            max_map_len=0,
            max_ext_len=0,
            max_str_len=MAX_HEADER_STR_BYTES,
            max_bin_len=MAX_HEADER_BIN_BYTES,
        )
    except (ValueError, TypeError, IndexError, RecursionError, msgpack.UnpackException) as error:
        raise BadFrame(f"unreadable header: {type(error).__name__}") from error
    if type(fields) is not list:
        raise BadFrame("the header is no array")
    return fields


def _cut_body(body: memoryview, head_size: int, sizes: tuple[int, ...]) -> tuple[bytes, list[memoryview]]:
    if head_size + sum(sizes) != len(body):
        raise BadFrame(f"the body has {len(body)} bytes; its sizes say {head_size + sum(sizes)}")
    ends = list(accumulate(sizes, initial=head_size))
    return bytes(body[:head_size]), [body[a:b] for a, b in pairwise(ends)]


def _check_columns(kind: _Kind, values: list[Any]) -> None:
    count = len(values[kind.each[0]])
    for position in kind.each:
        if len(values[position]) != count:
            raise BadFrame("columns of one frame differ in length")
    for position in kind.some:
        if values[position] and len(values[position]) != count:
            raise BadFrame("columns of one frame differ in length")
    if not 0 < count <= MAX_ENTRIES:
        raise BadFrame(f"a frame holds 1 to {MAX_ENTRIES} entries")
    if kind.cls is Batch and max(values[_GATEWAY_INDEX]) >= len(values[_GATEWAYS]):
        raise BadFrame("an entry names a gateway that the frame does not list")
