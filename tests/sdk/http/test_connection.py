"""Connections of each service: the same order of answers, limits and patience with slow clients."""

from __future__ import annotations

import json
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.backend import entry, rows_spec
from support.served_gateway import Answer, Client, get, post, served
from support.stores import ThreadedStore, store_settings

CONNECTIONS = 3
TIMEOUT_S = 0.4
LIVE = get("/livez")
MISSING = get("/nothing")
BLOB = "/api/v1/blobs/sha256:" + 64 * "0"


@dataclass(frozen=True)
class Host:
    """A running service.

    Attributes:
        port: where it listens.
        upload: path and method of a route that waits for its whole body.
        head_limit_bytes: above the largest header block that it takes.
        costly: a request that it answers at once and at length, or as soon as it is parsed.
    """

    port: int
    upload: tuple[str, str]
    head_limit_bytes: int
    costly: bytes

    def connect(self) -> Client:
        return Client(self.port)

    def upload_head(self, framing: str, *more: str) -> bytes:
        method, path = self.upload
        lines = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: a", framing, *more))
        return f"{lines}\r\n\r\n".encode()


@pytest.fixture(params=["gateway", "store"], scope="module")
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Each service that listens for HTTP, with short timeouts and few connections."""
    times: dict[str, Any] = {"max_connections": CONNECTIONS, "header_timeout_s": TIMEOUT_S}
    if request.param == "gateway":
        times |= {"body_timeout_s": TIMEOUT_S, "write_timeout_s": TIMEOUT_S, "keep_alive_s": TIMEOUT_S}
        models = [entry("iris", input_specs=rows_spec(4))]
        with served(models, {("iris", "predict"): lambda X: X.sum(axis=1)}, times) as gateway:
            yield Host(gateway.port, ("POST", "/v1/models/iris/predict"), 70_000, post(b"["))
        return
    folder: Path = tmp_path_factory.mktemp("store")
    with ThreadedStore(store_settings(folder, stall_timeout_s=TIMEOUT_S, **times)) as store:
        yield Host(store.app.port, ("PUT", BLOB), 70_000, get("/openapi.json"))


def refused(client: Client, status: int, code: str) -> Answer:
    """The next answer, which must be this refusal and the last."""
    answer = client.receive()
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["code"], answer.headers["connection"]) == (status, code, "close")
    assert error["request_id"] == answer.headers["x-request-id"]
    assert client.closed()
    return answer


# --- order -----------------------------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order(host: Host) -> None:
    with host.connect() as client:
        client.send((LIVE + MISSING) * 40)
        assert [client.receive().status for _ in range(80)] == [200, 404] * 40


def test_what_precedes_broken_http_is_answered_and_what_follows_is_not_read(host: Host) -> None:
    with host.connect() as client:
        client.send(LIVE + MISSING + b"GET / HTTP/1.1\r\nA : b\r\n\r\n" + LIVE)
        assert [client.receive().status, client.receive().status] == [200, 404]
        refused(client, 400, "bad_request")


def test_what_is_not_http_is_400(host: Host) -> None:
    with host.connect() as client:
        client.send(b"\x16\x03\x01 hello\r\n\r\n")
        refused(client, 400, "bad_request")


def test_requests_come_in_pieces_of_one_byte(host: Host) -> None:
    with host.connect() as client:
        for data in (LIVE, MISSING):
            for i in range(len(data)):
                client.send(data[i : i + 1])
        assert [client.receive().status, client.receive().status] == [200, 404]


def test_connection_close_is_honoured(host: Host) -> None:
    with host.connect() as client:
        answer = client.ask(get("/livez", {"Connection": "close"}) + LIVE)
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.closed()


def test_http_1_0_closes(host: Host) -> None:
    with host.connect() as client:
        assert client.ask(b"GET /livez HTTP/1.0\r\n\r\n").status == 200
        assert client.closed()


def test_what_follows_an_upgrade_is_the_next_request(host: Host) -> None:
    with host.connect() as client:
        client.send(get("/livez", {"Connection": "Upgrade", "Upgrade": "h2c"}) + MISSING)
        assert [client.receive().status, client.receive().status] == [200, 404]


def test_an_upgrade_with_a_body_is_refused_since_the_body_would_be_the_next_request(host: Host) -> None:
    with host.connect() as client:
        client.send(
            host.upload_head("Content-Length: 3", "Connection: Upgrade", "Upgrade: websocket") + b"abc"
        )
        refused(client, 400, "bad_request")


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [1, 60])
def test_header_blocks_are_limited(host: Host, lines: int) -> None:
    line = b"X-Header: " + b"x" * (host.head_limit_bytes // lines) + b"\r\n"
    with host.connect() as client:
        client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n" + line * lines + b"\r\n")
        refused(client, 431, "headers_too_large")


def test_a_header_that_never_ends_is_431(host: Host) -> None:
    with host.connect() as client:
        client.send(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Header: ")
        for _ in range(100):
            client.send(b"x" * 8_192)
        refused(client, 431, "headers_too_large")


def test_trailers_are_limited(host: Host) -> None:
    trailers = b"".join(b"X-%d: %b\r\n" % (i, b"x" * 1_000) for i in range(host.head_limit_bytes // 1_000))
    with host.connect() as client:
        client.send(host.upload_head("Transfer-Encoding: chunked") + b"1\r\n1\r\n0\r\n" + trailers + b"\r\n")
        refused(client, 431, "headers_too_large")


def test_connections_are_limited_until_one_leaves(host: Host) -> None:
    # Each has begun a request, so that none is closed for being idle, and goes on with it.
    busy = [host.connect() for _ in range(CONNECTIONS)]
    for client in busy:
        client.send(LIVE[:-2])
    with host.connect() as late:
        answer = refused(late, 503, "overloaded")
        assert answer.headers["retry-after"] == "1"
    busy.pop().socket.close()
    deadline_s = time.monotonic() + 10
    while True:
        with host.connect() as late:
            if late.ask(LIVE).status == 200:
                break
        assert time.monotonic() < deadline_s
    for client in busy:
        client.socket.close()


# --- times -----------------------------------------------------------------------------------------------------------


def test_a_connection_that_asks_nothing_is_closed_without_a_word(host: Host) -> None:
    with host.connect() as client:
        assert client.closed()


def drip(client: Client, piece: bytes) -> None:
    """Send a piece again and again until something comes back."""
    while not select.select([client.socket], [], [], TIMEOUT_S / 10)[0]:
        client.send(piece)


def test_headers_that_never_end_are_408(host: Host) -> None:
    with host.connect() as client:
        client.send(b"GET /livez HTTP/1.1\r\nHost: a")
        drip(client, b"a")
        refused(client, 408, "request_timeout")


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_a_body_without_progress_is_408(host: Host, framing: str) -> None:
    with host.connect() as client:
        client.send(host.upload_head(framing))
        drip(client, b"1\r\n1\r\n" if "chunked" in framing else b"1")
        refused(client, 408, "request_timeout")


def test_a_long_body_that_makes_progress_is_read(host: Host) -> None:
    with host.connect() as client:
        client.send(host.upload_head("Content-Length: 20000"))
        started_s = time.monotonic()
        for _ in range(10):
            assert not select.select([client.socket], [], [], TIMEOUT_S / 4)[0], "it was refused"
            client.send(b" " * 2_000)
        assert client.receive().status == 400  # of the route: blanks are no call, and not the blob's content
        assert time.monotonic() - started_s > 2 * TIMEOUT_S


def test_a_timeout_is_answered_after_what_came_before(host: Host) -> None:
    with host.connect() as client:
        client.send(LIVE + b"GET / HTTP/1.1\r\nHo")
        assert client.receive().status == 200
        refused(client, 408, "request_timeout")


def test_who_sends_requests_and_reads_no_answer_is_cut_off(host: Host) -> None:
    with host.connect() as client:
        client.socket.setblocking(False)
        poll = select.poll()
        poll.register(client.socket, 0)  # asks only whether the connection has ended
        data = memoryview(host.costly * (200_000 // len(host.costly)))
        sent, deadline_s = 0, time.monotonic() + 30
        while not poll.poll(10):
            assert time.monotonic() < deadline_s, "the connection is kept for ever"
            try:
                sent += client.socket.send(data[sent % len(data) :])
            except BlockingIOError:
                continue
            except ConnectionError:
                break
