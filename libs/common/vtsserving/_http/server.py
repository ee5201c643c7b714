"""The HTTP server: uvicorn with our connections, on a socket that listens already, without signals of its own."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable
from typing import Any, Final

import uvicorn

from vtsserving._http.connection import ExchangeFor
from vtsserving._http.host import ConnectionHost
from vtsserving._http.protocol import HttpProtocol

BACKLOG: Final = 2_048
"""Connections that the kernel holds until they are accepted."""


class HttpServer(uvicorn.Server):
    """Serves one application on one listening socket until it is closed; signals are its owner's business."""

    def __init__(
        self,
        app: Callable[..., Any],
        host: ConnectionHost,
        exchange_for: ExchangeFor,
        listener: socket.socket,
        *,
        drain_s: float,
    ) -> None:
        """Prepare; `start` begins to accept.

        Args:
            app: the ASGI application.
            host: shared by all connections.
            exchange_for: makes the exchange of each request.
            listener: listens already; closed at the end.
            drain_s: longest wait for the answers under way when it closes, seconds; rounded, at least 1.
        """
        protocol: Any = functools.partial(HttpProtocol, host=host, exchange_for=exchange_for)
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=max(1, round(drain_s)),
        )
        super().__init__(config)
        self._watch = host.watch
        self._listener = listener
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to accept; returns when connections are taken."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.on_tick(0)
        self._watch.start()
        await self.startup(sockets=[self._listener])
        self._task = asyncio.get_running_loop().create_task(self.main_loop())

    async def close(self) -> None:
        """Close idle connections, wait for the answers under way, close the socket."""
        task, self._task = self._task, None
        if task is None:
            self._listener.close()
        else:
            self.should_exit = True
            await task
            await self.shutdown(sockets=[self._listener])
        self._watch.close()
