"""A connection as a sequence of exchanges: their order, bytes out, back-pressure, timeouts, and how it ends.

One exchange is being answered at a time; what was pipelined behind it waits, parsed, and reading stops until nothing
waits any more. The answers therefore come in order, and one connection cannot hold more than one read's worth of
requests. What the bytes mean is for protocol.py.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vtsserving.exceptions import Overloaded, RequestTimeout, VtsServingException
from vtsserving_gateway.asgi_exchange import AsgiExchange
from vtsserving_gateway.exchange import Exchange, Refusal

if TYPE_CHECKING:
    import asyncio

    from vtsserving_gateway.state import GatewayState

LINGER_S: Final = 2.0
"""How long a connection that was refused is still read, so that the client sees the answer and not a reset."""


class Phase(enum.IntEnum):
    """What the connection reads."""

    IDLE = 0
    HEADERS = 1
    BODY = 2
    REFUSED = 3
    LINGER = 4
    CLOSED = 5


# Under plain names, since each request asks a dozen times and an attribute of an enumeration is a slow thing to read.
IDLE: Final = Phase.IDLE
HEADERS: Final = Phase.HEADERS
BODY: Final = Phase.BODY
REFUSED: Final = Phase.REFUSED


class ReadingFlow(FlowControl):
    """Flow control in which the connection, not only the ASGI application, can hold reading back."""

    held = False

    def hold(self) -> None:
        """Read nothing until `release`."""
        self.held = True
        self.pause_reading()

    def release(self) -> None:
        """Read again."""
        self.held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """Read again, unless reading is held back."""
        if not self.held:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """One connection; knows whose turn it is, not what is being said."""

    flow: ReadingFlow

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        gateway: GatewayState,
    ) -> None:
        """Create it as uvicorn does, with what all connections share."""
        super().__init__(config, server_state, app_state, _loop)
        self.gateway = gateway
        self.url = b""
        self.deadline_s = math.inf
        self._settings = gateway.settings
        self._phase = IDLE
        self._current: Exchange | None = None
        self._incoming: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._is_advancing = False
        self._is_last = False
        self._is_new = False
        self._refusal: VtsServingException | None = None
        self._max_headers = gateway.settings.max_headers
        self._read_bytes = 0
        self._head_bytes = 0
        self._trailer_bytes = 0
        self._body_bytes = 0
        self._raw_bytes = 0
        self._progress_bytes = 0
        self._unsent_bytes = 0

    # --- connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self.flow = ReadingFlow(transport)
        self.gateway.connections.add(self)
        if len(self.gateway.connections) > self._settings.max_connections:
            self._refuse(Overloaded("too many connections; try again", retry_after_s=1.0))
        else:
            self.deadline_s = self.gateway.now_s + self._settings.keep_alive_s

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or we have closed: nobody waits for what is under way."""
        self.gateway.connections.discard(self)
        self._phase = Phase.CLOSED
        self.deadline_s = math.inf
        super().connection_lost(exc)
        abandoned = [self._current, *self._waiting]
        self._current = self._incoming = None
        self._waiting.clear()
        for exchange in abandoned:
            if exchange is not None:
                exchange.abandon()

    def shutdown(self) -> None:
        """The grace period is over: go as soon as nothing is under way."""
        self._is_last = True
        if self._current is None and self._phase in (IDLE, Phase.LINGER):
            self._phase = Phase.CLOSED
            self.transport.close()

    def start_draining(self) -> None:
        """From now on answers say `connection: close`."""
        if isinstance(self._current, AsgiExchange) and self.last:
            self._current.close_after()

    @property
    def last(self) -> bool:
        """Whether the connection closes after the current answer, whatever the request asked for."""
        return (self._is_last or self.gateway.draining) and not self._waiting

    # --- order ---------------------------------------------------------------------------------------------------

    def _enqueue(self, exchange: Exchange) -> None:
        if self._current is None and not self._waiting and not self.flow.write_paused:
            self._current = exchange
            exchange.turn()
        else:
            self._waiting.append(exchange)
            self._update_reading()

    def finished(self, exchange: Exchange, *, keep_alive: bool) -> None:
        """See exchange.Connection."""
        self._current = None
        if not keep_alive:
            self._close()
        elif self._waiting or self.flow.held:
            self._advance()
        else:
            self._rest()

    def on_response_complete(self) -> None:
        """The ASGI application has answered (uvicorn's callback)."""
        self.server_state.total_requests += 1
        self._current = None
        if self.transport.is_closing():
            self._close()
        else:
            self.flow.resume_reading()
            self._advance()

    def _advance(self) -> None:
        """Give the next exchange its turn. A loop, since an exchange may be finished before `turn` returns."""
        if self._is_advancing:
            return
        self._is_advancing = True
        while self._waiting and self._current is None and not self.flow.write_paused:
            exchange = self._current = self._waiting.popleft()
            exchange.turn()
        self._is_advancing = False
        if self.flow.held:
            self._update_reading()
        if self._current is None:
            self._rest()

    def _rest(self) -> None:
        """Nothing is being answered: the connection may wait for a request, for a while."""
        if self._phase is IDLE and not self._waiting and not self.flow.write_paused:
            self.deadline_s = self.gateway.now_s + self._settings.keep_alive_s

    # --- bytes out -----------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """See exchange.Connection."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self) -> None:
        """The client does not read its answers: read none of its requests."""
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._update_reading()
        self.deadline_s = self.loop.time() + self._settings.write_timeout_s

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._phase < Phase.LINGER:
            self.deadline_s = math.inf
            self._update_reading()
            self._advance()

    def _update_reading(self) -> None:
        held = bool(self._waiting) or self.flow.write_paused or self._phase is REFUSED
        if held == self.flow.held:
            return
        if held:
            self.flow.hold()
            self.deadline_s = math.inf
            return
        self.flow.release()
        if self._phase in (HEADERS, BODY):
            is_headers = self._phase is HEADERS
            timeout_s = self._settings.header_timeout_s if is_headers else self._settings.body_timeout_s
            self.deadline_s = self.loop.time() + timeout_s

    # --- ends ----------------------------------------------------------------------------------------------------

    def _refuse(self, error: VtsServingException) -> None:
        """Read no more; answer, in order, with the error, and close."""
        self._refusal = None
        self._phase = REFUSED
        self.deadline_s = math.inf
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.fail(error)
        else:
            wanted = dict(self.headers or ()).get(b"x-request-id")
            self._enqueue(Refusal(self, error, self.gateway.request_id(wanted)))
        if self._phase is REFUSED:
            self._update_reading()

    def _close(self) -> None:
        """Close; if the client may still be sending, only our side at first, for a reset would eat the answer."""
        abandoned = list(self._waiting)
        self._waiting.clear()
        for exchange in abandoned:
            exchange.abandon()
        if self._phase is IDLE or self.transport.is_closing():
            self._phase = Phase.CLOSED
            self.deadline_s = self.loop.time() + self._settings.write_timeout_s
            self.transport.close()
            return
        self._phase = Phase.LINGER
        self.deadline_s = self.loop.time() + LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._update_reading()
        self.flow.resume_reading()

    def expire(self, now_s: float) -> None:
        """See gateway.Watched."""
        self.deadline_s = math.inf
        if self.flow.write_paused and self._phase != Phase.LINGER:
            unsent_bytes = self.transport.get_write_buffer_size()
            if unsent_bytes >= self._unsent_bytes:
                self.transport.abort()
                return
            self._unsent_bytes = unsent_bytes
            self.deadline_s = now_s + self._settings.write_timeout_s
        elif self._phase is HEADERS:
            self._refuse(
                RequestTimeout(f"no whole header block within {self._settings.header_timeout_s:g} s")
            )
        elif self._phase is BODY:
            self._expire_body(now_s)
        elif self._phase >= Phase.LINGER:
            self.transport.abort()
        elif self._current is None:
            self.transport.close()

    def _expire_body(self, now_s: float) -> None:
        if self.flow.read_paused:
            # The application does not read; that is not the client's fault.
            self.deadline_s = now_s + self._settings.body_timeout_s
        else:
            self._refuse(
                RequestTimeout(f"the body made no progress within {self._settings.body_timeout_s:g} s")
            )
