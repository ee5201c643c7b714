"""What a client may leave open or drag out: each ends with a sentence, and nobody else waits for it."""

from __future__ import annotations

import hashlib
import json
import os
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.stores import ThreadedStore, store_settings
from vtsserving._store_client.client import RegistryClient
from vtsserving_store.http.host import MAX_HEAD_BYTES

STALL_S = 0.4
CONNECTIONS = 4
HOST = b"host: store\r\n"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ThreadedStore]:
    limits = {"max_connections": CONNECTIONS, "header_timeout_s": STALL_S, "stall_timeout_s": STALL_S}
    with ThreadedStore(store_settings(tmp_path / "store", concurrent_transfers=1, **limits)) as store:
        yield store


@pytest.fixture
def connect(running: ThreadedStore) -> Iterator[Callable[[], socket.socket]]:
    opened: list[socket.socket] = []

    def new() -> socket.socket:
        opened.append(socket.create_connection(("127.0.0.1", running.app.port), 20))
        return opened[-1]

    yield new
    for connection in opened:
        connection.close()


def rest_of(connection: socket.socket) -> bytes:
    """What comes until the store closes the connection."""
    received = bytearray()
    while piece := connection.recv(65_536):
        received += piece
    return bytes(received)


def refusal(answer: bytes) -> tuple[int, str]:
    """Status and code of an answer in the one form."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"code", "message", "request_id"}
    return int(head.split()[1]), error["code"]


def put(digest: str, length: int) -> bytes:
    return b"PUT /api/v1/blobs/%s HTTP/1.1\r\n%scontent-length: %d\r\n\r\n" % (digest.encode(), HOST, length)


def test_headers_that_never_end_are_408(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"GET /readyz HTTP/1.1\r\nhost: st")
    while not select.select([connection], [], [], 0.05)[0]:
        connection.sendall(b"o")  # something comes all the time, but never the end
    assert refusal(rest_of(connection)) == (408, "request_timeout")


def test_a_connection_that_asks_nothing_is_closed_without_a_word(
    connect: Callable[[], socket.socket],
) -> None:
    assert rest_of(connect()) == b""


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "one header without an end"])
def test_header_blocks_are_limited(connect: Callable[[], socket.socket], end: bytes) -> None:
    connection = connect()
    connection.sendall(b"GET /readyz HTTP/1.1\r\n" + HOST)
    # What the parser has not seen the end of counts from the second read on, and a read has 256 KiB at most.
    connection.sendall(b"x-long: " + b"y" * (MAX_HEAD_BYTES * (1 if end else 10)) + end)
    assert refusal(rest_of(connection)) == (431, "headers_too_large")


def test_trailers_are_limited_too(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(
        b"POST /api/v1/pushes HTTP/1.1\r\n" + HOST + b"transfer-encoding: chunked\r\n\r\n0\r\n"
    )
    connection.sendall(b"".join(b"t%d: %s\r\n" % (n, b"z" * 1000) for n in range(70)) + b"\r\n")
    assert refusal(rest_of(connection)) == (431, "headers_too_large")


def test_what_is_not_http_is_400_in_the_one_form(connect: Callable[[], socket.socket]) -> None:
    connection = connect()
    connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
    assert refusal(rest_of(connection)) == (400, "bad_request")


def test_a_stalled_body_is_408_and_makes_room_for_the_next(
    running: ThreadedStore, connect: Callable[[], socket.socket]
) -> None:
    content = b"x" * 100_000
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    connection = connect()
    connection.sendall(put(digest, len(content)) + content[:50_000])
    with RegistryClient(running.url) as client:
        client.put_blob(digest, content)  # waits for the only slot
    assert refusal(rest_of(connection)) == (408, "request_timeout")


def test_a_slow_body_that_goes_on_arrives(connect: Callable[[], socket.socket]) -> None:
    content = os.urandom(20_000)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    connection = connect()
    connection.sendall(put(digest, len(content)))
    for start in range(0, len(content), 2_000):
        assert not select.select([connection], [], [], STALL_S / 4)[0], "it was refused"
        connection.sendall(content[start : start + 2_000])
    assert connection.recv(100).startswith(b"HTTP/1.1 201")


def test_a_reader_that_stops_is_let_go(running: ThreadedStore, connect: Callable[[], socket.socket]) -> None:
    content = os.urandom(8 << 20)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with RegistryClient(running.url) as client:
        client.put_blob(digest, content)
    connections = [connect() for _ in range(CONNECTIONS)]
    for connection in connections:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        connection.sendall(b"GET /api/v1/blobs/%s HTTP/1.1\r\n%s\r\n" % (digest.encode(), HOST))
    # All places are taken by readers that do not read; they are given to others soon.
    with RegistryClient(running.url, attempts=8) as client:
        assert client.service()["service"] == "vtsserving-store"
    for connection in connections:
        received = 0
        try:
            while piece := connection.recv(65_536):
                received += len(piece)
        except ConnectionResetError:
            pass
        assert received < len(content)


@pytest.mark.alone
def test_connections_above_the_limit_are_503_until_one_leaves(
    running: ThreadedStore, connect: Callable[[], socket.socket]
) -> None:
    busy = [connect() for _ in range(CONNECTIONS)]
    for connection in busy:
        connection.sendall(b"GET /api/v1/events HTTP/1.1\r\n%s\r\n" % HOST)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    with httpx2.Client(base_url=running.url) as http:
        answer = http.get("/readyz")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "overloaded")
        assert int(answer.headers["retry-after"]) >= 1
    busy[0].close()
    with RegistryClient(running.url) as client:
        assert client.service()["service"] == "vtsserving-store"


@pytest.mark.parametrize(
    ("target", "status"),
    [(b"http://store/livez", 200), (b"http://store/livez?a=b", 200), (b"*", 404), (b"http://store", 400)],
)
def test_requests_may_name_the_whole_url_as_those_for_proxies_do(
    connect: Callable[[], socket.socket], target: bytes, status: int
) -> None:
    connection = connect()
    method = b"OPTIONS" if target == b"*" else b"GET"
    connection.sendall(b"%s %s HTTP/1.1\r\n%sconnection: close\r\n\r\n" % (method, target, HOST))
    assert rest_of(connection).startswith(b"HTTP/1.1 %d " % status)


def test_url_headers_and_trailers_count_together(connect: Callable[[], socket.socket]) -> None:
    def ask(url_bytes: int, header_bytes: int) -> bytes:
        connection = connect()
        lines = HOST + b"connection: close\r\nx: " + b"y" * (header_bytes - 25) + b"\r\n\r\n"
        connection.sendall(b"GET /" + b"u" * (url_bytes - 1) + b" HTTP/1.1\r\n" + lines)
        return rest_of(connection)

    half = MAX_HEAD_BYTES // 2
    assert ask(half, half).startswith(b"HTTP/1.1 404 ")
    for answer in (ask(half, half + 1), ask(half + 1, half), ask(MAX_HEAD_BYTES + 1, 30)):
        assert refusal(answer) == (431, "headers_too_large")
