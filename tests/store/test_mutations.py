"""Whatever byte is changed, wherever it lies or travels: it is refused before anything is unpickled."""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.fault_proxy import FaultProxy, Faults
from support.proofs import Proof
from support.sdk import files_below
from support.stores import ThreadedStore
from vtsserving import picklable_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import client, transfer
from vtsserving.exceptions import IntegrityError, VtsServingException
from vtsserving_runner.models.cache import StoreSource
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.objects.probe import open_storage


class Trap:
    """Leaves a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = str(marker)

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self._marker, "w")


class Mutations:
    """Changes bytes at random, or puts a pickle in their place that would run."""

    def __init__(self, seed: int, marker: Path) -> None:
        self._random = random.Random(seed)
        self._trap = pickle.dumps(Trap(marker))

    def of(self, content: bytes) -> bytes:
        """Other bytes than these."""
        changed = content
        while changed == content:
            change = self._random.choice((self._flip, self._cut, self._extend, self._blank, self._replace))
            changed = change(content)
        return changed

    def one_of(self, things: list[Any]) -> Any:
        return self._random.choice(things)

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)

    def _flip(self, content: bytes) -> bytes:
        at = self.below(len(content))
        return content[:at] + bytes([content[at] ^ 1 << self.below(8)]) + content[at + 1 :]

    def _cut(self, content: bytes) -> bytes:
        return content[: self.below(len(content))]

    def _extend(self, content: bytes) -> bytes:
        return content + self._random.randbytes(1 + self.below(100))

    def _blank(self, content: bytes) -> bytes:
        start = self.below(len(content))
        return content[:start] + bytes(min(50, len(content) - start)) + content[start + 50 :]

    def _replace(self, content: bytes) -> bytes:
        # A pickle ends by itself, so what follows it may be anything: it has the right length.
        return self._trap + content[len(self._trap) :]


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What exists once a trap was unpickled."""
    return tmp_path / "unpickled"


@pytest.fixture
def mutations(proof: Proof, marker: Path) -> Mutations:
    return Mutations(proof.seed, marker)


@pytest.fixture
def model(store: ThreadedStore, monkeypatch: pytest.MonkeyPatch) -> Model:
    """Saved here and pushed."""
    monkeypatch.setattr(client, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setenv("VTSSERVING_STORE_URL", store.url)
    saved = picklable_model.save_model("m", partial(max, bytes(range(256)) * 4))
    return transfer.push(saved.tag)


@pytest.fixture
def storage(store: ThreadedStore) -> Iterator[ObjectStore]:
    """Where the store keeps everything, for those who change it behind its back."""
    opened = open_storage(store.settings)
    yield opened
    opened.close()


def is_refused(url: str, local: LocalStore, model: Model) -> bool:
    """Whether a pull fails and leaves nothing, or brings the model as it was in spite of all."""
    try:
        pulled = transfer.pull(model.tag, store_url=url, store=local)
    except VtsServingException:
        return local.list() == []
    return files_below(pulled.path) == files_below(model.path)


def stored(
    url: str, storage: ObjectStore, key: str, mutations: Mutations, model: Model, local: LocalStore
) -> bool:
    """Change an object of the storage, pull, and put it right again."""
    content = storage.read(key, limit_bytes=1 << 20)
    assert content is not None
    storage.put(key, mutations.of(content))
    with_change = is_refused(url, local, model) and local.list() == []
    storage.put(key, content)
    return with_change


def cached(source: StoreSource, mutations: Mutations, model: Model) -> bool:
    """Change a file in a runner's cache: the runner gets the model as it was."""
    path = source.fetch(model.tag.name, str(model.tag.version), model.digest)
    file: Path = mutations.one_of(sorted(file for file in path.rglob("*") if file.is_file()))
    file.write_bytes(mutations.of(file.read_bytes()))
    again = source.fetch(model.tag.name, str(model.tag.version), model.digest)
    return files_below(again) == files_below(model.path)


def loaded(mutations: Mutations, model: Model) -> bool:
    """Change a file of the local store, load the model, and put the file right again."""
    file = model.path_of(mutations.one_of([entry.path for entry in model.manifest.files]))
    content = file.read_bytes()
    file.write_bytes(mutations.of(content))
    try:
        picklable_model.load_model(model.tag)
    except IntegrityError:
        return True
    finally:
        file.write_bytes(content)
    return False


@pytest.mark.prove
@pytest.mark.timeout(1200)
def test_every_mutation_is_refused_before_unpickling(
    store: ThreadedStore,
    storage: ObjectStore,
    model: Model,
    mutations: Mutations,
    marker: Path,
    tmp_path: Path,
    proof: Proof,
) -> None:
    each = proof.count(full=500, quick=20) // 5
    objects = [keys.blob(f"sha256:{entry.sha256}") for entry in model.manifest.files]
    record = keys.model(model.tag.name, str(model.tag.version))
    source = StoreSource(store.url, tmp_path / "cache")
    refused = dict.fromkeys(("blob", "manifest", "cache", "local store", "transit"), 0)
    with FaultProxy(store.app.port) as proxy:
        for number in range(each):
            fresh = [LocalStore(tmp_path / f"{place}{number}" / "models") for place in range(3)]
            key = mutations.one_of(objects)
            refused["blob"] += stored(store.url, storage, key, mutations, model, fresh[0])
            refused["manifest"] += stored(store.url, storage, record, mutations, model, fresh[1])
            refused["cache"] += cached(source, mutations, model)
            refused["local store"] += loaded(mutations, model)
            proxy.faults = Faults(flip_at_byte=mutations.below(6_000))
            refused["transit"] += is_refused(proxy.url, fresh[2], model)
            assert not marker.exists()
    source.close()
    place = "directory" if store.settings.store.dir is not None else "bucket"
    proof.record(place, mutations=5 * each, refused=sum(refused.values()), unpickled=marker.exists())
    assert refused == dict.fromkeys(refused, each)
    assert is_refused(store.url, LocalStore(tmp_path / "last" / "models"), model)


def test_the_trap_of_these_tests_would_run(marker: Path) -> None:
    pickle.loads(pickle.dumps(Trap(marker))).close()
    assert marker.exists()
