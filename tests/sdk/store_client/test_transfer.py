"""Push and pull: what travels, what survives, and what a broken connection or file does."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

import vtsserving
from support.fault_proxy import FaultProxy, Faults
from support.sdk import CONTEXT, files_below, iris_classifier, iris_rows, save_text
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.draft import Draft
from vtsserving._model.tag import Tag
from vtsserving._store_client import http as registry_http
from vtsserving._store_client import transfer
from vtsserving._store_client.catalog import StoreCatalog
from vtsserving._store_client.client import RegistryClient
from vtsserving.exceptions import (
    AlreadyExists,
    IntegrityError,
    ModelNotFound,
    NoSpace,
    NotAStore,
    StoreUnavailable,
    VtsServingException,
)

PART = 8 << 20


class Recorder:
    """A Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.files: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self._lock = threading.Lock()

    def begin(self, files: Mapping[str, int]) -> None:
        self.files = dict(files)

    def advance(self, path: str, n_bytes: int) -> None:
        with self._lock:
            self.done[path] = self.done.get(path, 0) + n_bytes


def save_files(local: LocalStore, tag: str, files: Mapping[str, bytes], **draft: Any) -> Model:
    with local.staging() as staged:
        for path, content in files.items():
            (staged / path).parent.mkdir(parents=True, exist_ok=True)
            (staged / path).write_bytes(content)
        return local.save(staged, Draft(Tag.parse(tag), "", CONTEXT, **draft))


def push(url: str, local: LocalStore, tag: object, **options: Any) -> Model:
    return transfer.push(str(tag), store_url=url, store=local, **options)


def pull(url: str, local: LocalStore, tag: object, **options: Any) -> Model:
    return transfer.pull(str(tag), store_url=url, store=local, **options)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that calls a connection stalled after half a second."""
    monkeypatch.setattr(registry_http, "STALL_TIMEOUT_S", 0.5)


@pytest.fixture
def directory_store(tmp_path: Path) -> Any:
    with ThreadedStore(store_settings(tmp_path / "directory")) as running:
        yield running


@pytest.fixture
def proxy(directory_store: ThreadedStore) -> Any:
    """A store behind a proxy that breaks connections."""
    with FaultProxy(directory_store.app.port) as made:
        yield made


def test_what_was_pushed_is_pulled_byte_for_byte(
    store: ThreadedStore, local: LocalStore, other: LocalStore
) -> None:
    files = {"weights.bin": os.urandom(PART + 1234), "deep/er/empty": b"", "ünï.txt": b"text"}
    model = save_files(local, "m", files, labels={"team": "a"}, metadata={"acc": 0.5})
    recorder = Recorder()
    push(store.url, local, model.tag, progress=recorder)
    assert recorder.done == recorder.files
    pulled = pull(store.url, other, "m")
    assert (pulled.tag, pulled.digest) == (model.tag, model.digest)
    assert files_below(pulled.path) == files_below(model.path)
    assert pulled.info == model.info
    assert pulled.creation_time == model.creation_time


def test_a_second_push_sends_nothing_and_a_changed_file_alone(
    store: ThreadedStore, local: LocalStore
) -> None:
    files = {f"f{n}": os.urandom(10_000) for n in range(10)}
    push(store.url, local, save_files(local, "m", files).tag)
    again = Recorder()
    push(store.url, local, "m:latest", progress=again)
    assert again.files == {}
    changed = Recorder()
    push(store.url, local, save_files(local, "m", {**files, "f3": b"changed"}).tag, progress=changed)
    assert sorted(changed.files) == ["f3", "model.yaml"]


def test_force_sends_everything_again(store: ThreadedStore, local: LocalStore) -> None:
    model = save_files(local, "m", {"a": b"1", "b": b"2"})
    push(store.url, local, model.tag)
    recorder = Recorder()
    push(store.url, local, model.tag, force=True, progress=recorder)
    assert sorted(recorder.done) == ["a", "b", "model.yaml"]


def test_pulling_what_is_here_fetches_nothing_and_what_is_damaged_is_repaired(
    store: ThreadedStore, local: LocalStore
) -> None:
    model = save_files(local, "m", {"a": os.urandom(1000), "b": os.urandom(1000)})
    push(store.url, local, model.tag)
    intact = files_below(model.path)
    recorder = Recorder()
    pull(store.url, local, "m", progress=recorder)
    assert recorder.files == {}
    (model.path / "a").write_bytes(b"damaged")
    pull(store.url, local, "m")
    assert files_below(model.path) == intact


def test_labels_given_to_push_are_set_in_the_store_alone(
    store: ThreadedStore, local: LocalStore, client: RegistryClient
) -> None:
    push(store.url, local, save_text(local, "m:1", labels={"a": "1"}).tag, labels={"b": "2"})
    assert client.version("m:1").labels == {"a": "1", "b": "2"}
    assert local.get("m:1").info.labels == {"a": "1"}


def test_references_resolve_at_the_store(
    store: ThreadedStore, local: LocalStore, other: LocalStore, client: RegistryClient
) -> None:
    for version in ("abc", "abd", "xyz"):
        push(store.url, local, save_text(local, f"m:{version}").tag)
    client.set_alias(Tag("m", "abd"), "prod")
    for ref, exact in [
        ("m", "xyz"),
        ("m:latest", "xyz"),
        ("m:prod", "abd"),
        ("m:abc", "abc"),
        ("m:x", "xyz"),
    ]:
        assert pull(store.url, other, ref).tag == Tag("m", exact)
    with pytest.raises(ModelNotFound, match="no model 'n'"):
        pull(store.url, other, "n")


def test_other_content_under_one_tag_is_refused_in_both_directions(
    store: ThreadedStore, local: LocalStore, other: LocalStore
) -> None:
    push(store.url, local, save_text(local, "m:1", "one").tag)
    mine = save_text(other, "m:1", "two")
    with pytest.raises(AlreadyExists):
        push(store.url, other, "m:1")
    with pytest.raises(AlreadyExists):
        pull(store.url, other, "m:1")
    assert other.get("m:1").digest == mine.digest
    assert pull(store.url, other, "m:1", force=True).digest == local.get("m:1").digest


def test_a_model_of_a_framework_predicts_the_same_after_its_journey(
    directory_store: ThreadedStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, rows = iris_classifier(), iris_rows()
    custom = {"names": ["a", "b"]}
    saved = vtsserving.sklearn.save_model("iris_clf", classifier, custom_objects=custom)
    monkeypatch.setenv("VTSSERVING_STORE_URL", directory_store.url)
    assert vtsserving.models.push("iris_clf:latest").tag == saved.tag
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "elsewhere"))
    pulled = vtsserving.models.pull("iris_clf:latest")
    assert pulled.custom_objects == custom
    loaded = vtsserving.sklearn.load_model("iris_clf:latest")
    assert (loaded.predict(rows) == classifier.predict(rows)).all()


def test_a_damaged_local_file_is_named_and_nothing_becomes_visible(
    store: ThreadedStore, local: LocalStore, client: RegistryClient
) -> None:
    for name, size in (("small", 100), ("large", PART + 100)):
        model = save_files(local, name, {"weights.bin": os.urandom(size)})
        content = bytearray((model.path / "weights.bin").read_bytes())
        content[size // 2] ^= 1
        (model.path / "weights.bin").write_bytes(content)
        with pytest.raises(IntegrityError, match=r"weights\.bin"):
            push(store.url, local, model.tag)
        with pytest.raises(ModelNotFound):
            client.version(name)


def test_two_pulls_of_one_model_at_once_both_succeed(
    store: ThreadedStore, local: LocalStore, other: LocalStore
) -> None:
    model = save_files(local, "m", {f"f{n}": os.urandom(200_000) for n in range(5)})
    push(store.url, local, model.tag)
    with ThreadPoolExecutor(4) as pool:
        pulled = list(pool.map(lambda _: pull(store.url, other, "m"), range(4)))
    assert {found.digest for found in pulled} == {model.digest}
    other.verify(model.tag)


def test_two_pushes_of_one_model_at_once_both_succeed(store: ThreadedStore, local: LocalStore) -> None:
    model = save_files(local, "m", {"large": os.urandom(2 * PART + 7), "small": b"x"})
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: push(store.url, local, model.tag), range(3)))
    with RegistryClient(store.url) as client:
        assert client.version("m").digest == model.digest
        assert (
            b"".join(client.download(f"sha256:{_large(model)}", 2 * PART + 7))
            == (model.path / "large").read_bytes()
        )


def _large(model: Model) -> str:
    entry = model.manifest.entry("large")
    assert entry is not None
    return entry.sha256


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(reset_after_bytes=300_000, times=2), id="reset"),
        pytest.param(Faults(truncate_after_bytes=300_000, times=2), id="truncated"),
        pytest.param(Faults(stall_after_bytes=300_000, times=2), id="stalled"),
        pytest.param(Faults(delay_s=0.02), id="slow"),
    ],
)
def test_a_pull_survives_broken_connections(
    impatient: None, directory_store: ThreadedStore, local: LocalStore, other: LocalStore, faults: Faults
) -> None:
    model = save_files(local, "m", {"w": os.urandom(2_000_000)})
    push(directory_store.url, local, model.tag)
    with FaultProxy(directory_store.app.port) as proxy:
        proxy.faults = faults
        assert pull(proxy.url, other, "m").digest == model.digest
    other.verify(model.tag)


def test_a_push_survives_reset_connections(proxy: FaultProxy, local: LocalStore, other: LocalStore) -> None:
    model = save_files(local, "m", {"w": os.urandom(2 * PART), "v": os.urandom(300_000)})
    proxy.faults = Faults(reset_request_after_bytes=1_000_000, times=3)
    push(proxy.url, local, model.tag)
    proxy.faults = Faults()
    assert pull(proxy.url, other, "m").digest == model.digest


@pytest.mark.parametrize("at", [200, 5_000, 300_000, 900_000])
def test_a_bit_flipped_on_the_way_never_reaches_the_local_store(
    directory_store: ThreadedStore, local: LocalStore, other: LocalStore, at: int
) -> None:
    model = save_files(local, "m", {"w": os.urandom(1_000_000)})
    push(directory_store.url, local, model.tag)
    with FaultProxy(directory_store.app.port) as proxy:
        proxy.faults = Faults(flip_at_byte=at)
        try:
            pull(proxy.url, other, "m")
        except VtsServingException:
            assert other.list() == []
        else:
            other.verify(model.tag)
        proxy.faults = Faults()
        assert pull(proxy.url, other, "m").digest == model.digest


def test_a_pull_goes_on_where_it_stopped(
    directory_store: ThreadedStore, local: LocalStore, other: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 3_000_000
    model = save_files(local, "m", {"w": os.urandom(size)})
    push(directory_store.url, local, model.tag)
    with FaultProxy(directory_store.app.port) as proxy:
        # Not a reset: that would also throw away what the client has not read yet.
        proxy.faults = Faults(truncate_after_bytes=size // 2)
        # With each attempt half of the rest arrives, until the client gives up.
        monkeypatch.setattr(registry_http, "STALL_TIMEOUT_S", 1.0)
        proxy.faults.times = 1
        proxy.faults.refuse = False
        with pytest.raises(StoreUnavailable), RegistryClient(proxy.url, attempts=1) as client:
            remote = client.version("m")
            from vtsserving._store_client.download import Downloads, download_model
            from vtsserving._store_client.progress import Silent

            with other.staging() as staged:
                downloads = Downloads(other.root / ".partial")
                download_model(client, remote, staged, downloads, threads=1, direct=False, progress=Silent())
        partial = sum(path.stat().st_size for path in (other.root / ".partial").glob("*.part"))
        assert partial > 1_000_000
        proxy.faults = Faults()
        with httpx2.Client(base_url=directory_store.url) as http:
            before = _sent_bytes(http)
            assert pull(proxy.url, other, "m").digest == model.digest
            assert _sent_bytes(http) - before < size - partial + 100_000


def _sent_bytes(http: httpx2.Client) -> float:
    for line in http.get("/metrics").text.splitlines():
        if line.startswith("vtsserving_store_sent_bytes_total "):
            return float(line.split()[1])
    raise AssertionError("no such metric")


def test_a_disk_without_room_is_said_before_anything_travels(
    store: ThreadedStore, local: LocalStore, other: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    push(store.url, local, save_text(local, "m:1").tag)
    usage = shutil.disk_usage(local.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(NoSpace, match="only 10 are free"):
        pull(store.url, other, "m")
    assert other.list() == []


def answering(body: bytes, content_type: bytes, status: bytes = b"200 OK") -> Any:
    """A server that gives every request the same answer."""
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = str(len(body)).encode()
            self.wfile.write(b"HTTP/1.1 %s\r\ncontent-type: %s\r\n" % (status, content_type))
            self.wfile.write(b"content-length: %s\r\nconnection: close\r\n\r\n%s" % (length, body))

        def log_message(self, *_: object) -> None:
            return

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.mark.parametrize(
    ("body", "kind", "status", "error", "exit_code", "says"),
    [
        (b"<html>", b"text/html", b"200 OK", StoreUnavailable, 7, "web page"),
        (b"<html>", b"text/html", b"502 Bad Gateway", StoreUnavailable, 7, "proxy"),
        (b'{"a": 1}', b"application/json", b"200 OK", NotAStore, 1, "is this a store"),
        (b"[]", b"application/json", b"200 OK", NotAStore, 1, "is this a store"),
        (b"hello", b"text/plain", b"200 OK", NotAStore, 1, "is this a store"),
    ],
)
def test_b77_what_is_no_store_is_told_from_one_that_is_down(
    other: LocalStore, body: bytes, kind: bytes, status: bytes, error: Any, exit_code: int, says: str
) -> None:
    with answering(body, kind, status) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with (
                pytest.raises(error, match=says) as caught,
                RegistryClient(f"http://127.0.0.1:{server.server_port}", attempts=1) as client,
            ):
                client.version("m")
        finally:
            server.shutdown()
            thread.join()
    assert caught.value.exit_code == exit_code


def test_b77_nothing_listens_or_tls_is_not_spoken(proxy: FaultProxy) -> None:
    with (
        pytest.raises(StoreUnavailable, match="nothing answers"),
        RegistryClient("http://127.0.0.1:1", attempts=1) as c,
    ):
        c.version("m")
    url = f"https://127.0.0.1:{proxy.port}"
    with pytest.raises(StoreUnavailable, match="TLS"), RegistryClient(url, attempts=1) as c:
        c.version("m")
    for url in ("", "ftp://x", "127.0.0.1:3001", "http://", "http://x:99999"):
        with pytest.raises(VtsServingException, match="address of a store"):
            RegistryClient(url)


def test_the_catalog_serves_what_it_knows_while_the_store_is_down(
    proxy: FaultProxy, local: LocalStore
) -> None:
    model = push(proxy.url, local, save_text(local, "m:1").tag)
    catalog = StoreCatalog(proxy.url)

    async def resolve() -> str:
        entry = await catalog.resolve("m:latest")
        return entry.digest

    assert asyncio.run(resolve()) == model.digest
    proxy.faults = Faults(refuse=True)
    catalog.invalidate()
    assert asyncio.run(resolve()) == model.digest
    catalog.close()
    fresh = StoreCatalog(proxy.url)
    with pytest.raises(StoreUnavailable):
        asyncio.run(fresh.resolve("m:latest"))
    fresh.close()
