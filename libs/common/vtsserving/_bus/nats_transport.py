"""The socket below nats-py: reads go straight to our parser, writes are collected per turn of the event loop.

nats-py asks its transport for lines while it shakes hands and then calls `read` in a loop. Here the first `read`
after the handshake switches the connection to direct delivery: from then on bytes are parsed inside
`data_received`, and `read` itself returns only when the connection is lost. Everything else of nats-py
(authentication, TLS, pings, choosing a server, reconnecting) is used as it is.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Final, cast
from urllib.parse import ParseResult

from nats.aio.transport import Transport
from nats.errors import ProtocolError as NatsProtocolError

from vtsserving._bus.dialing import dial
from vtsserving.exceptions import ProtocolError

FLUSH_BYTES: Final = 1024 * 1024
"""What is collected in one turn of the event loop goes out early beyond this many bytes."""

COPY_BYTES: Final = 64 * 1024
"""Payloads up to this size are joined with their neighbours, at the price of a copy; larger ones go alone."""

DEFAULT_PORT: Final = 4_222
MAX_HANDSHAKE_LINE_BYTES: Final = 64 * 1024


class DirectTransport(Transport):
    """One transport for the life of a bus; each connection under it is a _Link.

    Attributes:
        congested: more than `limit_bytes` wait for the network; the bus takes no publish until half of it is gone.
    """

    def __init__(
        self, on_data: Callable[[bytes], None], on_lost: Callable[[], None], *, limit_bytes: int
    ) -> None:
        """Create it, without a connection.

        Args:
            on_data: parses what was read; may raise ProtocolError.
            on_lost: called once for each connection that ends after its handshake.
            limit_bytes: how much may wait for the network.
        """
        self.congested = False
        self._on_data = on_data
        self._on_lost = on_lost
        self._limit_bytes = limit_bytes
        self._link: _Link | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._flush_scheduled = False
        self._delivering = False

    # --- every message ------------------------------------------------------------------------------------------

    def send(self, head: bytes, payload: bytes) -> None:
        """Send a command with its payload and line end, after everything that was sent before."""
        if len(payload) > COPY_BYTES:
            self._waiting.append(head)
            self.flush()
            self._write(payload)
            self._waiting.append(b"\r\n")
        else:
            self._waiting += (head, payload, b"\r\n")
            self._waiting_bytes += len(payload)
        if self._waiting_bytes > FLUSH_BYTES:
            self.flush()
        elif not (self._delivering or self._flush_scheduled):
            self._schedule()

    def deliver(self, data: bytes) -> None:
        """Parse what was read; what its handlers publish goes out together, right after."""
        self._delivering = True
        try:
            self._on_data(data)
        finally:
            self._delivering = False
            self.flush()

    def flush(self) -> None:
        """Hand what was collected to the socket."""
        if self._waiting:
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._write(data)

    def _schedule(self) -> None:
        self._flush_scheduled = True
        asyncio.get_running_loop().call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flush_scheduled = False
        self.flush()

    def _write(self, data: bytes) -> None:
        link = self._link
        if link is not None and not link.lost:
            link.transport.write(data)

    # --- the life of a connection -------------------------------------------------------------------------------

    def abort(self) -> None:
        """Cut the connection without waiting for the network; nats-py will notice and reconnect."""
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._link is not None:
            self._link.transport.abort()

    def link_lost(self, link: _Link) -> None:
        """Note the end of a connection; for the connection itself."""
        if link is self._link:
            self._waiting.clear()
            self._waiting_bytes = 0
            self.congested = False
            self._on_lost()

    # --- what nats-py calls -------------------------------------------------------------------------------------

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Open a TCP connection; the one before it, if any, is cut."""
        self.abort()
        dialing = dial(lambda: _Link(self), uri.hostname or "", uri.port or DEFAULT_PORT)
        link = await asyncio.wait_for(dialing, connect_timeout)
        link.transport.set_write_buffer_limits(high=self._limit_bytes)
        self._link = link

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """Go on encrypted on the connection that is open."""
        link = self._opened()
        starting = asyncio.get_running_loop().start_tls(
            link.transport,
            link,
            ssl_context,
            server_hostname=uri if isinstance(uri, str) else uri.hostname,
        )
        transport = await asyncio.wait_for(starting, connect_timeout)
        if transport is None:
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        link.transport = transport
        transport.set_write_buffer_limits(high=self._limit_bytes)

    def write(self, payload: bytes) -> None:
        """Send a command, after everything that was sent before."""
        self._waiting.append(payload)
        self._waiting_bytes += len(payload)
        if not (self._delivering or self._flush_scheduled):
            self._schedule()

    def writelines(self, payload: list[bytes]) -> None:
        """Send commands, after everything that was sent before."""
        for command in payload:
            self.write(command)

    async def drain(self) -> None:
        """Hand what was collected to the socket; never waits."""
        self.flush()

    async def readline(self) -> bytes:
        """The next line of the handshake.

        Raises:
            ConnectionResetError: the connection was lost before the line was complete.
            ProtocolError: there is no end of line where one has to be.
        """
        return await self._opened().readline()

    async def read(self, buffer_size: int) -> bytes:
        """Deliver everything from now on directly; return, with nothing, when the connection is lost.

        Raises:
            ProtocolError: nats-py's own; the server sent something that is not its protocol.
        """
        link = self._opened()
        link.deliver_directly()
        await link.ended.wait()
        if link.malformed:
            raise NatsProtocolError
        return b""

    def at_eof(self) -> bool:
        """Whether the connection is lost."""
        return self._link is None or self._link.lost

    def close(self) -> None:
        """Cut the connection. Whoever wants its data delivered makes a round trip before."""
        self.abort()

    async def wait_closed(self) -> None:
        """Return when the connection has ended."""
        if self._link is not None:
            await self._link.ended.wait()

    def __bool__(self) -> bool:
        """Always true, or nats-py would replace this transport with its own."""
        return True

    def _opened(self) -> _Link:
        if self._link is None:
            raise ConnectionResetError("not connected")
        return self._link


class _Link(asyncio.Protocol):
    """One connection: collects bytes during the handshake, then passes them on where they arrive."""

    transport: asyncio.Transport

    def __init__(self, owner: DirectTransport) -> None:
        self.lost = False
        self.malformed = False
        self.ended = asyncio.Event()
        self._owner = owner
        self._direct = False
        self._buffer = bytearray()
        self._arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do all that an asyncio.Transport does without being one.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._direct:
            self._buffer += data
            self._arrived.set()
            return
        try:
            self._owner.deliver(data)
        except ProtocolError:
            self.malformed = True
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.ended.set()
        self._arrived.set()
        self._owner.link_lost(self)

    def pause_writing(self) -> None:
        self._owner.congested = True

    def resume_writing(self) -> None:
        self._owner.congested = False

    def deliver_directly(self) -> None:
        """End the handshake: pass on what arrived behind it, and everything that follows."""
        if not self._direct:
            self._direct = True
            rest, self._buffer = bytes(self._buffer), bytearray()
            if rest:
                self.data_received(rest)

    async def readline(self) -> bytes:
        while b"\n" not in self._buffer:
            if self.lost:
                raise ConnectionResetError("the nats-server closed the connection")
            if len(self._buffer) > MAX_HANDSHAKE_LINE_BYTES:
                raise NatsProtocolError
            self._arrived.clear()
            await self._arrived.wait()
        end = self._buffer.index(b"\n") + 1
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line
