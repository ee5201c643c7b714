"""Single fields of a frame's header: how they are written and how they are checked when they are read.

One letter per kind of field; frames.py says which frame has which.

    s str                 m message: str, cut to what a header may hold
    i int >= 0            b bool
    l list of str         t tags: list of str as one bin, a line each
    I list of int >= 0    B bytes, one per entry
    Q, U                  columns of uint64, uint32: a bin of little-endian numbers, one per entry
    N sizes: a bin of little-endian uint32, ascending, not one per entry
    R request ids: a bin; for each entry the length in a byte, then UTF-8
    T traces: a bin of 25 bytes per entry, zeros for none
    K kinds of bodies: bytes, one per entry
    M reports of models, C counters: each a bin of msgpack, see model_reports
    H, V                  sizes of the head (int) and of the bodies (a column of uint32)

A column R, T or K is empty when no entry of the frame has any.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from vtsserving._wire.limits import (
    MAX_ENTRIES,
    MAX_HEADER_STR_BYTES,
    MAX_REQUEST_ID_BYTES,
    MAX_SIZES,
    MAX_TAGS_BYTES,
    TRACE_BYTES,
)
from vtsserving._wire.model_reports import pack_counters, pack_reports, unpack_counters, unpack_reports
from vtsserving.exceptions import BadFrame

EACH_ENTRY: Final = frozenset("QUBV")
"""Fields with one item per entry."""

SOME_ENTRIES: Final = frozenset("RTK")
"""Fields with one item per entry, or with none at all."""

_NO_TRACE: Final = bytes(TRACE_BYTES)
_TRACE_ID: Final = slice(0, 16)
_SPAN_ID: Final = slice(16, 24)


def fitting(message: str) -> str:
    """A message that a header can carry: people read it, so it loses its end rather than the frame."""
    return message.encode("utf-8", "replace")[:MAX_HEADER_STR_BYTES].decode("utf-8", "ignore")


def lines_of(tags: Sequence[str]) -> bytes:
    """As many tags as a header can carry."""
    lines = "\n".join(tags).encode()
    if len(lines) <= MAX_TAGS_BYTES:
        return lines
    return lines[: max(0, lines.rfind(b"\n", 0, MAX_TAGS_BYTES + 1))]


# --- writing -----------------------------------------------------------------------------------------------------


def _pack_u64(column: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(column)}Q", *column)


def _pack_u32(column: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(column)}I", *column)


def _pack_sizes(sizes: Sequence[int]) -> bytes:
    return _pack_u32(sizes[:MAX_SIZES]) if sizes else b""


def _pack_texts(texts: Sequence[str]) -> bytes:
    parts: list[bytes] = []
    for text in texts:
        data = text.encode("utf-8", "replace")
        if len(data) > MAX_REQUEST_ID_BYTES:
            data = data[:MAX_REQUEST_ID_BYTES].decode("utf-8", "ignore").encode()
        parts += (bytes((len(data),)), data)
    return b"".join(parts)


def _pack_traces(traces: Sequence[bytes]) -> bytes:
    return b"".join([trace or _NO_TRACE for trace in traces])


WRITERS: Final[dict[str, Callable[[Any], Any]]] = {
    "m": fitting,
    "t": lines_of,
    "Q": _pack_u64,
    "U": _pack_u32,
    "N": _pack_sizes,
    "R": _pack_texts,
    "T": _pack_traces,
    "M": pack_reports,
    "C": pack_counters,
}
"""Fields that do not go into the header as they are; of H and V, frames.py takes care."""


# --- reading -----------------------------------------------------------------------------------------------------


def _integer(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise BadFrame("expected an integer >= 0")
    return value


def _of(kind: type[Any]) -> Any:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise BadFrame(f"expected {kind.__name__}, got {type(value).__name__}")
        return value

    return check


def _strings(value: Any) -> list[str]:
    if type(value) is not list or any(type(item) is not str for item in value):
        raise BadFrame("expected a list of str")
    return value


def _integers(value: Any) -> list[int]:
    if type(value) is not list:
        raise BadFrame("expected a list of integers")
    return [_integer(item) for item in value]


def _tags(value: Any) -> list[str]:
    if type(value) is not bytes or len(value) > MAX_TAGS_BYTES:
        raise BadFrame(f"expected tags, a line each, of at most {MAX_TAGS_BYTES} bytes")
    try:
        return value.decode().split("\n") if value else []
    except UnicodeDecodeError as error:
        raise BadFrame("tags that are not UTF-8") from error


def _column(letter: str, width: int) -> Any:
    def unpack(value: Any) -> tuple[int, ...]:
        if type(value) is not bytes or len(value) % width:
            raise BadFrame("a column is not a whole number of items")
        return struct.unpack(f"<{len(value) // width}{letter}", value)

    return unpack


_u32 = _column("I", 4)


def _sizes(value: Any) -> tuple[int, ...]:
    if value == b"":
        return ()
    sizes: tuple[int, ...] = _u32(value)
    if len(sizes) > MAX_SIZES or not sizes[0] or any(a >= b for a, b in pairwise(sizes)):
        raise BadFrame(f"sizes of batches are at most {MAX_SIZES} ascending numbers from 1")
    return sizes


def _texts(value: Any) -> tuple[str, ...]:
    if value == b"":
        return ()
    if type(value) is not bytes:
        raise BadFrame("expected a column of texts")
    texts: list[str] = []
    position, end = 0, len(value)
    while position < end:
        start = position + 1
        size = value[position]
        position = start + size
        if size > MAX_REQUEST_ID_BYTES or position > end or len(texts) >= MAX_ENTRIES:
            raise BadFrame("a column of texts does not add up")
        try:
            texts.append(value[start:position].decode() if size else "")
        except UnicodeDecodeError as error:
            raise BadFrame("a column of texts is not UTF-8") from error
    return tuple(texts)


def _traces(value: Any) -> tuple[bytes, ...]:
    if value == b"":
        return ()
    if type(value) is not bytes or len(value) % TRACE_BYTES:
        raise BadFrame(f"a column of traces is not {TRACE_BYTES} bytes per entry")
    each = [value[start : start + TRACE_BYTES] for start in range(0, len(value), TRACE_BYTES)]
    if any(trace != _NO_TRACE and not (any(trace[_TRACE_ID]) and any(trace[_SPAN_ID])) for trace in each):
        raise BadFrame("a trace without a trace id or a span id")
    return tuple([b"" if trace == _NO_TRACE else trace for trace in each])


READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "s": _of(str),
    "m": _of(str),
    "i": _integer,
    "b": _of(bool),
    "B": _of(bytes),
    "l": _strings,
    "t": _tags,
    "I": _integers,
    "Q": _column("Q", 8),
    "U": _u32,
    "N": _sizes,
    "R": _texts,
    "T": _traces,
    "K": _of(bytes),
    "M": unpack_reports,
    "C": unpack_counters,
    "H": _integer,
    "V": _u32,
}
