"""The gateway's HTTP server: an inherited socket, and a drain that loses nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from vtsserving._http.connection import ExchangeFor
from vtsserving._http.server import BACKLOG, HttpServer
from vtsserving._runtime import listening
from vtsserving_gateway.server.host import GatewayHost
from vtsserving_gateway.state import GatewayState


def listen(host: str, port: int, fd: int | None) -> socket.socket:
    """The socket to serve on.

    Args:
        host: address to bind.
        port: port to bind; 0 picks a free one.
        fd: descriptor of a socket that listens already and that other processes may share; wins over host and port.

    Returns:
        A listening socket, non-blocking.

    Raises:
        ConfigurationError: the port is taken, or the descriptor is no listening socket.
    """
    if fd is None:
        return listening.listen(host, port, backlog=BACKLOG)
    try:
        listener = socket.socket(fileno=fd)
        listener.getsockname()
    except OSError as error:
        raise listening.cannot_listen(f"file descriptor {fd}", error) from error
    listener.setblocking(False)
    return listener


class GatewayServer(HttpServer):
    """Serves one application on one listening socket until it is told to drain."""

    def __init__(
        self,
        app: Callable[..., Any],
        gateway: GatewayState,
        host: GatewayHost,
        exchange_for: ExchangeFor,
        listener: socket.socket,
    ) -> None:
        """Prepare; `start` begins to accept.

        Args:
            app: answers everything that the protocol does not answer itself.
            gateway: shared by all requests.
            host: shared by all connections.
            exchange_for: makes the exchange of each request.
            listener: listens already; closed at the end.
        """
        super().__init__(app, host, exchange_for, listener, drain_s=gateway.settings.drain_s)
        self._gateway = gateway
        # Asked now, for a socket that was closed has no name.
        self._host, self._port = str(listener.getsockname()[0]), int(listener.getsockname()[1])

    async def on_tick(self, counter: int) -> bool:
        """Once per 0.1 s; hands the `date` header, renewed each second, to the fast path."""
        should_exit = await super().on_tick(counter)
        if counter % 10 == 0:
            self._gateway.date = b"".join(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)
        return should_exit

    async def drain(self) -> None:
        """Leave without losing a request.

        A listening socket that is shared is left to the others at once; one of our own is served until the grace
        period ends. Until then idle connections may send a request, and hear `connection: close` with its answer.
        Then those that are idle are closed, and the others after their answer.
        """
        if self._gateway.settings.fd is not None:
            for server in self.servers:
                server.close()
        self._gateway.draining = True
        for connection in list(self._gateway.connections):
            connection.start_draining()
        if self._gateway.connections or not self._needs_no_grace:
            await asyncio.sleep(self._gateway.settings.grace_s)
        await self.close()

    async def close(self) -> None:
        """Close idle connections, wait for the answers under way, close everything."""
        await super().close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @property
    def _needs_no_grace(self) -> bool:
        """Whether no new client must hear that we leave: others share the socket, or only this machine reaches it."""
        return self._gateway.settings.fd is not None or self._host.startswith("127.") or self._host == "::1"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port
