"""A connection as a sequence of exchanges: their order, bytes out, back-pressure, timeouts, and how it ends.

One exchange is being answered at a time; what was pipelined behind it waits, parsed, and reading stops until nothing
waits any more. The answers therefore come in order, and one connection cannot hold more than one read's worth of
requests. What the bytes mean is for protocol.py, what an exchange does is for its owner.

The base class is uvicorn's, which is held to one minor version; only its names without an underscore are used.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NoReturn

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from vtsserving._http.exchange import Exchange, Refusal
from vtsserving._http.flow import ReadingFlow
from vtsserving._http.host import ConnectionHost
from vtsserving._http.limits import LINGER_S
from vtsserving.exceptions import Overloaded, RequestTimeout, VtsServingException


class Phase(enum.IntEnum):
    """The part of a request that the connection reads."""

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


class Connection(HttpToolsProtocol):
    """One connection: the order of its exchanges, whatever their kinds."""

    flow: ReadingFlow

    def __init__(self, *, host: ConnectionHost, exchange_for: ExchangeFor, **uvicorns: Any) -> None:
        """Create it as uvicorn does, with what all connections share.

        Args:
            host: the limits, and how errors are answered.
            exchange_for: makes the exchange of a request whose headers were read.
            uvicorns: what uvicorn passes to its protocols, all of it by name.
        """
        super().__init__(**uvicorns)
        self.host = host
        self.url = b""
        self.deadline_s = math.inf
        self._limits = limits = host.limits
        self._watch = host.watch
        self._exchange_for = exchange_for
        self._phase = IDLE
        self._current: Exchange | None = None
        self._incoming: Exchange | None = None
        self._waiting: deque[Exchange] = deque()
        self._is_advancing = False
        self._is_last = False
        self._is_new = False
        self._has_offer = False
        self._refusal: VtsServingException | None = None
        self._is_first = limits.counts_from_open
        self._max_headers = limits.max_headers
        self._max_header_bytes = limits.max_header_bytes
        self._max_url_bytes = (
            limits.max_header_bytes if limits.max_url_bytes is None else limits.max_url_bytes
        )
        self._max_body_bytes = limits.max_body_bytes
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
        watch, limits = self._watch, self._limits
        watch.connections.add(self)
        if len(watch.connections) > limits.max_connections:
            self._refuse(Overloaded("too many connections; try again", retry_after_s=1.0))
        elif limits.counts_from_open:
            self.deadline_s = self.loop.time() + limits.header_timeout_s
        else:
            self.deadline_s = watch.now_s + limits.keep_alive_s

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or we have closed: nobody waits for what is under way."""
        self._watch.connections.discard(self)
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
        if self._current is not None:
            self.start_draining()
        elif self._phase in (IDLE, Phase.LINGER):
            self._phase = Phase.CLOSED
            self.transport.close()

    def start_draining(self) -> None:
        """From now on answers say `connection: close`."""
        if self._current is not None and self.last:
            self._current.drain()

    @property
    def last(self) -> bool:
        """Whether the connection closes after the current answer, whatever the request asked for."""
        return (self._is_last or self.host.draining) and not self._waiting

    # --- order ---------------------------------------------------------------------------------------------------

    def _enqueue(self, exchange: Exchange) -> None:
        if self._current is None and not self._waiting and not self.flow.write_paused:
            self._current = exchange
            exchange.turn()
        else:
            self._waiting.append(exchange)
            self._update_reading()

    def finished(self, exchange: Exchange, *, keep_alive: bool) -> None:
        """See exchange.Writer."""
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
        # An answer that had begun before the grace period ended could not say that it is the last.
        is_last = self._is_last and not self._waiting and self._phase is not HEADERS
        if is_last or self.transport.is_closing():
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
        if self.flow.write_paused:
            if self._phase < Phase.LINGER:
                self._await_writing()
        elif self._phase is IDLE and not self._waiting:
            self.deadline_s = self._watch.now_s + self._limits.keep_alive_s

    # --- bytes out -----------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """See exchange.Writer."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause_writing(self) -> None:
        """The client does not read its answers: read none of its requests."""
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._update_reading()
        self._await_writing()

    def _await_writing(self) -> None:
        """The client is to read its answers, whatever of its requests came in the read that was answered last."""
        self.deadline_s = self.loop.time() + self._limits.write_timeout_s

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
            timeout_s = self._limits.header_timeout_s if is_headers else self._limits.body_timeout_s
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
            self._enqueue(self.refusal(error, self.host.request_id(wanted)))
        if self._phase is REFUSED:
            self._update_reading()
            if self.flow.write_paused:
                self._await_writing()

    def refusal(self, error: VtsServingException, request_id: bytes) -> Refusal:
        """An exchange that answers the request that is being read with an error."""
        return Refusal(self, functools.partial(self.host.refuse, error, self.url, request_id))

    def stop(self, error: VtsServingException) -> NoReturn:
        """Refuse the request that is being read; to be called from a callback of the parser.

        Raises:
            VtsServingException: the error, for an exception is the only way to make the parser stop.
        """
        self._refusal = error
        raise error

    def _close(self) -> None:
        """Close; if the client may still be sending, only our side at first, for a reset would eat the answer."""
        abandoned = list(self._waiting)
        self._waiting.clear()
        for exchange in abandoned:
            exchange.abandon()
        if self._phase is IDLE or self.transport.is_closing():
            self._phase = Phase.CLOSED
            self.deadline_s = self.loop.time() + self._limits.write_timeout_s
            self.transport.close()
            return
        self._phase = Phase.LINGER
        self.deadline_s = self.loop.time() + LINGER_S
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._update_reading()
        self.flow.resume_reading()

    def expire(self, now_s: float) -> None:
        """See watch.Watched."""
        self.deadline_s = math.inf
        if self.flow.write_paused and self._phase != Phase.LINGER:
            unsent_bytes = self.transport.get_write_buffer_size()
            if unsent_bytes >= self._unsent_bytes:
                self.transport.abort()
                return
            self._unsent_bytes = unsent_bytes
            self.deadline_s = now_s + self._limits.write_timeout_s
        elif self._phase is HEADERS:
            self._refuse(RequestTimeout(f"no whole header block within {self._limits.header_timeout_s:g} s"))
        elif self._phase is BODY:
            self._expire_body(now_s)
        elif self._phase >= Phase.LINGER:
            self.transport.abort()
        elif self._current is None:
            self.transport.close()

    def _expire_body(self, now_s: float) -> None:
        incoming = self._incoming
        if self.flow.read_paused or (incoming is not None and incoming.holds_body()):
            # The application does not read; that is not the client's fault.
            self.deadline_s = now_s + self._limits.body_timeout_s
        else:
            self._refuse(
                RequestTimeout(f"the body made no progress within {self._limits.body_timeout_s:g} s")
            )


ExchangeFor = Callable[[Connection, dict[bytes, bytes], str], Exchange]
"""Makes the exchange of a request: of its connection, its headers with lower-case names, and its HTTP version.

It refuses a request with Connection.stop."""
