"""Tokens on the gateway: who may call, what a caller without one hears, and what happens when the store is away."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import vtsserving
from support.backend import entry, rows_spec
from support.command_line import run_process
from support.sdk import save_text
from support.served_gateway import Answer, ServedGateway, get, post, served, wait_until
from support.stores import ThreadedStore, store_settings
from support.stores import token as store_token
from vtsserving._auth.token_file import TokenFile
from vtsserving._auth.tokens import LEEWAY_S, SCOPES
from vtsserving._local_store.store import LocalStore
from vtsserving._runtime.settings import SharedSettings
from vtsserving.exceptions import ConfigurationError
from vtsserving.io import JSON
from vtsserving_gateway.auth.tokens import TTL_S, check_access
from vtsserving_gateway.server.auth_middleware import OPEN

ENTRIES = [entry("iris", input_specs=rows_spec(4))]
FUNCTIONS = {("iris", "predict"): lambda X: X.sum(axis=1)}
CALL = b"[[1, 2, 3, 4]]"
LOADED = "/v1/models/iris/loaded"


class Guarded(NamedTuple):
    gateway: ServedGateway
    tokens: dict[str, str]
    file: TokenFile

    def ask(self, data: bytes) -> Answer:
        return self.gateway.ask(data)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def call(token: str | None = None, path: str = "/v1/models/iris/predict") -> bytes:
    return post(CALL, path, bearer(token) if token is not None else {})


svc = vtsserving.Service("echo", runners=[])


@svc.api(input=JSON(), output=JSON())
def echo(value):  # type: ignore[no-untyped-def]  # as users write them
    return value


@pytest.fixture(scope="module", params=["inprocess", "nats"])
def bus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    from support.nats_server import NatsServer

    if request.param == "inprocess":
        yield None
        return
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture(scope="module")
def guarded(bus: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    path = tmp_path_factory.mktemp("tokens") / "tokens.jsonl"
    file = TokenFile(path)
    tokens = {scope: file.create(f"for {scope}", scope)[1] for scope in SCOPES}
    tokens["expired"] = file.create("old", "admin", expires_in_s=-LEEWAY_S - 1)[1]
    shared = SharedSettings(auth="required", tokens_file=path)
    with served(
        ENTRIES, FUNCTIONS, {"access_log": True}, nats_url=bus, shared=shared, service=svc
    ) as gateway:
        gateway.run(lambda: setattr(gateway.backend, "obeys", True))
        yield Guarded(gateway, tokens, file)


BAD = [
    ("no header", None),
    ("no token", "Bearer"),
    ("nonsense", "Bearer x"),
    ("another scheme", "Basic dXNlcjpwYXNz"),
    ("unknown", f"Bearer vts_{'0' * 16}_{'0' * 64}"),
    ("two spaces", "Bearer  "),
    ("not ASCII", "Bearer vts_\xe9"),
]
GUARDED = [
    ("native call", "POST", "/v1/models/iris/predict"),
    ("call of an unknown model", "POST", "/v1/models/nothing/predict"),
    ("inference", "POST", "/v2/models/iris/infer"),
    ("a service's route", "POST", "/echo"),
    ("models", "GET", "/v1/models"),
    ("model", "GET", "/v1/models/iris"),
    ("metadata", "GET", "/v2/models/iris"),
    ("repository", "POST", "/v2/repository/index"),
    ("load", "PUT", LOADED),
    ("unload", "DELETE", LOADED),
    ("protocol's load", "POST", "/v2/repository/models/iris/load"),
    ("document", "GET", "/openapi.json"),
    ("unknown route", "GET", "/nothing"),
]


@pytest.mark.parametrize(("method", "path"), [row[1:] for row in GUARDED], ids=[row[0] for row in GUARDED])
@pytest.mark.parametrize("header", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_without_a_valid_token_nothing_is_told(
    guarded: Guarded, header: str | None, method: str, path: str
) -> None:
    received = guarded.gateway.backend.received
    answer = guarded.ask(
        post(CALL, path, {"Authorization": header or ""}).replace(b"POST", method.encode(), 1)
    )
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    if path.startswith("/v2"):
        assert list(answer.json) == ["error"]
        assert "token" in answer.json["error"].lower()
    else:
        assert answer.code == "unauthorized"
    assert guarded.gateway.backend.received == received


@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_may_call_and_only_admin_loads(guarded: Guarded, scope: str) -> None:
    token = guarded.tokens[scope]
    assert guarded.ask(call(token)).json == [10.0]
    assert guarded.ask(call(token)).json == [10.0], "also when the token is known already"
    assert guarded.ask(call(token, "/echo")).json == [[1, 2, 3, 4]]
    assert guarded.ask(get("/v1/models/iris", bearer(token))).status == 200
    assert guarded.ask(get("/openapi.json", bearer(token))).status == 200
    for method, path in (("PUT", LOADED), ("DELETE", LOADED), ("POST", "/v2/repository/models/iris/unload")):
        answer = guarded.ask(post(b"", path, bearer(token)).replace(b"POST", method.encode(), 1))
        assert answer.status == (200 if scope == "admin" else 403), answer
        if scope != "admin":
            assert "admin" in str(answer.json["error"])


def test_an_expired_token_says_so(guarded: Guarded) -> None:
    answer = guarded.ask(call(guarded.tokens["expired"]))
    assert (answer.code, "expired" in answer.json["error"]["message"]) == ("unauthorized", True)


def test_a_token_in_the_query_is_ignored_and_not_logged(
    guarded: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    token = guarded.tokens["infer"]
    with caplog.at_level(logging.DEBUG):
        for path in ("/v1/models/iris/predict", "/v2/models/iris/infer", "/echo"):
            for name in ("token", "access_token"):
                answer = guarded.ask(call(None, f"{path}?{name}={token}"))
                assert answer.status == 401
        assert guarded.ask(call(token)).status == 200
    secret = token.rsplit("_", 1)[1]
    assert caplog.records
    assert not any(secret in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("path", sorted(OPEN))
def test_probes_and_the_page_of_documentation_need_no_token(guarded: Guarded, path: str) -> None:
    assert guarded.ask(get(path)).status == 200


def test_a_large_body_without_a_token_is_not_read(guarded: Guarded) -> None:
    head = b"POST /v1/models/iris/predict HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"
    with guarded.gateway.connect() as client:
        answer = client.ask(head)
        assert (answer.code, answer.headers["connection"]) == ("unauthorized", "close")
        assert client.closed()


def test_a_revoked_token_ends_within_seconds(guarded: Guarded) -> None:
    token, text = guarded.file.create("for a while", "infer")
    with guarded.gateway.connect() as client:
        assert client.ask(call(text)).status == 200
        guarded.file.revoke(token.id)
        wait_until(lambda: client.ask(call(text)).status == 401, within_s=2 * TTL_S)


def test_the_document_says_that_tokens_are_needed(guarded: Guarded) -> None:
    document = guarded.ask(get("/openapi.json", bearer(guarded.tokens["infer"]))).json
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["paths"]["/livez"]["get"]["security"] == []
    assert "401" in document["paths"]["/v1/models/iris/predict"]["post"]["responses"]


def test_the_stores_tokens_guard_the_gateway_and_work_while_the_store_is_away(tmp_path: Path) -> None:
    settings = store_settings(
        tmp_path / "store", auth="off"
    )  # what the store itself asks for does not matter
    infer, other = store_token(settings, "infer"), store_token(settings, "infer")
    store = ThreadedStore(settings)
    store.__enter__()
    shared = SharedSettings(auth="required", store_url=store.url)
    with served(ENTRIES, FUNCTIONS, shared=shared) as gateway, gateway.connect() as client:
        try:
            assert client.ask(call(f"vts_{'0' * 16}_{'0' * 64}")).status == 401
            assert client.ask(call(infer)).json == [10.0]
        finally:
            store.__exit__(None, None, None)
        answer = client.ask(call(other))
        assert (answer.status, answer.code) == (503, "store_unavailable"), "never seen, so it cannot be known"
        # Long enough for the token to be looked up again, in vain.
        loop_s = gateway.loop.time()
        while gateway.loop.time() < loop_s + TTL_S + 1:
            assert client.ask(call(infer)).json == [10.0]


def test_tokens_are_needed_unless_only_this_machine_can_connect(tmp_path: Path) -> None:
    file = tmp_path / "tokens.jsonl"
    TokenFile(file).create("a", "infer")
    for host, auth, needed in [
        ("127.0.0.1", "", False),
        ("127.0.0.2", "", False),
        ("0.0.0.0", "", True),
        ("127.0.0.1", "required", True),
        ("0.0.0.0", "off", False),
    ]:
        with socket.create_server((host, 0)) as listener:
            shared = SharedSettings(auth=auth, tokens_file=file)
            assert (check_access(shared, listener) is not None) == needed, (host, auth)
            if needed:
                with pytest.raises(ConfigurationError, match="VTSSERVING_TOKENS_FILE"):
                    check_access(SharedSettings(auth=auth), listener)


def test_a_token_file_is_made_listed_and_emptied_by_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "tokens.jsonl"
    made = run_process("store", "token", "create", "app", "--scope", "infer", "--file", str(file))
    text = made.out.strip()
    assert made.code == 0
    assert text.startswith("vts_")
    assert text.rsplit("_", 1)[1] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "app" in run_process("store", "token", "list", "--file", str(file)).out
    id = text.split("_")[1]
    assert run_process("store", "token", "revoke", id, "--file", str(file)).code == 0
    assert "app" not in run_process("store", "token", "list", "--file", str(file)).out
    missing = run_process("store", "token", "list", "--file", str(tmp_path / "none"))
    assert missing.code != 0
    assert "token create" in missing.err


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--workers", "2"]], ids=["embedded", "workers"])
def test_serving_other_machines_without_tokens_is_refused_with_the_way_out(more: list[str]) -> None:
    tag = str(save_text(LocalStore(), f"text:v{len(more)}").tag)
    ended = run_process("serve", tag, "--host", "0.0.0.0", "--port", "0", *more)
    assert ended.code == 2, ended.err
    assert "VTSSERVING_TOKENS_FILE" in ended.err
    assert "VTSSERVING_AUTH=off" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("line", ["{}", "secret-in-the-wrong-place", '{"sha256": "x"}', "[1]", "null"])
def test_a_damaged_token_file_is_an_error_that_quotes_nothing(tmp_path: Path, line: str) -> None:
    file = tmp_path / "tokens.jsonl"
    file.write_text(line + "\n")
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ConfigurationError) as caught:
        check_access(SharedSettings(auth="required", tokens_file=file), listener)
    assert "line 1" in caught.value.message
    assert "secret" not in caught.value.message
