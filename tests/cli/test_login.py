"""`vtsserving login`, `logout` and `contexts` against a running store service."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import save_model
from support.command_line import CommandLine
from support.file_servers import HttpServer
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.store import LocalStore


@pytest.fixture
def service(tmp_path: Path) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(tmp_path / "service")) as running:
        yield running


def test_login_is_used_until_logout(vts: CommandLine, store: LocalStore, service: ThreadedStore) -> None:
    save_model(store)
    assert vts("login", service.url).code == 0
    assert vts("models", "push", "iris_clf").code == 0
    (context,) = json.loads(vts("contexts", "-o", "json").out)
    assert context == {"name": "default", "url": service.url, "token": False, "current": True}
    assert vts("logout").code == 0
    assert json.loads(vts("contexts", "-o", "json").out) == []
    assert vts("logout").code == 2


def test_named_logins_are_switched(vts: CommandLine, store: LocalStore, service: ThreadedStore) -> None:
    for name in ("staging", "production"):
        assert vts("login", service.url, "--name", name).code == 0
    assert vts("contexts", "--use", "staging").code == 0
    current = {c["name"]: c["current"] for c in json.loads(vts("contexts", "-o", "json").out)}
    assert current == {"staging": True, "production": False}
    assert vts("contexts", "--use", "nothing").code == 3
    assert vts("logout", "nothing").code == 3
    assert "contexts --use" not in vts("logout", "production").err, "another one is in use"
    assert vts("login", service.url, "--name", "production").code == 0
    assert "No login is in use now; `vtsserving contexts --use NAME`" in vts("logout").err


def test_tokens_are_never_printed(
    vts: CommandLine, store: LocalStore, service: ThreadedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret-token\n"))
    ended = vts("login", service.url, "--token-stdin")
    assert ended.code == 0
    said = ended.out + ended.err + vts("contexts").out + vts("contexts", "-o", "yaml").out
    assert "s3cret" not in said
    assert "yes" in vts("contexts").out


def test_login_with_two_tokens_or_none_on_stdin_is_a_usage_error(
    vts: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vts("login", "http://127.0.0.1:9", "--token", "a", "--token-stdin").code == 2
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert vts("login", "http://127.0.0.1:9", "--token-stdin").code == 2


def test_login_to_what_is_no_store_is_refused(vts: CommandLine, store: LocalStore) -> None:
    assert vts("login", "http://127.0.0.1:9").code == 7
    with HttpServer().serve() as server:
        server.answers["/api/v1"] = (200, {"content-type": "text/html"}, b"<title>Welcome</title>")
        ended = vts("login", server.url)
    assert ended.code != 0
    assert len(ended.err.splitlines()) == 1
    assert json.loads(vts("contexts", "-o", "json").out) == []
