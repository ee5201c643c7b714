"""Ends of connections while something is under way, on a server whose application waits when a test wants."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from support.plain_host import ANSWER_BYTES, PlainServer
from support.served_gateway import Client, get, post, wait_until


@pytest.fixture
def server() -> Iterator[PlainServer]:
    with PlainServer() as running:
        yield running


def test_exchanges_of_all_kinds_are_answered_in_order(server: PlainServer) -> None:
    with Client(server.port) as client:
        client.send((get("/prompt") + get("/asgi")) * 20)
        bodies = [client.receive().body for _ in range(40)]
        assert bodies == [ANSWER_BYTES * b"x", b"done"] * 20


@pytest.mark.parametrize(
    "last",
    [b"", b"GET /pro", b"POST /prompt HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n1", b"broken\r\n\r\n"],
    ids=["whole", "half a header", "half a body", "broken HTTP"],
)
def test_who_reads_no_answer_is_cut_off_whatever_its_last_read_ended_with(
    server: PlainServer, last: bytes
) -> None:
    with socket.socket() as client:
        # So small that the kernel soon takes no more answers, and none later either.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(get("/prompt") * 20 + last)
        wait_until(lambda: server.host.watch.connections)
        wait_until(lambda: not server.host.watch.connections)


def test_an_answer_that_began_before_the_server_closes_ends_its_connection(server: PlainServer) -> None:
    with Client(server.port) as client, Client(server.port) as idle:
        assert idle.ask(get("/")).status == 200
        client.send(get("/halves"))
        wait_until(lambda: server.waiting)
        closing = server.start(server.server.close())
        assert idle.closed()
        server.release()
        answer = client.receive()
        assert (answer.body, answer.headers.get("connection")) == (b"firstlast", None)
        assert client.closed()
        closing.result(10)


@pytest.mark.parametrize("count", [1, 2])
def test_the_last_answer_that_begins_after_that_says_that_it_is_the_last(
    server: PlainServer, count: int
) -> None:
    with Client(server.port) as client, Client(server.port) as idle:
        assert idle.ask(get("/")).status == 200
        client.send(get("/later") * count)
        wait_until(lambda: server.waiting)
        closing = server.start(server.server.close())
        assert idle.closed()
        server.release()
        closes = [client.receive().headers.get("connection") for _ in range(count)]
        assert closes == [None] * (count - 1) + ["close"]
        assert client.closed()
        closing.result(10)


def test_a_request_that_is_half_sent_when_the_server_closes_is_answered(server: PlainServer) -> None:
    with Client(server.port) as client, Client(server.port) as idle:
        assert idle.ask(get("/")).status == 200
        client.send(get("/")[:-2])
        wait_until(lambda: len(server.host.watch.connections) == 2)
        assert client.socket.getpeername()
        closing = server.start(server.server.close())
        assert idle.closed()
        answer = client.ask(b"\r\n")
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.closed()
        closing.result(10)


def test_a_client_that_waits_for_100_continue_is_not_slow(server: PlainServer) -> None:
    head, body = post(b"content", "/later", {"Expect": "100-continue"}).split(b"\r\n\r\n")
    with Client(server.port) as client:
        client.send(head + b"\r\n\r\n")
        wait_until(lambda: server.waiting)
        time.sleep(3 * server.host.limits.body_timeout_s)  # the client is patient, that is the test
        server.release()
        assert client.head()[0] == "HTTP/1.1 100 Continue"
        assert client.ask(body).body == b"content"


def test_a_client_that_was_told_to_continue_and_sends_nothing_is_slow(server: PlainServer) -> None:
    head, _ = post(b"content", "/later", {"Expect": "100-continue"}).split(b"\r\n\r\n")
    with Client(server.port) as client:
        client.send(head + b"\r\n\r\n")
        server.release()
        assert client.head()[0] == "HTTP/1.1 100 Continue"
        assert client.receive().status == 408
        assert client.closed()
