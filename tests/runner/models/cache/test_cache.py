"""The runner's cache: whole and verified or absent, shared by runners, the least used leaves first."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.fault_proxy import FaultProxy, Faults
from support.sdk import files_below, save_text
from support.stores import ThreadedStore, store_settings
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import transfer
from vtsserving.exceptions import StoreUnavailable, VersionNotFound, VtsServingException
from vtsserving_runner.models.cache import StoreSource


@pytest.fixture
def running(tmp_path: Path) -> Iterator[ThreadedStore]:
    with ThreadedStore(store_settings(tmp_path / "store")) as store:
        yield store


@pytest.fixture
def push(running: ThreadedStore, local: LocalStore) -> Callable[..., Model]:
    def save_and_push(tag: str, content: str = "x") -> Model:
        return transfer.push(save_text(local, tag, content).tag, store_url=running.url, store=local)

    return save_and_push


@pytest.fixture
def source(running: ThreadedStore, tmp_path: Path) -> Iterator[StoreSource]:
    made = StoreSource(running.url, tmp_path / "cache")
    yield made
    made.close()


def fetch(source: StoreSource, model: Model) -> Path:
    return source.fetch(model.tag.name, str(model.tag.version), model.digest)


def test_a_model_arrives_whole_and_is_fetched_once(
    running: ThreadedStore, source: StoreSource, push: Callable[..., Model]
) -> None:
    model = push("m:1")
    path = fetch(source, model)
    assert files_below(path) == files_below(model.path)
    running.call(running.app.drain())
    assert fetch(source, model) == path


def test_another_digest_than_the_one_asked_for_is_refused(
    source: StoreSource, push: Callable[..., Model], tmp_path: Path
) -> None:
    push("m:1")
    with pytest.raises(VersionNotFound, match="other content"):
        source.fetch("m", "1", "sha256:" + "0" * 64)
    assert list((tmp_path / "cache" / "models").iterdir()) == []


def test_runners_that_want_one_model_at_once_share_it(
    running: ThreadedStore, push: Callable[..., Model], tmp_path: Path
) -> None:
    model = push("m:1", "x" * 1_000_000)
    sources = [StoreSource(running.url, tmp_path / "cache") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda source: fetch(source, model), sources))
    assert len(paths) == 1
    assert files_below(paths.pop()) == files_below(model.path)
    for source in sources:
        source.close()


def test_every_flipped_byte_in_the_cache_is_found_and_fetched_anew(
    source: StoreSource, push: Callable[..., Model]
) -> None:
    model = push("m:1", "some weights")
    path = fetch(source, model)
    for file in sorted(path.rglob("*")):
        content = file.read_bytes()
        for at in range(0, len(content), max(1, len(content) // 8)):
            file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert files_below(fetch(source, model)) == files_below(model.path)
    (path / "weights.txt").unlink()
    assert files_below(fetch(source, model)) == files_below(model.path)


def test_the_least_recently_used_leaves_first_and_what_is_used_stays(
    running: ThreadedStore, push: Callable[..., Model], tmp_path: Path
) -> None:
    models = [push(f"m:{n}", f"{n}" * 10_000) for n in range(4)]
    limit = sum(model.size_bytes for model in models[:2]) + 100
    source = StoreSource(running.url, tmp_path / "cache", limit_bytes=limit)
    other = StoreSource(running.url, tmp_path / "cache", limit_bytes=limit)
    paths = []
    for number, model in enumerate(models[:3]):
        paths.append(fetch(source, model))
        os.utime(paths[-1], (number, number))
    assert all(path.is_dir() for path in paths), "a runner uses all three"
    source.release(models[0].digest)
    source.release(models[2].digest)
    newest = fetch(other, models[3])
    assert [path.is_dir() for path in (*paths, newest)] == [False, True, False, True]
    source.close()
    other.close()


@pytest.mark.parametrize(
    "faults",
    [Faults(flip_at_byte=100_000), Faults(truncate_after_bytes=100_000), Faults(reset_after_bytes=100_000)],
    ids=["flipped", "truncated", "reset"],
)
def test_what_arrives_damaged_is_never_used(
    running: ThreadedStore, push: Callable[..., Model], tmp_path: Path, faults: Faults
) -> None:
    model = push("m:1", os.urandom(400_000).hex())
    with FaultProxy(running.app.port) as proxy:
        source = StoreSource(proxy.url, tmp_path / "cache")
        proxy.faults = faults
        try:
            path = fetch(source, model)
        except VtsServingException:
            assert list((tmp_path / "cache" / "models").iterdir()) == []
        else:
            assert files_below(path) == files_below(model.path)
        # A connection keeps the faults that it was made with: what follows needs new ones.
        source.close()
        proxy.faults = Faults()
        source = StoreSource(proxy.url, tmp_path / "cache")
        assert files_below(fetch(source, model)) == files_below(model.path)
        source.close()


def test_a_store_that_is_down_is_said_so_and_nothing_is_left(tmp_path: Path) -> None:
    source = StoreSource("http://127.0.0.1:1", tmp_path / "cache")
    source._client._attempts = 1
    with pytest.raises(StoreUnavailable):
        source.fetch("m", "1", "sha256:" + "0" * 64)
    assert list((tmp_path / "cache" / "models").iterdir()) == []
    source.close()


def test_releasing_never_blocks(source: StoreSource, push: Callable[..., Model]) -> None:
    model = push("m:1")
    fetch(source, model)
    thread = threading.Thread(target=source.release, args=(model.digest,))
    thread.start()
    thread.join(1)
    assert not thread.is_alive()
    source.release(model.digest)
