"""How requests and answers follow each other on a connection, for calls and for all other routes."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from support.backend import entry, rows_spec
from support.served_gateway import ServedGateway, get, post, served, wait_until

SUM = {("iris", "predict"): lambda X: X.sum(axis=1)}
ENTRIES = [entry("iris", input_specs=rows_spec(4))]


def rows(number: int) -> bytes:
    return post(b"[[%d, 0, 0, 0]]" % number)


def test_one_connection_serves_many_requests(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        for number in range(20):
            assert client.ask(rows(number)).json == [float(number)]
            assert client.ask(get("/livez")).json == {"live": True}


def test_an_answer_says_what_served_it(unharmed: ServedGateway) -> None:
    answer = unharmed.ask(rows(1))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-vts-model"] == "iris:v1"
    assert answer.headers["x-vts-batch-size"] == "1"
    assert answer.headers["server-timing"] == "queue;dur=0.250, compute;dur=1.500"
    assert answer.headers["x-request-id"]
    assert answer.headers["date"].endswith("GMT")


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("/v1/models/iris/predict", "v1"),
        ("/v1/models/iris", "v1"),
        ("/v1/models/iris:latest/predict", "v1"),
        ("/v1/models/iris:old/predict", "old"),
        ("/v1/models/IRIS:Old/predict", "old"),
        ("/v1/models/iris%3Aold/%70redict", "old"),
        ("/v1/models/iris/predict?a=b/c", "v1"),
    ],
)
def test_a_url_names_model_version_and_method(unharmed: ServedGateway, path: str, version: str) -> None:
    answer = unharmed.ask(post(b"[[1,2,3,4]]", path))
    assert (answer.status, answer.headers.get("x-vts-model")) == (200, f"iris:{version}")


@pytest.mark.parametrize(
    ("path", "result"), [("mixed", "called"), ("mixed/__call__", "called"), ("mixed/other", "other")]
)
def test_the_method_may_be_left_out_for_call(unharmed: ServedGateway, path: str, result: str) -> None:
    assert unharmed.ask(post(b"{}", f"/v1/models/{path}")).json == result


def test_pipelined_requests_are_answered_in_order(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        client.send(b"".join(rows(number) if number % 3 else get("/livez") for number in range(1_000)))
        for number in range(1_000):
            assert client.receive().json == ([float(number)] if number % 3 else {"live": True})


def test_pipelined_refusals_are_answered_in_order(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        client.send(b"".join(rows(number) if number % 2 else post(b"[") for number in range(1_000)))
        for number in range(1_000):
            assert client.receive().status == (200 if number % 2 else 400)


def test_a_connection_has_one_call_under_way_at_a_time(unharmed: ServedGateway) -> None:
    backend = unharmed.backend
    unharmed.run(lambda: setattr(backend, "hold", True))
    with unharmed.connect() as client:
        client.send(b"".join(rows(number) for number in range(100)))
        wait_until(lambda: backend.held)
        assert len(backend.held) == 1
        unharmed.run(backend.release)
        assert [client.receive().json for _ in range(100)] == [[float(number)] for number in range(100)]


def test_what_follows_broken_http_is_not_read_and_what_precedes_is_answered(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        client.send(rows(1) + b"GET / HTTP/1.1\r\nA : b\r\n\r\n" + rows(2))
        assert client.receive().json == [1.0]
        assert client.receive().code == "bad_request"
        assert client.closed()


def test_requests_come_in_pieces_of_one_byte(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        for data in (rows(5), get("/livez")):
            for i in range(len(data)):
                client.send(data[i : i + 1])
            assert client.receive().status == 200


def test_chunked_bodies_are_read(unharmed: ServedGateway) -> None:
    head = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with unharmed.connect() as client:
        answer = client.ask(head + b"5\r\n[[1,2\r\n6;x=y\r\n,3,4]]\r\n0\r\nX-Trailer: 1\r\n\r\n" + rows(7))
        assert answer.json == [10.0]
        assert client.receive().json == [7.0]


@pytest.mark.parametrize("path", ["/v1/models/iris/predict", "/livez"])
def test_connection_close_is_honoured(unharmed: ServedGateway, path: str) -> None:
    data = post(b"[[1,2,3,4]]", path, {"Connection": "close"})
    if path == "/livez":
        data = get(path, {"Connection": "close"})
    with unharmed.connect() as client:
        answer = client.ask(data + rows(2))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.closed()


def test_an_error_keeps_the_connection(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        assert client.ask(post(b"[")).status == 400
        assert client.ask(get("/nothing")).status == 404
        assert client.ask(rows(3)).json == [3.0]


def test_http_1_0_closes_unless_asked_to_keep(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        kept = post(b"[[1,2,3,4]]", headers={"Connection": "keep-alive", "Host": ""}, version="1.0")
        for _ in range(3):
            answer = client.ask(kept)
            assert (answer.json, answer.headers["connection"]) == ([10.0], "keep-alive")
        answer = client.ask(post(b"[[1,2,3,4]]", headers={"Host": ""}, version="1.0"))
        assert (answer.json, answer.headers["connection"]) == ([10.0], "close")
        assert client.closed()


def test_http_1_0_on_other_routes_closes(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        assert client.ask(b"GET /livez HTTP/1.0\r\n\r\n").status == 200
        assert client.closed()


def test_expect_100_continue_is_answered_before_the_body(unharmed: ServedGateway) -> None:
    head, body = post(b"[[1,2,3,4]]", headers={"Expect": "100-continue"}).split(b"\r\n\r\n")
    with unharmed.connect() as client:
        client.send(head + b"\r\n\r\n")
        assert client.head()[0] == "HTTP/1.1 100 Continue"
        assert client.ask(body).json == [10.0]


def test_expect_100_continue_waits_for_its_turn(unharmed: ServedGateway) -> None:
    head, body = post(b"[[1,2,3,4]]", headers={"Expect": "100-continue"}).split(b"\r\n\r\n")
    with unharmed.connect() as client:
        client.send(rows(1) + head + b"\r\n\r\n")
        assert client.receive().json == [1.0]
        assert client.head()[0] == "HTTP/1.1 100 Continue"
        assert client.ask(body).json == [10.0]


def test_expect_100_continue_with_too_large_a_body_is_refused_at_once(unharmed: ServedGateway) -> None:
    data = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 300000\r\n\r\n"
    assert unharmed.ask(data).code == "too_large"


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_upgrades_are_ignored(unharmed: ServedGateway, upgrade: str) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": upgrade,
        "Sec-WebSocket-Key": "x",
        "Sec-WebSocket-Version": "13",
    }
    with unharmed.connect() as client:
        client.send(get("/livez", headers) * 300 + rows(2))
        assert [client.receive().status for _ in range(300)] == [200] * 300
        assert client.receive().json == [2.0]


def test_connect_is_no_way_out(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        assert client.ask(b"CONNECT other:80 HTTP/1.1\r\nHost: other\r\n\r\n").status in (404, 405)
        assert client.ask(rows(2)).json == [2.0]


def test_a_client_that_leaves_is_forgotten_and_its_call_cancelled(unharmed: ServedGateway) -> None:
    backend, gateway = unharmed.backend, unharmed.app.gateway
    cancelled = gateway.metrics.cancelled
    unharmed.run(lambda: setattr(backend, "hold", True))
    with unharmed.connect() as client:
        client.send(rows(1))
        wait_until(lambda: backend.held)
        (id,) = backend.held[0][0].ids
    wait_until(lambda: id in backend.cancelled)
    assert gateway.metrics.cancelled == cancelled + 1
    unharmed.run(backend.release)
    assert unharmed.run(lambda: unharmed.app.client.in_flight) == 0


def test_a_client_that_resets_while_pipelining_is_forgotten(unharmed: ServedGateway) -> None:
    backend, gateway = unharmed.backend, unharmed.app.gateway
    received = backend.received
    unharmed.run(lambda: setattr(backend, "hold", True))
    with unharmed.connect() as client:
        client.send(rows(1) + rows(2) + rows(3))
        wait_until(lambda: backend.held)
        unharmed.run(backend.release)
        client.receive()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: gateway.metrics.in_progress == 0)
    assert backend.received <= received + 3


def test_a_client_that_leaves_while_its_model_is_looked_up_is_forgotten() -> None:
    with served(ENTRIES, SUM) as gateway:
        catalog, shared = gateway.catalog, gateway.app.gateway
        gateway.run(lambda: (setattr(catalog, "resolving", asyncio.Event()), catalog.invalidate()))
        with gateway.connect() as client:
            client.send(rows(1))
            wait_until(lambda: shared.metrics.in_progress == 1)
        wait_until(lambda: shared.metrics.in_progress == 0)
        assert gateway.backend.received == 0


def test_a_look_up_that_takes_too_long_ends_at_the_deadline() -> None:
    with served(ENTRIES, SUM) as gateway:
        catalog = gateway.catalog
        gateway.run(lambda: (setattr(catalog, "resolving", asyncio.Event()), catalog.invalidate()))
        started_s = time.monotonic()
        answer = gateway.ask(post(b"[[1,2,3,4]]", headers={"X-Request-Timeout": "0.2"}))
        assert (answer.code, answer.status) == ("deadline_exceeded", 504)
        assert time.monotonic() - started_s < 1.0


def test_a_model_that_must_be_looked_up_first_is_served() -> None:
    with served(ENTRIES, SUM) as gateway:
        gateway.run(gateway.catalog.invalidate)
        with gateway.connect() as client:
            client.send(rows(1) + rows(2))
            assert [client.receive().json, client.receive().json] == [[1.0], [2.0]]


def test_a_new_version_is_served_as_soon_as_the_catalog_knows_it() -> None:
    with served(ENTRIES, SUM) as gateway:
        assert gateway.ask(rows(1)).headers["x-vts-model"] == "iris:v1"
        newer = entry("iris", "v2", input_specs=rows_spec(3))
        gateway.run(lambda: gateway.catalog.latest.update(iris=newer))
        answer = gateway.ask(post(b"[[1, 2, 3]]"))
        assert (answer.headers["x-vts-model"], answer.json) == ("iris:v2", [6.0])


@pytest.mark.alone
def test_the_deadline_is_the_clients_up_to_a_maximum() -> None:
    with served(ENTRIES, SUM, {"max_request_timeout_s": 0.2, "request_timeout_s": 0.1}) as gateway:
        gateway.run(lambda: setattr(gateway.backend, "hold", True))
        for header, expected_s in (("", 0.1), ("0.05", 0.05), ("999999", 0.2)):
            started_s = time.monotonic()
            answer = gateway.ask(post(b"[[1,2,3,4]]", headers={"X-Request-Timeout": header}))
            assert (answer.code, answer.status) == ("deadline_exceeded", 504)
            assert expected_s - 0.01 < time.monotonic() - started_s < expected_s + 0.25
