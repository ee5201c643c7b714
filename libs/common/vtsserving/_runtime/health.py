"""Health and metrics over HTTP for the services that have no HTTP of their own: batcher and runner.

    GET /livez     200 while the event loop turns
    GET /readyz    200 when the service takes work, otherwise 503; /healthz is the same
    GET /metrics   the Prometheus text format

A few fixed routes, answered on the loop of the service itself: an answer proves that the loop is alive, which a
thread of its own would not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from vtsserving._runtime.listening import listen
from vtsserving.exceptions import ConfigurationError

MAX_REQUEST_BYTES: Final = 8 * 1024
MAX_CONNECTIONS: Final = 64
READ_TIMEOUT_S: Final = 5.0

_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}

Answer = tuple[int, str, bytes]


class HealthServer:
    """Answers liveness, readiness and metrics; one request per connection."""

    def __init__(self, host: str, port: int, ready: Callable[[], bool], metrics: Callable[[], bytes]) -> None:
        """Prepare the server; `start` opens the port.

        Args:
            host: address to listen on.
            port: port to listen on; 0 picks a free one, see the attribute `port`.
            ready: whether the service takes work now; must not block.
            metrics: the current metrics in the Prometheus text format; must not block.
        """
        self.port = port
        self._host = host
        self._ready = ready
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the port.

        Raises:
            ConfigurationError: it is taken, or the address is none of this machine.
        """
        try:
            listener = listen(self._host, self.port, backlog=MAX_CONNECTIONS)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"{error.message}; it is for health and metrics: several services on one machine need ports of "
                "their own, or 0"
            ) from error
        self._server = await asyncio.start_server(
            self._serve, sock=listener, limit=MAX_REQUEST_BYTES, backlog=MAX_CONNECTIONS
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Close the port and what is open on it."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._connections.add(task)
        try:
            with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), READ_TIMEOUT_S)
                writer.write(_response(head, self._answer))
                await asyncio.wait_for(writer.drain(), READ_TIMEOUT_S)
        except asyncio.CancelledError:
            pass  # close() asked for it; a cancelled connection is nothing to report
        finally:
            self._connections.discard(task)
            writer.close()

    def _answer(self, path: str) -> Answer:
        if path == "/livez":
            return 200, _TEXT, b"ok\n"
        if path in ("/readyz", "/healthz"):
            return (200, _TEXT, b"ok\n") if self._ready() else (503, _TEXT, b"not ready\n")
        if path == "/metrics":
            return 200, _METRICS, self._metrics()
        return 404, _TEXT, b"there is /livez, /readyz, /healthz and /metrics\n"


def _response(head: bytes, answer: Callable[[str], Answer]) -> bytes:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        status, kind, body = 400, _TEXT, b"not an HTTP/1 request\n"
    elif words[0] not in (b"GET", b"HEAD"):
        status, kind, body = 405, _TEXT, b"GET and HEAD only\n"
    else:
        status, kind, body = answer(words[1].split(b"?", 1)[0].decode("latin-1"))
    header = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return header.encode() + (b"" if words[0] == b"HEAD" else body)
