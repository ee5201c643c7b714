"""The seam to nats-py: its client on a socket of ours. The only file that touches a private name of nats-py.

nats-py authenticates, starts TLS, chooses a server and reconnects. It is not given the messages: it would match
several regular expressions for each, and queue it for a task. Our parser handles them inside the read that completes
them. nats-py offers no way to bring a transport of one's own, so `client_on` sets the client's `_transport`; nothing
else of it is private. nats-py is pinned to a minor version for that one name (pyproject.toml). Decision 0021 has the
costs of doing without.

The rest is nats-py's public Transport: it reads lines during its handshake, and then whatever there is. The latter are
the lines that concern it alone: each INFO, and a PONG for each PING that it wrote.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from typing import Final
from urllib.parse import ParseResult

from nats.aio.client import Client
from nats.aio.transport import Transport
from nats.errors import ProtocolError as NatsProtocolError

from vtsserving._bus.nats_socket import NatsSocket
from vtsserving.exceptions import ProtocolError

DEFAULT_PORT: Final = 4_222
_PING: Final = b"PING\r\n"
_PONG: Final = b"PONG\r\n"


def client_on(transport: DirectTransport) -> Client:
    """Create a client of nats-py that uses `transport` for all of its connections."""
    client = Client()
    client._transport = transport
    return client


class DirectTransport(Transport):
    """Implements nats-py's Transport on a NatsSocket that both write to.

    A server answers PINGs in their order, so each PONG belongs to the oldest PING that has none yet.
    """

    def __init__(self, socket: NatsSocket) -> None:
        """Create it.

        Args:
            socket: carries the commands of nats-py beside those of the bus.
        """
        self._socket = socket
        self._pings: deque[asyncio.Future[bool] | None] = deque()  # None: a PING of nats-py
        self._for_client = bytearray()
        self._arrived = asyncio.Event()

    # --- what the connection calls ------------------------------------------------------------------------------

    def ping(self, pong: asyncio.Future[bool]) -> None:
        """Send a PING after everything that was sent before.

        Args:
            pong: gets True when the answer arrives; is dropped when the connection is lost before.
        """
        self._pings.append(pong)
        self._socket.write(_PING)

    def take_pong(self) -> None:
        """Give a PONG to whoever sent the PING for it. One that nobody asked for is dropped."""
        if not self._pings:
            return
        pong = self._pings.popleft()
        if pong is None:
            self.pass_on(_PONG)
        elif not pong.done():
            pong.set_result(True)

    def pass_on(self, line: bytes) -> None:
        """Let nats-py read a line, which ends with CR LF."""
        self._for_client += line
        self._arrived.set()

    def note_lost(self) -> None:
        """Forget what belonged to a connection that ended, and let nats-py notice its end."""
        self._forget()
        self._arrived.set()

    # --- what nats-py calls -------------------------------------------------------------------------------------

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Open a TCP connection; the one before it, if any, is cut."""
        await self._socket.connect(uri.hostname or "", uri.port or DEFAULT_PORT, connect_timeout)
        self._forget()

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        """Go on encrypted on the connection that is open."""
        server_name = uri if isinstance(uri, str) else uri.hostname
        await self._socket.start_tls(ssl_context, server_name, connect_timeout)

    def write(self, payload: bytes) -> None:
        """Send commands, after everything that was sent before."""
        self._pings.extend([None] * payload.count(_PING))
        self._socket.write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        """Send commands, after everything that was sent before."""
        for command in payload:
            self.write(command)

    async def drain(self) -> None:
        """Hand what was collected to the network; never waits."""
        self._socket.flush()

    async def readline(self) -> bytes:
        """Return the next line of the handshake.

        Raises:
            ConnectionResetError: the connection was lost before the line was complete.
            nats.errors.ProtocolError: there is no end of line where one has to be.
        """
        try:
            line = await self._socket.readline()
        except ProtocolError as e:
            raise NatsProtocolError from e
        if line == _PONG and self._pings:
            self._pings.popleft()
        return line

    async def read(self, buffer_size: int) -> bytes:
        """End the handshake, and return lines that concern nats-py; nothing once the connection is lost."""
        self._socket.deliver_directly()
        while not self._for_client and not self._socket.lost:
            self._arrived.clear()
            await self._arrived.wait()
        data = bytes(self._for_client)
        self._for_client.clear()
        return data

    def at_eof(self) -> bool:
        """Whether the connection is lost."""
        return self._socket.lost

    def close(self) -> None:
        """Cut the connection. Whoever wants its data delivered makes a round trip before."""
        self._socket.abort()

    async def wait_closed(self) -> None:
        """Return when the connection has ended."""
        await self._socket.wait_ended()

    def __bool__(self) -> bool:
        """Always true, or nats-py would replace this transport with its own."""
        return True

    def _forget(self) -> None:
        self._pings.clear()
        self._for_client.clear()
