"""F32, F33, F38: the store's process ends just before or just after any one of its writes to the storage."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

import pytest

from support.proofs import Proof
from support.sdk import save_text
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import VersionNotFound
from vtsserving_store.components import StoreComponents
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.settings import StoreSettings
from vtsserving_store.upkeep.fsck import Checker


class Death(BaseException):
    """What ends a process; nothing that it still wanted to do happens."""


class Mortal:
    """A storage whose process dies at its n-th write, before or after the write happened."""

    def __init__(self, objects: ObjectStore, at: int, *, after: bool) -> None:
        self._objects = objects
        self._left = at
        self._after = after
        self.is_dead = False

    def __getattr__(self, name: str) -> Any:
        if self.is_dead:
            raise Death
        return getattr(self._objects, name)

    def create(self, key: str, data: bytes) -> bool:
        return self._write(lambda: self._objects.create(key, data))

    def put(self, key: str, data: bytes | bytearray) -> None:
        self._write(lambda: self._objects.put(key, data))

    def assemble(self, key: str, chunks: Iterable[bytes], *, size_bytes: int, digest: str) -> None:
        self._write(lambda: self._objects.assemble(key, chunks, size_bytes=size_bytes, digest=digest))

    def delete(self, key: str) -> None:
        self._write(lambda: self._objects.delete(key))

    def _write(self, write: Callable[[], Any]) -> Any:
        if self.is_dead:
            raise Death
        self._left -= 1
        if self._left >= 0:
            return write()
        self.is_dead = True
        if self._after:
            write()
        raise Death


def push(parts: StoreComponents, model: Model) -> None:
    """What a client makes the store do; every file goes through an upload session."""
    contents = {f"sha256:{e.sha256}": model.path_of(e.path).read_bytes() for e in model.manifest.files}
    lease, missing = parts.leases.take(list(contents))
    for digest in missing:
        upload = parts.uploads.begin(digest, len(contents[digest]), "key")
        for number in range(1, upload.part_count + 1):
            parts.uploads.put_part(upload, number, bytearray(contents[digest]), "")
        parts.uploads.complete(upload)
    parts.registry.commit(model.tag.name, str(model.tag.version), model.manifest.to_bytes(), push=lease)


def survivors(
    objects: ObjectStore, settings: StoreSettings, proof: Proof, work: Callable[[StoreComponents], object]
) -> Iterable[StoreComponents]:
    """A fresh process after each death of one that did `work`, for every write of it, before and after.

    In a bucket, for every fifth write only, if this is no run at full size.
    """
    step = 1 if settings.store.dir is not None else proof.count(full=1, quick=5)
    for at in count(step=step):
        for after in (False, True):
            mortal = Mortal(objects, at, after=after)
            parts = StoreComponents.on(mortal, settings)
            with contextlib.suppress(Death):
                work(parts)
            parts.content.close()
            parts.index.close()
            if not mortal.is_dead:
                assert at > 2, "it wrote nothing"
                return
            survivor = StoreComponents.on(objects, settings)
            yield survivor
            survivor.content.close()
            survivor.index.close()


def is_whole(parts: StoreComponents, model: Model) -> bool:
    """Whether the version is there; if so, every byte must be."""
    try:
        version = parts.registry.get(model.tag.name, str(model.tag.version))
    except VersionNotFound:
        return False
    assert version.digest == model.digest
    for digest in version.blob_digests():
        content = parts.objects.read(keys.blob(digest), limit_bytes=1 << 20)
        assert content is not None
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return True


def damage(objects: ObjectStore) -> list[str]:
    return [f"{f.key} {f.text}" for f in Checker(objects, deep=True).findings() if f.severity == "damage"]


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_f32_f33_a_push_during_which_the_store_dies_is_absent_or_whole_and_succeeds_again(
    objects: ObjectStore, settings: StoreSettings, local: LocalStore, proof: Proof
) -> None:
    push(StoreComponents.on(objects, settings), save_text(local, "m:0", "another version"))
    model = save_text(local, "m:1")
    seen = []
    for survivor in survivors(objects, settings, proof, lambda parts: push(parts, model)):
        seen.append(is_whole(survivor, model))
        assert damage(objects) == []
        push(survivor, model)
        assert is_whole(survivor, model)
        survivor.registry.delete("m", "1")
        for key in [entry.key for entry in objects.entries(keys.LEASES)]:
            objects.delete(key)  # what their age does in time
        survivor.collector.run(grace_s=0)
    proof.record("a push", deaths=len(seen), absent=seen.count(False), whole=seen.count(True))
    assert False in seen, "it never died before the commit"
    assert True in seen, "it never died after the commit"


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_f38_a_collection_during_which_the_store_dies_deletes_nothing_needed_and_is_finished_by_the_next(
    objects: ObjectStore, settings: StoreSettings, local: LocalStore, proof: Proof
) -> None:
    parts = StoreComponents.on(objects, settings)
    kept, dropped = save_text(local, "kept:1", "kept"), save_text(local, "dropped:1", "dropped")
    push(parts, kept)
    needed = {keys.blob(f"sha256:{entry.sha256}") for entry in kept.manifest.files}

    def collect(dying: StoreComponents) -> None:
        push(parts, dropped)
        parts.registry.delete("dropped", "1")
        dying.collector.run(grace_s=0)

    deaths = 0
    for survivor in survivors(objects, settings, proof, collect):
        deaths += 1
        assert is_whole(survivor, kept)
        assert damage(objects) == []
        for key in [entry.key for entry in objects.entries(keys.CONDEMNED)]:
            objects.delete(key)  # what their age does in time
        survivor.collector.run(grace_s=0)
        assert {entry.key for entry in objects.entries(keys.BLOBS)} == needed
    proof.record("a collection", deaths=deaths)
    parts.content.close()
    parts.index.close()
