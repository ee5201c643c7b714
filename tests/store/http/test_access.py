"""Tokens and scopes; and settings that name a storage nobody should use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from support.sdk import save_text
from support.stores import StoreProcess, ThreadedStore, s3_section, store_settings, token
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import contexts, transfer
from vtsserving._store_client.client import RegistryClient
from vtsserving.exceptions import (
    AuthError,
    ClockSkew,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidArgument,
    NoSpace,
    NotAStore,
    StorageError,
    StoreUnavailable,
)
from vtsserving_store import maintenance
from vtsserving_store.components import StoreComponents
from vtsserving_store.objects.directory import DirectoryObjectStore
from vtsserving_store.objects.probe import open_storage, probe
from vtsserving_store.objects.s3_errors import translated
from vtsserving_store.registry import tokens
from vtsserving_store.settings import StoreSettings, read_settings


@pytest.fixture
def guarded_settings(tmp_path: Path) -> StoreSettings:
    return store_settings(tmp_path / "guarded", auth="required")


@pytest.fixture
def guarded(guarded_settings: StoreSettings) -> Iterator[ThreadedStore]:
    with ThreadedStore(guarded_settings) as running:
        yield running


def test_each_scope_may_do_its_own_and_less(guarded: ThreadedStore, guarded_settings: StoreSettings) -> None:
    attempts = [
        ("GET", "/api/v1/models", None, "pull"),
        ("GET", "/api/v1/blobs/sha256:" + "0" * 64, None, "pull"),
        ("POST", "/api/v1/pushes", {"digests": []}, "push"),
        ("DELETE", "/api/v1/models/m/versions/1", None, "push"),
        ("GET", "/api/v1/tokens", None, "admin"),
        ("POST", "/api/v1/gc", {"dry_run": True}, "admin"),
    ]
    order = ["pull", "push", "admin"]
    with httpx2.Client(base_url=guarded.url) as http:
        for scope in order:
            headers = {"authorization": f"Bearer {token(guarded_settings, scope)}"}
            for method, path, body, needed in attempts:
                answer = http.request(method, path, json=body, headers=headers)
                allowed = order.index(scope) >= order.index(needed)
                assert (answer.status_code != 403) == allowed, (scope, method, path)
                assert answer.status_code != 401


def test_without_a_valid_token_nothing_is_told(
    guarded: ThreadedStore, guarded_settings: StoreSettings
) -> None:
    good = token(guarded_settings, "admin")
    expired = token(guarded_settings, "admin", expires_in_s=-tokens.LEEWAY_S - 1)
    with httpx2.Client(base_url=guarded.url) as http:
        for header in (
            "",
            "Bearer",
            "Bearer x",
            f"Basic {good}",
            f"Bearer {good[:-1]}0" if good[-1] != "0" else f"Bearer {good[:-1]}1",
            f"Bearer {good}\u00e9".encode("latin-1"),
            f"Bearer {expired}",
            "Bearer vts_" + "0" * 16 + "_" + "0" * 64,
        ):
            for path in ("/api/v1/models", "/api/v1/models/secret", "/api/v1/tokens", "/api/v1/events"):
                answer = http.get(path, headers={"authorization": header})
                assert answer.status_code == 401, header
                assert answer.json()["error"]["code"] == "unauthorized"
                assert answer.headers["www-authenticate"] == "Bearer"
        assert http.get("/readyz").status_code == 200
        assert http.get("/api/v1").json()["auth"] is True


def test_a_revoked_token_ends_at_once_and_secrets_are_not_kept(
    guarded: ThreadedStore, guarded_settings: StoreSettings
) -> None:
    admin = token(guarded_settings, "admin")
    with httpx2.Client(base_url=guarded.url, headers={"authorization": f"Bearer {admin}"}) as http:
        made = http.post("/api/v1/tokens", json={"name": "ci", "scope": "pull"}).json()
        mine = {"authorization": f"Bearer {made['token']}"}
        assert http.get("/api/v1/models", headers=mine).status_code == 200
        secret = made["token"].rsplit("_", 1)[1]
        directory = guarded_settings.store.dir
        assert directory is not None
        assert all(secret.encode() not in f.read_bytes() for f in directory.rglob("*") if f.is_file())
        assert "token" not in http.get("/api/v1/tokens").json()[0]
        assert http.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
        assert http.get("/api/v1/models", headers=mine).status_code == 401
        assert http.delete(f"/api/v1/tokens/{made['id']}").status_code == 404


def test_a_token_that_was_made_before_the_store_works_once_it_is_adopted(
    guarded: ThreadedStore, guarded_settings: StoreSettings
) -> None:
    text = f"vts_{'0a' * 8}_{'1b' * 32}"
    with maintenance.opened(guarded_settings) as parts:
        made = parts.tokens.adopt(text, "services", "pull")
        assert parts.tokens.adopt(text, "services", "pull") == made
        with pytest.raises(Conflict):
            parts.tokens.adopt(text[:-1] + "0", "services", "pull")
        for malformed in ("", "vts_", text + "0", text.upper()):
            with pytest.raises(InvalidArgument):
                parts.tokens.adopt(malformed, "services", "pull")
    with httpx2.Client(base_url=guarded.url, headers={"authorization": f"Bearer {text}"}) as http:
        assert http.get("/api/v1/models").status_code == 200
        assert http.get("/api/v1/tokens").status_code == 403


def test_a_token_is_needed_unless_only_this_machine_can_connect() -> None:
    for host, auth, needed in [
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("0.0.0.0", "", True),
        ("10.0.0.1", "", True),
        ("127.0.0.1", "required", True),
        ("0.0.0.0", "off", False),
    ]:
        assert read_settings(store={"host": host}, auth=auth).needs_token == needed


def test_login_remembers_a_store_that_takes_the_token(
    guarded: ThreadedStore,
    guarded_settings: StoreSettings,
    local: LocalStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = token(guarded_settings, "push")
    for wrong in ("", "vts_nonsense"):
        with pytest.raises(AuthError):
            contexts.login(guarded.url, wrong)
    assert contexts.contexts() == []
    contexts.login(guarded.url + "/", text, name="work")
    kept = LocalStore().root.parent / "contexts.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    transfer.push(save_text(local, "m:1").tag, store=local)
    with contexts.connect() as client:
        assert client.version("m").tag.version == "1"
    monkeypatch.setenv("VTSSERVING_STORE_TOKEN", token(guarded_settings, "pull"))
    with pytest.raises(Forbidden):
        transfer.push(save_text(local, "m:2").tag, store=local)
    monkeypatch.setenv("VTSSERVING_CONTEXT", "nowhere")
    with pytest.raises(ConfigurationError, match="no such login"):
        contexts.connect()
    monkeypatch.delenv("VTSSERVING_CONTEXT")
    contexts.logout("work")
    assert contexts.contexts() == []


def test_of_two_logins_to_one_store_the_one_in_use_gives_the_token(
    guarded: ThreadedStore, guarded_settings: StoreSettings, local: LocalStore
) -> None:
    for name, scope in (("reader", "pull"), ("writer", "push"), ("zoe", "pull")):
        contexts.login(guarded.url, token(guarded_settings, scope), name=name)
    tag = save_text(local, "m:1").tag
    for url in (None, guarded.url + "/"):
        contexts.use("writer")
        transfer.push(tag, store_url=url, store=local)
        contexts.use("reader")
        with pytest.raises(Forbidden):
            transfer.push(tag, store_url=url, store=local)


def test_who_has_no_token_is_told_how_to_log_in(guarded: ThreadedStore) -> None:
    with pytest.raises(AuthError, match=f"`vtsserving login {guarded.url} --token-stdin < FILE`"):
        contexts.login(guarded.url)


def test_login_refuses_what_is_no_store(guarded: ThreadedStore) -> None:
    with pytest.raises((StoreUnavailable, NotAStore)):
        contexts.login("http://127.0.0.1:1")


class Forgetful(DirectoryObjectStore):
    """A storage that ignores the condition of create-only writes."""

    def create(self, key: str, data: bytes) -> bool:
        self.put(key, data)
        return True


def test_a_storage_that_overwrites_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="ignores create-only writes"):
        probe(Forgetful(tmp_path))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "has no storage"),
        ({"VTSSERVING_STORE__DIR": "/x", "VTSSERVING_S3__ENDPOINT": "http://127.0.0.1:1"}, "both set"),
        ({"VTSSERVING_S3__ENDPOINT": "http://127.0.0.1:1/path"}, "without a path"),
        ({"VTSSERVING_S3__BUCKET": "b"}, "VTSSERVING_S3__BUCKET"),
        ({"VTSSERVING_STORE__PORT": "99999"}, "VTSSERVING_STORE__PORT"),
        ({"VTSSERVING_S3__SECRET_KEY_FILE": "/nowhere"}, "cannot be read"),
        ({"VTSSERVING_STORE__DIR": "/proc/nowhere"}, "refuses"),
    ],
)
def test_bad_settings_end_the_start_with_one_sentence(
    tmp_path: Path, settings: dict[str, str], says: str
) -> None:
    process = StoreProcess(tmp_path, settings)
    process.spawn()
    assert process.wait() in {2, 9}
    assert says in process.log()
    assert "Traceback" not in process.log()


def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text("hush\n")
    monkeypatch.setenv("VTSSERVING_S3__SECRET_KEY_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("VTSSERVING_S3__ENDPOINT", "minio:9000")
    monkeypatch.setenv("VTSSERVING_S3__SECURE", "false")
    settings = read_settings()
    assert settings.s3.secret_key.get_secret_value() == "hush"
    assert settings.s3.endpoint == "http://minio:9000"
    assert "hush" not in repr(settings)


def test_a_storage_that_is_not_there_is_said_so() -> None:
    section = s3_section("http://127.0.0.1:1")
    with pytest.raises(StoreUnavailable, match="does not answer"):
        open_storage(store_settings(s3=section))


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("RequestTimeTooSkewed", ClockSkew, "set this machine's time"),
        ("SignatureDoesNotMatch", StoreUnavailable, "check access key and secret key"),
        ("NoSuchBucket", StoreUnavailable, "CREATE_BUCKET"),
        ("XMinioStorageFull", NoSpace, "no space left"),
        ("SlowDown", StoreUnavailable, "does not answer"),
    ],
)
def test_what_the_storage_says_becomes_what_to_do(code: str, error: type[Exception], says: str) -> None:
    import urllib3
    from minio.error import S3Error

    refused = S3Error(urllib3.HTTPResponse(), code, "", "", "", "")
    with pytest.raises(error, match=says):
        raise translated(refused, "bucket b at http://x")


def test_clients_transfer_large_files_straight_to_and_from_the_storage(
    s3_endpoint: str, local: LocalStore, other: LocalStore
) -> None:
    import os

    from vtsserving._model.draft import Draft
    from vtsserving._model.tag import Tag

    section = {**s3_section(s3_endpoint), "public_endpoint": s3_endpoint}
    with ThreadedStore(store_settings(s3=section)) as store, httpx2.Client(base_url=store.url) as http:
        with local.staging() as staged:
            (staged / "w").write_bytes(os.urandom((16 << 20) + 5))
            from support.sdk import CONTEXT

            model = local.save(staged, Draft(Tag("m"), "", CONTEXT))
        transfer.push(model.tag, store_url=store.url, store=local)
        assert transfer.pull("m", store_url=store.url, store=other).digest == model.digest
        metrics = http.get("/metrics").text.splitlines()
        through = [float(line.split()[1]) for line in metrics if "_bytes_total " in line and line[0] != "#"]
        assert sum(through) < 1_000_000


def test_a_client_without_a_way_to_the_storage_goes_through_the_store(
    s3_endpoint: str, local: LocalStore, other: LocalStore
) -> None:
    section = {**s3_section(s3_endpoint), "public_endpoint": "http://127.0.0.1:1"}
    with ThreadedStore(store_settings(s3=section)) as store, RegistryClient(store.url) as client:
        model = save_text(local, "m:1", "x" * ((8 << 20) + 1))
        transfer.push(model.tag, store_url=store.url, store=local)
        assert transfer.pull("m", store_url=store.url, store=other).digest == model.digest
        assert client.service()["direct"] is True


def test_parts_close_without_a_store_having_run(tmp_path: Path) -> None:
    settings = store_settings(tmp_path / "x")
    StoreComponents.on(open_storage(settings), settings).close()
