"""An offer to go on in HTTP/2 changes nothing: the request is answered in HTTP/1.1, body and all, by each service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.backend import entry, rows_spec
from support.served_gateway import Answer, Client, get, served
from support.stores import ThreadedStore, store_settings
from vtsserving._http.h2c_offer import head_without_offer, offers_h2c

TIMES: dict[str, Any] = {"body_timeout_s": 5.0, "header_timeout_s": 5.0}

# As Java's HttpClient and curl send it, then spellings of other clients.
OFFERS = {
    "java": ("Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAEAAEAAAAIAAAAB", "Upgrade: h2c"),
    "curl": (
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
    ),
    "capitals": ("CONNECTION: upgrade,http2-settings", "UPGRADE: H2C", "HTTP2-SETTINGS: AA"),
    "several lines": (
        "Connection: Upgrade",
        "Connection: HTTP2-Settings, keep-alive",
        "Upgrade: h2c",
        "HTTP2-Settings: ",
    ),
    "no settings": ("Connection: keep-alive , Upgrade", "Upgrade: h2c"),
}


class Service(NamedTuple):
    """A running service.

    Attributes:
        port: where it listens.
        is_store: else it is a gateway.
    """

    port: int
    is_store: bool

    def connect(self) -> Client:
        return Client(self.port)

    def upload(self, body: bytes, *lines: str, framing: str = "") -> bytes:
        """The header block of a request whose answer says whether its body arrived."""
        path = f"PUT /api/v1/blobs/sha256:{hashlib.sha256(body).hexdigest()}"
        first = path if self.is_store else "POST /v1/models/iris/predict"
        framing = framing or f"Content-Length: {len(body)}"
        return "\r\n".join((f"{first} HTTP/1.1", "Host: a", framing, *lines, "", "")).encode()

    def check(self, answer: Answer, body: bytes) -> None:
        """The body arrived as it was sent."""
        if self.is_store:
            assert answer.status in (200, 201), answer
        else:
            assert (answer.status, answer.json) == (200, [float(sum(json.loads(body)[0]))])


@pytest.fixture(params=["gateway", "store"], scope="module")
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    if request.param == "gateway":
        models = [entry("iris", input_specs=rows_spec(4))]
        with served(models, {("iris", "predict"): lambda X: X.sum(axis=1)}, TIMES) as gateway:
            yield Service(gateway.port, is_store=False)
        return
    folder: Path = tmp_path_factory.mktemp("store")
    with ThreadedStore(store_settings(folder)) as store:
        yield Service(store.app.port, is_store=True)


def body_of(number: int) -> bytes:
    return b"[[%d, 2, 3, 4]]" % number


def chunked(body: bytes) -> bytes:
    return b"".join(b"1\r\n%c\r\n" % one for one in body) + b"0\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS)
def test_the_body_of_a_request_with_an_offer_arrives(service: Service, offer: tuple[str, ...]) -> None:
    with service.connect() as client:
        for number in range(3):
            body = body_of(number)
            client.send(service.upload(body, *offer) + body)
            service.check(client.receive(), body)
            client.send(service.upload(body, *offer, framing="Transfer-Encoding: chunked") + chunked(body))
            service.check(client.receive(), body)


def test_pipelined_requests_with_and_without_offers_are_answered_in_order(service: Service) -> None:
    offer = OFFERS["java"]
    parts, bodies = [], []
    for number in range(60):
        body = body_of(number)
        lines = offer if number % 3 else ()
        as_chunks = number % 2
        framing = "Transfer-Encoding: chunked" if as_chunks else ""
        parts.append(service.upload(body, *lines, framing=framing) + (chunked(body) if as_chunks else body))
        parts.append(get("/livez", dict(line.split(": ", 1) for line in offer)))
        bodies.append(body)
    with service.connect() as client:
        client.send(b"".join(parts))
        for body in bodies:
            service.check(client.receive(), body)
            assert client.receive().status == 200


@pytest.mark.parametrize("piece", [1, 7, 50])
def test_a_request_with_an_offer_comes_in_pieces(service: Service, piece: int) -> None:
    for framing, framed in (("", bytes), ("Transfer-Encoding: chunked", chunked)):
        body = body_of(piece)
        whole = service.upload(body, *OFFERS["curl"], framing=framing) + framed(body)
        with service.connect() as client:
            for at in range(0, len(whole), piece):
                client.send(whole[at : at + piece])
            service.check(client.receive(), body)


def test_a_client_that_waits_for_100_continue_gets_it(service: Service) -> None:
    body = body_of(1)
    with service.connect() as client:
        client.send(service.upload(body, *OFFERS["curl"], "Expect: 100-continue"))
        assert client.head()[0] == "HTTP/1.1 100 Continue"
        client.send(body)
        service.check(client.receive(), body)


def test_a_large_body_with_an_offer_arrives(service: Service) -> None:
    body = body_of(3)[:-1] + b" " * 200_000 + b"]"
    with service.connect() as client:
        client.send(service.upload(body, *OFFERS["java"]) + body)
        service.check(client.receive(), body)


def test_limits_hold_for_requests_with_an_offer(service: Service) -> None:
    offer = OFFERS["java"]
    for lines, status in (
        ((*offer, "X-Header: " + "x" * 80_000), 431),
        ((*offer, *[f"X-{number}: 1" for number in range(20_000)]), 431),
        (("Content-Length: 3", *offer, "Content-Length: 4"), 400),
        ((*offer, "Transfer-Encoding: xchunked"), 400),
    ):
        with service.connect() as client:
            first, _, rest = service.upload(b"", *lines).partition(b"Content-Length: 0\r\n")
            client.send(first + rest)
            assert client.receive().status == status


def test_an_offer_closes_when_the_client_asks_for_it(service: Service) -> None:
    with service.connect() as client:
        answer = client.ask(get("/livez", {"Connection": "close, Upgrade, HTTP2-Settings", "Upgrade": "h2c"}))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.closed()


@pytest.mark.parametrize(
    "other", ["websocket", "TLS/1.0", "h2c, websocket", "websocket, h2c", "h2", "h2c-14"]
)
def test_other_upgrades_with_a_body_are_refused(service: Service, other: str) -> None:
    with service.connect() as client:
        client.send(service.upload(b"abc", "Connection: Upgrade", f"Upgrade: {other}") + b"abc")
        answer = client.receive()
        assert (answer.status, answer.code) == (400, "bad_request")
        assert client.closed()


@pytest.mark.parametrize("other", ["websocket", "h2c, websocket"])
def test_other_upgrades_without_a_body_are_ignored(service: Service, other: str) -> None:
    with service.connect() as client:
        headers = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": other, "HTTP2-Settings": "AA"}
        client.send(get("/livez", headers) + get("/nothing", headers))
        assert [client.receive().status, client.receive().status] == [200, 404]


def test_an_offer_without_a_connection_token_is_none(service: Service) -> None:
    body = body_of(5)
    with service.connect() as client:
        client.send(service.upload(body, "Upgrade: h2c") + body)
        service.check(client.receive(), body)


def test_only_the_offer_is_taken_out() -> None:
    headers = [
        (b"host", b"a"),
        (b"connection", b"keep-alive, Upgrade, HTTP2-Settings, x"),
        (b"upgrade", b"h2c"),
        (b"http2-settings", b"AA"),
        (b"x", b"h2c, upgrade"),
    ]
    assert offers_h2c(headers)
    assert not offers_h2c([(b"upgrade", b"h2c-14"), (b"x", b"h2c")])
    head = head_without_offer(b"POST", b"/a?b", "1.1", headers)
    assert head == b"POST /a?b HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, x\r\nx: h2c, upgrade\r\n\r\n"
    both = head_without_offer(
        b"GET", b"/", "1.0", [(b"connection", b"upgrade"), (b"upgrade", b"h2c, websocket")]
    )
    assert both == b"GET / HTTP/1.0\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
