"""Sizes and waiting times: each limit refuses just beyond itself, in order, and lets the client read why."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator

import pytest

from support.backend import entry, rows_spec
from support.served_gateway import Client, ServedGateway, get, post, served, wait_until

CALL = "/v1/models/iris/predict"
OTHER = "/v1/other"
BOTH = pytest.mark.parametrize("path", [CALL, OTHER], ids=["call", "other route"])
ROW = b"[[1,2,3,4]]"

FUNCTIONS = {
    ("iris", "predict"): lambda X: X.sum(axis=1),
    ("echo", "predict"): lambda X: X,
}
ENTRIES = [entry("iris", input_specs=rows_spec(4)), entry("echo")]


@pytest.fixture(scope="module")
def hasty() -> Iterator[ServedGateway]:
    """A gateway that waits for nothing long."""
    timeouts = {"header_timeout_s": 0.3, "body_timeout_s": 0.3, "write_timeout_s": 0.3, "keep_alive_s": 0.6}
    with served(ENTRIES, FUNCTIONS, timeouts) as gateway:
        yield gateway


def head(path: str, length: int | None) -> bytes:
    framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return b"POST %b HTTP/1.1\r\nHost: a\r\n%b\r\n\r\n" % (path.encode(), framing)


# --- sizes -----------------------------------------------------------------------------------------------------------


@BOTH
def test_a_body_too_large_is_refused_before_it_is_read(unharmed: ServedGateway, path: str) -> None:
    with unharmed.connect() as client:
        answer = client.ask(head(path, 200_001))
        assert (answer.code, answer.status, answer.headers["connection"]) == ("too_large", 413, "close")
        assert client.closed()


def test_a_body_of_just_the_limit_is_read(unharmed: ServedGateway) -> None:
    assert unharmed.ask(post(ROW + b" " * (200_000 - len(ROW)))).json == [10.0]
    assert unharmed.ask(post(ROW + b" " * (200_001 - len(ROW)))).code == "too_large"


@BOTH
def test_a_length_beyond_all_memory_is_refused(unharmed: ServedGateway, path: str) -> None:
    assert unharmed.ask(head(path, 2**63)).code == "too_large"


@BOTH
def test_a_client_that_sends_on_can_still_read_the_refusal(unharmed: ServedGateway, path: str) -> None:
    with unharmed.connect() as client:
        client.send(head(path, 10_000_000))
        for _ in range(20):
            client.send(b"x" * 65_536)
        assert client.receive().code == "too_large"


@BOTH
def test_a_chunked_body_too_large_is_refused_at_the_limit(unharmed: ServedGateway, path: str) -> None:
    with unharmed.connect() as client:
        client.send(head(path, None))
        for _ in range(21):
            client.send(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        answer = client.receive()
        # The other route has answered 404 before the body is whole, and what is too much then only closes.
        assert answer.code == ("too_large" if path == CALL else "not_found")
        assert client.closed()


def test_a_chunked_body_of_one_byte_chunks_is_refused_early(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        client.send(head(CALL, None))
        for _ in range(60):
            client.send(b"1\r\n \r\n" * 2_000)
        assert client.receive().code == "too_large"


def test_a_chunked_body_with_endless_extensions_is_refused(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        client.send(head(CALL, None) + b"5;")
        for _ in range(20):
            client.send(b"x" * 10_000)
        assert client.receive().code == "too_large"


def test_a_large_request_behind_others_in_one_read_is_not_mistaken_for_an_attack(
    unharmed: ServedGateway,
) -> None:
    whole = post(ROW + b" " * 60_000)
    with unharmed.connect() as client:
        client.send(whole * 3 + whole[:20_000])
        assert [client.receive().status for _ in range(3)] == [200] * 3
        assert client.ask(whole[20_000:]).json == [10.0]


@BOTH
@pytest.mark.parametrize("count", [1, 200])
def test_headers_too_large_are_431(unharmed: ServedGateway, path: str, count: int) -> None:
    line = b"X-Header: " + b"x" * (8_400 // count) + b"\r\n"
    with unharmed.connect() as client:
        answer = client.ask(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n" + line * count + b"\r\n")
        assert (answer.code, answer.status) == ("headers_too_large", 431)
        assert client.closed()


def test_a_header_that_never_ends_is_431(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX-Header: ")
        for _ in range(100):
            client.send(b"x" * 4_096)
        assert client.receive().code == "headers_too_large"


def test_too_many_headers_are_431(unharmed: ServedGateway) -> None:
    assert (
        unharmed.ask(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 10_000 + b"\r\n").code
        == "headers_too_large"
    )


def test_as_many_header_lines_as_are_allowed_are_read(unharmed: ServedGateway) -> None:
    request = b"GET /livez HTTP/1.1\r\nHost: a\r\n%b\r\n"
    assert unharmed.ask(request % (b"A: b\r\n" * 255)).status == 200
    assert unharmed.ask(request % (b"A: b\r\n" * 256)).code == "headers_too_large"


def test_trailers_count_as_headers(unharmed: ServedGateway) -> None:
    trailers = b"".join(b"X-%d: %b\r\n" % (i, b"x" * 100) for i in range(100))
    assert (
        unharmed.ask(head(CALL, None) + b"1\r\n1\r\n0\r\n" + trailers + b"\r\n").code == "headers_too_large"
    )


def test_a_url_too_long_is_414(unharmed: ServedGateway) -> None:
    with unharmed.connect() as client:
        answer = client.ask(get("/" + "a" * 1_024))
        assert (answer.code, answer.status) == ("uri_too_long", 414)
        assert client.closed()
    assert unharmed.ask(get("/" + "a" * 1_023)).code == "not_found"
    assert unharmed.ask(post(ROW, CALL + "?" + "a" * 100_000)).code == "uri_too_long"


def test_compressed_bodies_are_not_inflated(unharmed: ServedGateway) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert unharmed.ask(post(bomb, headers={"Content-Encoding": "gzip"})).code == "unsupported_media_type"


def test_bodies_held_are_bounded() -> None:
    with served(ENTRIES, FUNCTIONS, {"max_buffered_bytes": 50_000}) as gateway:
        with gateway.connect() as holder:
            holder.send(head(CALL, 60_000) + b" " * 50_001)
            wait_until(lambda: gateway.app.gateway.buffered_bytes > 50_000)
            answer = gateway.ask(post(ROW))
            assert (answer.code, answer.status, answer.headers["retry-after"]) == ("overloaded", 503, "1")
        wait_until(lambda: gateway.app.gateway.buffered_bytes == 0)
        assert gateway.ask(post(ROW)).json == [10.0]


def test_connections_are_bounded() -> None:
    with served(ENTRIES, FUNCTIONS, {"max_connections": 3}) as gateway:
        clients = [gateway.connect() for _ in range(3)]
        assert [client.ask(post(ROW)).status for client in clients] == [200] * 3
        with gateway.connect() as refused:
            answer = refused.receive()
            assert (answer.code, answer.headers["retry-after"]) == ("overloaded", "1")
            assert refused.closed()
        for client in clients:
            client.socket.close()
        wait_until(lambda: not gateway.app.gateway.connections)
        assert gateway.ask(post(ROW)).json == [10.0]


# --- times -----------------------------------------------------------------------------------------------------------


def trickle(client: Client, data: bytes, pause_s: float = 0.02) -> float:
    """Send byte after byte until the server answers; returns how long that took."""
    started_s = time.monotonic()
    client.socket.settimeout(pause_s)
    for i in range(len(data)):
        client.send(data[i : i + 1])
        try:
            client.unread = client.socket.recv(65536)
            break
        except TimeoutError:
            continue
    client.socket.settimeout(10)
    return time.monotonic() - started_s


@BOTH
def test_slow_headers_are_408(hasty: ServedGateway, path: str) -> None:
    with hasty.connect() as client:
        took_s = trickle(client, b"POST " + path.encode() + b" HTTP/1.1\r\nHost: " + b"a" * 300)
        answer = client.receive()
        assert (answer.code, answer.status, answer.headers["connection"]) == ("request_timeout", 408, "close")
        assert client.closed()
        assert 0.25 < took_s < 1.5


def test_a_slow_body_is_408(hasty: ServedGateway) -> None:
    with hasty.connect() as client:
        client.send(head(CALL, 1_000))
        took_s = trickle(client, b" " * 300)
        assert client.receive().code == "request_timeout"
        assert client.closed()
        assert 0.25 < took_s < 1.5


def test_a_slow_chunked_body_is_408(hasty: ServedGateway) -> None:
    with hasty.connect() as client:
        client.send(head(CALL, None))
        trickle(client, b"1\r\n \r\n" * 100)
        assert client.receive().code == "request_timeout"


def test_a_body_that_is_long_but_makes_progress_is_read(hasty: ServedGateway) -> None:
    body = ROW + b" " * 20_000
    data = post(body)
    with hasty.connect() as client:
        started_s = time.monotonic()
        for start in range(0, len(data), 2_000):
            client.send(data[start : start + 2_000])
            time.sleep(0.1)  # the client is slow, that is the test
        assert client.receive().json == [10.0]
        assert time.monotonic() - started_s > 0.8


def test_a_timeout_is_answered_after_what_came_before(hasty: ServedGateway) -> None:
    with hasty.connect() as client:
        client.send(post(ROW) + b"GET / HTTP/1.1\r\nHo")
        assert client.receive().json == [10.0]
        assert client.receive().code == "request_timeout"
        assert client.closed()


def test_idle_connections_are_closed_without_a_word(hasty: ServedGateway) -> None:
    with hasty.connect() as fresh, hasty.connect() as used:
        assert used.ask(post(ROW)).json == [10.0]
        started_s = time.monotonic()
        assert fresh.closed()
        assert used.closed()
        assert time.monotonic() - started_s < 2.0


def test_a_connection_that_waits_for_its_answer_is_not_idle(hasty: ServedGateway) -> None:
    backend = hasty.backend
    hasty.run(lambda: setattr(backend, "hold", True))
    with hasty.connect() as client:
        client.send(post(ROW))
        time.sleep(1.2)  # the client is slow, that is the test
        hasty.run(backend.release)
        assert client.receive().json == [10.0]


@pytest.mark.alone
def test_a_client_that_does_not_read_is_held_back_and_then_cut_off(hasty: ServedGateway) -> None:
    rows = b"[" + b",".join([b"[1.5]"] * 16_000) + b"]"
    calls = len(hasty.backend.calls)
    with hasty.connect() as client:
        for _ in range(200):
            client.socket.settimeout(0.5)
            try:
                client.socket.sendall(post(rows, "/v1/models/echo/predict"))
            except (TimeoutError, ConnectionError):
                break
        else:
            raise AssertionError("the gateway reads on although nobody reads its answers")
        wait_until(lambda: len(hasty.app.gateway.connections) == 0)
    assert (len(hasty.backend.calls) - calls) / (16_000 / 64) < 150
    assert hasty.ask(post(ROW)).json == [10.0]


def test_a_slow_reader_that_makes_progress_gets_everything(hasty: ServedGateway) -> None:
    rows = b"[" + b",".join([b"[1.5]"] * 16_000) + b"]"
    count = 40
    with hasty.connect() as client:
        client.socket.settimeout(30)
        sender = threading.Thread(target=lambda: client.send(post(rows, "/v1/models/echo/predict") * count))
        sender.start()
        for _ in range(count):
            assert len(client.receive().json) == 16_000
        sender.join()


# --- large bodies do not hold up small ones ---------------------------------------------------------------------------


def large(rows: int) -> bytes:
    return b"[" + b",".join([b"[0.123456789012,1.5,2.5,3.5]"] * rows) + b"]"


@pytest.fixture(scope="module")
def roomy() -> Iterator[ServedGateway]:
    """A gateway that takes large requests."""
    with served(ENTRIES, FUNCTIONS, {"max_rows": 1_000_000}) as gateway:
        yield gateway


def test_large_bodies_and_results_are_handled_apart(roomy: ServedGateway) -> None:
    with roomy.connect() as client:
        client.send(post(large(30_000)) + post(ROW) + post(large(20_000)[:-1]))
        assert len(client.receive().json) == 30_000
        assert client.receive().json == [10.0]
        assert client.receive().code == "bad_json"
        assert client.ask(post(large(20_000).replace(b"3.5]]", b'"x"]]'))).code == "wrong_type"
    wide = roomy.ask(post(large(30_000), "/v1/models/echo/predict"))
    assert len(wide.json) == 30_000
    assert roomy.run(lambda: roomy.app.gateway.buffered_bytes) == 0


def test_small_requests_are_answered_while_a_large_one_is_read(roomy: ServedGateway) -> None:
    body = large(150_000).replace(b"3.5]]", b'"x"]]')
    with roomy.connect() as slow, roomy.connect() as quick:
        slow.send(post(body))
        wait_until(lambda: roomy.app.gateway.buffered_bytes >= len(body))
        answered = 0
        while roomy.app.gateway.buffered_bytes >= len(body):
            assert quick.ask(post(ROW)).json == [10.0]
            answered += 1
        assert slow.receive().code == "wrong_type"
    assert answered > 5


def test_a_client_that_leaves_while_its_large_body_is_read_is_forgotten(roomy: ServedGateway) -> None:
    shared = roomy.app.gateway
    calls = len(roomy.backend.calls)
    with roomy.connect() as client:
        client.send(post(large(150_000)))
        wait_until(lambda: shared.buffered_bytes >= 4_000_000)
    wait_until(lambda: shared.metrics.in_progress == 0)
    assert shared.buffered_bytes == 0
    assert len(roomy.backend.calls) - calls <= 150_000 / 64 + 1


def test_a_deadline_counts_while_a_large_body_is_read(roomy: ServedGateway) -> None:
    answer = roomy.ask(post(large(150_000), headers={"X-Request-Timeout": "0.01"}))
    assert (answer.code, answer.status) == ("deadline_exceeded", 504)


@pytest.mark.alone
def test_a_body_of_very_many_lists_is_refused(roomy: ServedGateway) -> None:
    body = b"[" + b",".join([b"[]"] * 1_000_001) + b"]"
    assert roomy.ask(post(body, "/v1/models/echo/predict")).code == "too_large"
