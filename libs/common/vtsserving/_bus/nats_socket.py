"""The socket of a NatsBus: reads are delivered where they arrive, writes are collected per turn of the event loop.

A connection starts with a handshake, of which lines are read one by one. After it, bytes are parsed inside
`data_received`, and what the handlers publish meanwhile leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Final, cast

from vtsserving._bus.dialing import dial
from vtsserving.exceptions import ProtocolError

_log = logging.getLogger(__name__)

FLUSH_BYTES: Final = 1024 * 1024
"""What is collected in one turn of the event loop goes out early beyond this many bytes."""

COPY_BYTES: Final = 64 * 1024
"""Payloads up to this size are joined with their neighbours, at the price of a copy; larger ones go alone."""

MAX_HANDSHAKE_LINE_BYTES: Final = 64 * 1024


class NatsSocket:
    """One socket for the life of a bus; each connection under it is a _Link.

    Attributes:
        congested: more than `limit_bytes` wait for the network; the bus takes no publish until half of it is gone.
    """

    def __init__(
        self, on_data: Callable[[bytes], None], on_lost: Callable[[], None], *, limit_bytes: int
    ) -> None:
        """Create it, without a connection.

        Args:
            on_data: parses what was read after the handshake; may raise ProtocolError, which ends the connection.
            on_lost: called once for each connection that ends.
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

    def write(self, command: bytes) -> None:
        """Send a command, after everything that was sent before."""
        self._waiting.append(command)
        self._waiting_bytes += len(command)
        if not (self._delivering or self._flush_scheduled):
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
        """Hand what was collected to the network."""
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

    @property
    def lost(self) -> bool:
        """Whether there is no connection."""
        return self._link is None or self._link.lost

    async def connect(self, host: str, port: int, timeout_s: float) -> None:
        """Open a TCP connection; the one before it, if any, is cut.

        Raises:
            OSError: no address answers.
            asyncio.TimeoutError: none answers within `timeout_s` seconds, or the last one is silent.
        """
        self.abort()
        link = await asyncio.wait_for(dial(lambda: _Link(self), host, port), timeout_s)
        link.transport.set_write_buffer_limits(high=self._limit_bytes)
        self._link = link

    async def start_tls(self, context: ssl.SSLContext, server_name: str | None, timeout_s: float) -> None:
        """Go on encrypted on the connection that is open.

        Raises:
            OSError: the certificate does not do, or the connection was lost.
            asyncio.TimeoutError: it took longer than `timeout_s` seconds.
        """
        link = self._opened()
        starting = asyncio.get_running_loop().start_tls(
            link.transport, link, context, server_hostname=server_name
        )
        transport = await asyncio.wait_for(starting, timeout_s)
        if transport is None:
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        link.transport = transport
        transport.set_write_buffer_limits(high=self._limit_bytes)

    async def readline(self) -> bytes:
        """Return the next line of the handshake, with its end.

        Raises:
            ConnectionResetError: the connection was lost before the line was complete.
            ProtocolError: there is no end of line where one has to be.
        """
        return await self._opened().readline()

    def deliver_directly(self) -> None:
        """End the handshake: deliver what arrived behind it, and everything that follows.

        Raises:
            ConnectionResetError: there never was a connection.
        """
        self._opened().deliver_directly()

    async def wait_ended(self) -> None:
        """Return when the connection has ended; at once if there never was one."""
        if self._link is not None:
            await self._link.ended.wait()

    def abort(self) -> None:
        """Cut the connection without waiting for the network."""
        self._drop()
        if self._link is not None:
            self._link.transport.abort()

    def link_lost(self, link: _Link) -> None:
        """Note the end of a connection; for the connection itself."""
        if link is self._link:
            self._drop()
            self.congested = False
            self._on_lost()

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_bytes = 0

    def _opened(self) -> _Link:
        if self._link is None:
            raise ConnectionResetError("not connected")
        return self._link


class _Link(asyncio.Protocol):
    """One connection: collects bytes during the handshake, then passes them on where they arrive."""

    transport: asyncio.Transport

    def __init__(self, owner: NatsSocket) -> None:
        self.lost = False
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
        except ProtocolError as error:
            _log.warning("bus_protocol_error", extra={"reason": error.message})
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
        """End the handshake; see NatsSocket.deliver_directly."""
        if not self._direct:
            self._direct = True
            rest, self._buffer = bytes(self._buffer), bytearray()
            if rest:
                self.data_received(rest)

    async def readline(self) -> bytes:
        """Return the next line; see NatsSocket.readline."""
        while b"\n" not in self._buffer:
            if self.lost:
                raise ConnectionResetError("the nats-server closed the connection")
            if len(self._buffer) > MAX_HANDSHAKE_LINE_BYTES:
                raise ProtocolError("the nats-server sent a line without an end")
            self._arrived.clear()
            await self._arrived.wait()
        end = self._buffer.index(b"\n") + 1
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line
