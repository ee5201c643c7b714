"""An HTTP server on the shared connection with an application of a few lines, for what no service can be made to do."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Coroutine
from typing import Any

import uvloop

from vtsserving._http.asgi import AsgiExchange
from vtsserving._http.connection import Connection
from vtsserving._http.exchange import Exchange
from vtsserving._http.limits import NO_LIMIT, Limits
from vtsserving._http.server import HttpServer
from vtsserving._http.watch import Watch
from vtsserving._runtime.listening import listen
from vtsserving.exceptions import VtsServingException

ANSWER_BYTES = 10_000


class PlainHost:
    """See vtsserving._http.host; waits for nothing long."""

    def __init__(self) -> None:
        self.limits = Limits(
            max_connections=100,
            max_url_bytes=1_024,
            max_header_bytes=8_192,
            max_headers=64,
            max_body_bytes=NO_LIMIT,
            max_overhead_bytes=NO_LIMIT,
            header_timeout_s=1.0,
            body_timeout_s=0.3,
            write_timeout_s=0.3,
            keep_alive_s=20.0,
            counts_from_open=False,
            is_strict=True,
        )
        self.watch = Watch(self.limits.shortest_s)
        self.draining = False

    def request_id(self, wanted: bytes | None) -> bytes:
        return wanted or b"none"

    def refuse(self, error: VtsServingException, url: bytes, request_id: bytes) -> bytes:
        body = error.wire_code.encode()
        return b"HTTP/1.1 %d \r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (
            error.status,
            len(body),
            body,
        )


class Prompt:
    """An exchange that answers as soon as it may, within the connection's own call, with ANSWER_BYTES."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._is_turn = self._is_whole = False

    def feed(self, chunk: bytes) -> None:
        """Bodies are thrown away."""

    def complete(self) -> None:
        self._is_whole = True
        self._answer()

    def turn(self) -> None:
        self._is_turn = True
        self._answer()

    def fail(self, error: VtsServingException) -> None:
        self._connection.transport.close()

    def drain(self) -> None:
        """It answers at once."""

    def abandon(self) -> None:
        """There is nothing to stop."""

    def holds_body(self) -> bool:
        return False

    def _answer(self) -> None:
        if self._is_turn and self._is_whole:
            head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % ANSWER_BYTES
            self._connection.send(head + ANSWER_BYTES * b"x")
            self._connection.finished(self, keep_alive=True)


def exchange_for(connection: Connection, headers: dict[bytes, bytes], version: str) -> Exchange:
    if connection.url == b"/prompt":
        return Prompt(connection)
    return AsgiExchange(connection, version)


class PlainServer:
    """Answers `/prompt` without ASGI. `/halves` is "first", a wait for `release`, then "last"; `/later` waits before
    its answer, and then reads the body and gives it back; every other path is answered at once.
    """

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.waiting = 0

    def __enter__(self) -> PlainServer:
        self._thread.start()
        self.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self.run(self.server.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self._released = asyncio.Event()
        self.host = PlainHost()
        listener = listen("127.0.0.1", 0, backlog=16)
        # Accepted sockets inherit it; so the answers to one read are more than the kernel takes from us.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8_192)
        self.port: int = listener.getsockname()[1]
        self.server = HttpServer(self, self.host, exchange_for, listener, drain_s=5)
        await self.server.start()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.start(coroutine).result(20)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> Any:
        """Begin to run a coroutine on the server's loop; returns its future."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def release(self) -> None:
        """Let what waits go on."""
        self._loop.call_soon_threadsafe(self._released.set)

    async def _wait(self) -> None:
        self.waiting += 1
        await self._released.wait()
        self.waiting -= 1

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The ASGI application."""
        body = b"done"
        if scope["path"] == "/later":
            await self._wait()
            body = b""
            while (message := await receive()).get("more_body"):
                body += message["body"]
            body += message.get("body", b"")
        halves = (b"first", b"last") if scope["path"] == "/halves" else (b"", body)
        length = b"%d" % sum(map(len, halves))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
        await send({"type": "http.response.body", "body": halves[0], "more_body": True})
        if scope["path"] == "/halves":
            await self._wait()
        await send({"type": "http.response.body", "body": halves[1]})
