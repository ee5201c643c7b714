"""Single fields of a frame's header: how they are written and how they are checked when they are read.

One letter per kind of field; frames.py says which frame has which.

    s str                 m message: str, cut to what a header may hold
    i int >= 0            b bool
    l list of str         t tags: list of str as one bin, a line each
    I list of int >= 0    B bytes, one per entry
    Q, U                  columns of uint64, uint32: a bin of little-endian numbers, one per entry
    H, V                  sizes of the head (int) and of the bodies (a column of uint32)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from vtsserving._wire.limits import MAX_HEADER_BIN_BYTES, MAX_HEADER_STR_BYTES
from vtsserving.exceptions import BadFrame


def fitting(message: str) -> str:
    """A message that a header can carry: people read it, so it loses its end rather than the frame."""
    return message.encode("utf-8", "replace")[:MAX_HEADER_STR_BYTES].decode("utf-8", "ignore")


def lines_of(tags: Sequence[str]) -> bytes:
    """As many tags as a header can carry."""
    lines = "\n".join(tags).encode()
    if len(lines) <= MAX_HEADER_BIN_BYTES:
        return lines
    return lines[: max(0, lines.rfind(b"\n", 0, MAX_HEADER_BIN_BYTES + 1))]


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
    if type(value) is not bytes:
        raise BadFrame("expected tags, a line each")
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


READERS: Final[dict[str, Any]] = {
    "s": _of(str),
    "m": _of(str),
    "i": _integer,
    "b": _of(bool),
    "B": _of(bytes),
    "l": _strings,
    "t": _tags,
    "I": _integers,
    "Q": _column("Q", 8),
    "U": _column("I", 4),
    "H": _integer,
    "V": _column("I", 4),
}
