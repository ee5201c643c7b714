"""Bytes from a nats-server to handler calls, in one step.

The parser of nats-py matches seven regular expressions per message, moves the rest of its buffer and hands each
message to a queue that wakes a task. This one reads the control line with `find` and `split` and calls the handler
where it stands; what is not a message (PING, PONG, INFO, +OK, -ERR) goes to one function.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from vtsserving._bus.interface import NO_RESPONDERS, Handler, Message
from vtsserving.exceptions import ProtocolError

_log = logging.getLogger(__name__)

MAX_CONTROL_LINE_BYTES: Final = 64 * 1024
"""Longest line; INFO of a large cluster is the longest in practice."""

MAX_MESSAGE_BYTES: Final = 128 * 1024 * 1024
"""Largest message that is collected; a nats-server can be set to carry half of it at most."""

_CRLF: Final = b"\r\n"
_CRLF_BYTES: Final = 2
_M: Final = ord("M")
_H: Final = ord("H")
_NO_RESPONDERS_LINE: Final = b"NATS/1.0 503"


class NatsParser:
    """The state between two reads of one connection.

    Attributes:
        handlers: who gets the messages of a subscription, by the subscription's number as the server writes it.
    """

    def __init__(self, on_control: Callable[[bytes], None]) -> None:
        """Create it.

        Args:
            on_control: gets each line that is not the head of a message, without its line end.
        """
        self.handlers: dict[bytes, Handler] = {}
        self._on_control = on_control
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._needed_bytes = 0

    def reset(self) -> None:
        """Forget a half-received message: what follows comes from another connection."""
        self._parts.clear()
        self._held_bytes = 0

    def feed(self, data: bytes) -> None:
        """Handle every message that is complete with `data`, in order.

        Args:
            data: what was read, cut anywhere.

        Raises:
            ProtocolError: this is not what a nats-server sends; the connection is of no more use.
        """
        if self._parts:
            self._parts.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed_bytes:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        try:
            position = self._handle_all(data)
        except (ValueError, IndexError) as e:
            raise ProtocolError("the nats-server sent a malformed line") from e
        if position < len(data):
            self._parts.append(data[position:])
            self._held_bytes = len(data) - position

    def _handle_all(self, data: bytes) -> int:
        """Handle what is complete; return where the incomplete rest begins and note how much that needs."""
        position, size_bytes = 0, len(data)
        handlers = self.handlers
        while position < size_bytes:
            line_end = data.find(_CRLF, position)
            if line_end < 0:
                self._expect(size_bytes - position + 1, MAX_CONTROL_LINE_BYTES)
                break
            kind = data[position]
            if kind not in (_M, _H):
                self._on_control(data[position:line_end])
                position = line_end + _CRLF_BYTES
                continue
            words = data[position:line_end].split()
            start = line_end + _CRLF_BYTES
            end = start + int(words[-1])
            if end + _CRLF_BYTES > size_bytes:
                self._expect(end + _CRLF_BYTES - position, MAX_MESSAGE_BYTES)
                break
            message = _plain(words, data[start:end]) if kind == _M else _with_headers(words, data[start:end])
            position = end + _CRLF_BYTES
            handler = handlers.get(words[2])
            if handler is not None:
                try:
                    handler(message)
                except Exception:
                    _log.exception("bus_handler_raised", extra={"subject": message.subject})
        return position

    def _expect(self, needed_bytes: int, limit_bytes: int) -> None:
        if needed_bytes > limit_bytes:
            raise ProtocolError(f"the nats-server announced {needed_bytes} bytes; the limit is {limit_bytes}")
        self._needed_bytes = needed_bytes


_PLAIN_WORDS_WITHOUT_REPLY: Final = 4
_HEADER_WORDS_WITHOUT_REPLY: Final = 5


def _plain(words: list[bytes], payload: bytes) -> Message:
    """A message from `MSG <subject> <sid> [reply] <size>`."""
    reply = words[3].decode() if len(words) > _PLAIN_WORDS_WITHOUT_REPLY else ""
    return Message(words[1].decode(), payload, reply)


def _with_headers(words: list[bytes], content: bytes) -> Message:
    """A message from `HMSG <subject> <sid> [reply] <header size> <size>`; of the headers only 503 means something."""
    if content.startswith(_NO_RESPONDERS_LINE):
        return Message(words[1].decode(), NO_RESPONDERS, "")
    reply = words[3].decode() if len(words) > _HEADER_WORDS_WITHOUT_REPLY else ""
    return Message(words[1].decode(), content[int(words[-2]) :], reply)
