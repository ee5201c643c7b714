"""Liveness, readiness and metrics over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing

import httpx2
import pytest

from vtsserving._runtime.health import MAX_REQUEST_BYTES, HealthServer
from vtsserving._runtime.health_check import health_check


def serving(ready: Callable[[], bool], check: Callable[[int], object]) -> object:
    """What `check(port)` returns, run in a thread beside a server."""

    async def run() -> object:
        server = HealthServer("127.0.0.1", 0, ready, lambda: b"vts_up 1\n")
        await server.start()
        try:
            return await asyncio.to_thread(check, server.port)
        finally:
            await server.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "ready", "status", "body"),
    [
        ("/livez", False, 200, "ok\n"),
        ("/readyz", True, 200, "ok\n"),
        ("/readyz?verbose", True, 200, "ok\n"),
        ("/readyz", False, 503, "not ready\n"),
        ("/healthz", False, 503, "not ready\n"),
        ("/metrics", False, 200, "vts_up 1\n"),
        ("/", True, 404, None),
    ],
)
def test_each_route_answers(path: str, ready: bool, status: int, body: str | None) -> None:
    answer = serving(lambda: ready, lambda port: httpx2.get(f"http://127.0.0.1:{port}{path}"))
    assert answer.status_code == status
    assert body is None or answer.text == body


def test_head_has_the_length_and_no_body() -> None:
    answer = serving(lambda: True, lambda port: httpx2.head(f"http://127.0.0.1:{port}/metrics"))
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "9")


def test_another_method_is_refused() -> None:
    answer = serving(lambda: True, lambda port: httpx2.post(f"http://127.0.0.1:{port}/livez"))
    assert answer.status_code == 405


@pytest.mark.parametrize("sent", [b"hello\r\n\r\n", b"x" * (MAX_REQUEST_BYTES * 3), b"GET /livez"], ids=repr)
def test_what_is_no_request_ends_the_connection_and_not_the_server(sent: bytes) -> None:
    async def run() -> tuple[bytes, int]:
        server = HealthServer("127.0.0.1", 0, lambda: True, lambda: b"")
        await server.start()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            with closing(writer):
                writer.write(sent)
                writer.write_eof()
                try:
                    answer = await reader.read()
                except ConnectionResetError:
                    answer = b""
            return answer, await asyncio.to_thread(health_check, "127.0.0.1", server.port)
        finally:
            await server.close()

    answer, check = asyncio.run(run())
    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
    assert check == 0


def test_close_does_not_wait_for_a_client_that_sends_nothing() -> None:
    async def run() -> bytes:
        server = HealthServer("127.0.0.1", 0, lambda: True, lambda: b"")
        await server.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        with closing(writer):
            writer.write(b"GET ")
            await writer.drain()
            await asyncio.wait_for(server.close(), 2)
            try:
                return await reader.read()
            except ConnectionResetError:  # what it sent may not have been read
                return b""

    assert asyncio.run(run()) == b""
