"""HTTP connections with limits: what a client may leave open, how much of a header block it may send, and for how long.

A subclass of uvicorn's httptools protocol, which by itself waits for ever and buffers header blocks of any size. One
timer per connection runs while the client owes us something: a header block, the rest of a body, or that it reads
its answer. While the store works it runs not.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Final, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from vtsserving.exceptions import (
    BadRequest,
    HeadersTooLarge,
    Overloaded,
    RequestTimeout,
    VtsServingException,
)

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request's URL, headers and trailers together."""

PROGRESS_BYTES: Final = 1024
"""A body that grows by less than this within the stall timeout makes no progress."""

LINGER_S: Final = 2.0
"""How long a refused connection is still read, so that the client sees the answer and not a reset."""


class Limits(NamedTuple):
    """What connections may do.

    Attributes:
        connections: open at once; more are answered 503.
        header_s: for a whole header block, from the connection's or the block's first byte.
        stall_s: without progress of a body, in either direction.
    """

    connections: int
    header_s: float
    stall_s: float


class StoreProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
    ) -> None:
        """Create it as uvicorn does, with the limits that all connections share."""
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._timer: asyncio.TimerHandle | None = None
        self._reads = "nothing"
        self._is_new = False
        self._head_bytes = 0
        self._raw_bytes = 0
        self._body_bytes = 0
        self._progress_bytes = 0
        self._unsent_bytes = 0
        self._refusal: VtsServingException | None = None

    # --- from the transport --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            self._refuse(Overloaded("too many connections; try again", retry_after_s=1.0))
        else:
            self._wait(self._limits.header_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below run from here."""
        if self._refusal is not None:
            return
        self._is_new = False
        super().data_received(data)
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._reads == "headers":
            # What the parser keeps to itself, the beginning of a header without its end, counts too.
            self._raw_bytes = 0 if self._is_new else self._raw_bytes + len(data)
            if self._raw_bytes > MAX_HEAD_BYTES:
                self._refuse(_too_large())
            elif self._timer is None:
                self._wait(self._limits.header_s)
        elif self._reads == "body" and (self._timer is None or self._has_progress()):
            self._progress_bytes = self._body_bytes
            self._wait(self._limits.stall_s)
        elif self.flow.write_paused and self._timer is None:
            self._wait(self._limits.stall_s)

    def pause_writing(self) -> None:
        """The client does not read its answer as fast as it could be sent."""
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._wait(self._limits.stall_s)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._refusal is None:
            self._rest()
            if self._reads == "body":
                self._wait(self._limits.stall_s)

    # --- from the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._reads = "headers"
        self._is_new = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._count(len(name) + len(value))
        if self._reads == "headers":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The header block is whole."""
        self._rest()
        self._reads = "body"
        self._body_bytes = self._progress_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: from here on it is the store's turn."""
        self._rest()
        self._reads = "nothing"
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """The parser stopped: at our limit, or because this is not HTTP."""
        del msg
        self._refuse(self._stopped_by or BadRequest("this is not a valid HTTP/1.1 request"))

    # --- limits --------------------------------------------------------------------------------------------------

    _stopped_by: VtsServingException | None = None

    def _count(self, more_bytes: int) -> None:
        self._head_bytes += more_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stopped_by = _too_large()
            raise httptools.HttpParserError  # an exception is the only way to stop the parser

    def _has_progress(self) -> bool:
        return self._body_bytes - self._progress_bytes >= PROGRESS_BYTES

    def _wait(self, seconds: float) -> None:
        self._rest()
        self._timer = self.loop.call_later(seconds, self._expire)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        """The time is over: find out whether the client is to blame, and go."""
        self._timer = None
        if self._refusal is not None:
            self.transport.abort()
        elif self.flow.write_paused:
            unsent_bytes = self.transport.get_write_buffer_size()
            if unsent_bytes >= self._unsent_bytes:
                self.transport.abort()
            else:
                self._unsent_bytes = unsent_bytes
                self._wait(self._limits.stall_s)
        elif self._reads == "nothing":
            self.transport.close()  # nothing was ever asked, so nothing is answered
        elif self._reads == "headers":
            self._refuse(RequestTimeout(f"no whole header block within {self._limits.header_s:g} s"))
        elif self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._wait(self._limits.stall_s)  # we do not read at present: not the client's fault
        elif self._reads == "body":
            self._refuse(RequestTimeout(f"the body made no progress within {self._limits.stall_s:g} s"))

    def _refuse(self, error: VtsServingException) -> None:
        """Answer with the error, if an answer still fits, and read no more of it."""
        self._refusal = error
        self._unset_keepalive_if_required()
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if (answering and (self.cycle.response_started or self._reads == "headers")) or self.pipeline:
            self.transport.abort()
            return
        if self._reads == "body" and not answering:
            self.transport.close()  # it had its answer before its body was whole
            return
        self.transport.write(_answer(error))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._wait(LINGER_S)


def _too_large() -> HeadersTooLarge:
    return HeadersTooLarge(f"URL and headers are larger than {MAX_HEAD_BYTES} bytes")


def _answer(error: VtsServingException) -> bytes:
    request_id = secrets.token_hex(8)
    fields = {"code": error.wire_code, "message": error.message, "request_id": request_id}
    body = json.dumps({"error": fields}).encode()
    head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {request_id}\r\n"
    if error.retry_after_s is not None:
        head += f"retry-after: {max(1, round(error.retry_after_s))}\r\n"
    return STATUS_LINE[error.status] + head.encode() + b"connection: close\r\n\r\n" + body
