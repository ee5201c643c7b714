"""Garbage collection: what goes, what stays, and why a push never loses a blob to it."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.proofs import Proof
from support.sdk import save_text
from support.stores import store_settings
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import BlobUnknown, IntegrityError, NotFound
from vtsserving_store import maintenance
from vtsserving_store.components import StoreComponents
from vtsserving_store.objects import keys
from vtsserving_store.objects.directory import DirectoryObjectStore
from vtsserving_store.objects.object_store import ObjectEntry, ObjectStore
from vtsserving_store.settings import StoreSection, StoreSettings
from vtsserving_store.upkeep.backup import copy_store
from vtsserving_store.upkeep.fsck import Checker
from vtsserving_store.upkeep.gc import GarbageCollector


def digests(model: Model) -> list[str]:
    return [f"sha256:{entry.sha256}" for entry in model.manifest.files]


def push(parts: StoreComponents, model: Model) -> None:
    """What a client does, without HTTP."""
    lease, missing = parts.leases.take(digests(model))
    for entry in model.manifest.files:
        if f"sha256:{entry.sha256}" in missing:
            parts.content.put(f"sha256:{entry.sha256}", model.path_of(entry.path).read_bytes())
    version = model.tag.version or ""
    parts.registry.commit(model.tag.name, version, model.manifest.to_bytes(), push=lease)


def blob_keys(objects: ObjectStore) -> set[str]:
    return {entry.key for entry in objects.entries(keys.BLOBS)}


def test_only_what_no_version_needs_goes(parts: StoreComponents, local: LocalStore) -> None:
    kept, dropped = save_text(local, "m:1", "kept"), save_text(local, "m:2", "dropped")
    push(parts, kept)
    push(parts, dropped)
    parts.registry.delete("m", "2")
    would = parts.collector.run(dry_run=True, grace_s=0)
    assert blob_keys(parts.objects) == {keys.blob(d) for d in digests(kept) + digests(dropped)}
    done = parts.collector.run(grace_s=0)
    assert (would.blobs, would.bytes) == (done.blobs, done.bytes) == (2, dropped.size_bytes)
    assert blob_keys(parts.objects) == {keys.blob(d) for d in digests(kept)}
    assert list(parts.objects.entries(keys.CONDEMNED)) == []


def test_young_blobs_stay(parts: StoreComponents) -> None:
    parts.content.put("sha256:" + "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", b"")
    assert parts.collector.run().blobs == 0
    assert parts.collector.run(grace_s=0).blobs == 1


class DatedLikeHttp(DirectoryObjectStore):
    """Dates single objects in whole seconds and listings exactly, as MinIO and Ceph do."""

    def stat(self, key: str) -> ObjectEntry | None:
        found = super().stat(key)
        return None if found is None else found._replace(modified_s=float(int(found.modified_s)))


def test_without_grace_what_was_just_written_goes_though_single_objects_are_dated_in_seconds(
    tmp_path: Path, local: LocalStore
) -> None:
    parts = StoreComponents.on(DatedLikeHttp(tmp_path / "store"), store_settings(tmp_path / "store"))
    model = save_text(local, "m:1")
    push(parts, model)
    parts.registry.delete("m", "1")
    assert parts.collector.run(grace_s=0).blobs == 2
    parts.close()


def test_what_a_live_push_counts_on_stays(parts: StoreComponents, local: LocalStore) -> None:
    model = save_text(local, "m:1")
    push(parts, model)
    parts.registry.delete("m", "1")
    lease, missing = parts.leases.take(digests(model))
    assert missing == []
    assert parts.collector.run(grace_s=0).blobs == 0
    parts.registry.commit("m", "1", model.manifest.to_bytes(), push=lease)
    parts.registry.delete("m", "1")
    assert parts.collector.run(grace_s=0).blobs == 2


def test_a_push_waits_for_blobs_whose_fate_is_open(parts: StoreComponents, local: LocalStore) -> None:
    model = save_text(local, "m:1")
    push(parts, model)
    condemned = keys.condemned(digests(model)[0])
    parts.objects.create(condemned, b"{}")
    took: list[list[str]] = []
    thread = threading.Thread(target=lambda: took.append(parts.leases.take(digests(model))[1]))
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    parts.objects.delete(keys.blob(digests(model)[0]))
    parts.objects.delete(condemned)
    thread.join(10)
    assert took == [[digests(model)[0]]]


def test_a_damaged_record_stops_the_collection(parts: StoreComponents, local: LocalStore) -> None:
    push(parts, save_text(local, "m:1"))
    parts.objects.put(keys.model("m", "1"), b"damaged")
    before = blob_keys(parts.objects)
    with pytest.raises(IntegrityError, match="nothing is deleted"):
        parts.collector.run(grace_s=0)
    assert blob_keys(parts.objects) == before


class Dying(DirectoryObjectStore):
    """A directory whose process dies at the n-th delete."""

    def __init__(self, root: Path, deletes: int) -> None:
        super().__init__(root)
        self.left = deletes

    def delete(self, key: str) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().delete(key)


def test_a_collection_that_dies_anywhere_is_finished_by_the_next(tmp_path: Path, local: LocalStore) -> None:
    settings = store_settings(tmp_path / "store")
    kept = save_text(local, "kept:1")
    for deletes in range(6):
        parts = StoreComponents.on(DirectoryObjectStore(tmp_path / "store"), settings)
        push(parts, kept)
        for number in range(2):
            push(parts, save_text(local, f"m{deletes}:{number}", f"{deletes} {number}"))
            parts.registry.delete(f"m{deletes}", str(number))
        dying = Dying(tmp_path / "store", deletes)
        with pytest.raises(KeyboardInterrupt):
            GarbageCollector(dying, parts.leases, grace_s=0).run()
        for entry in list(parts.objects.entries(keys.CONDEMNED)):
            parts.objects.delete(entry.key)  # what their age does in time
        parts.collector.run(grace_s=0)
        assert blob_keys(parts.objects) == {keys.blob(d) for d in digests(kept)}
        assert [f for f in Checker(parts.objects, deep=True).findings() if f.severity == "damage"] == []
        parts.close()


@pytest.mark.prove
@pytest.mark.timeout(900)
def test_pushes_beside_collections_never_lose_a_blob(
    parts: StoreComponents, settings: StoreSettings, tmp_path: Path, proof: Proof
) -> None:
    """Few models come and go over and over, so that pushes and collections meet over the same blobs."""
    pushes, collections_wanted = proof.count(full=1_000, quick=40), proof.count(full=500, quick=5)
    local = LocalStore(tmp_path / "models")
    models = [save_text(local, f"m{n}:1", f"content {n}") for n in range(4)]
    done = threading.Event()
    collections = [0]

    def collect() -> None:
        replica = StoreComponents.on(parts.objects, settings)
        while not done.is_set():
            replica.collector.run(grace_s=0)
            collections[0] += 1
        replica.content.close()
        replica.index.close()

    unknown = pushed = 0
    collectors = [threading.Thread(target=collect) for _ in range(2)]
    for thread in collectors:
        thread.start()
    chosen = random.Random(proof.seed)
    try:
        while pushed < pushes or collections[0] < collections_wanted:
            pushed += 1
            model = chosen.choice(models)
            try:
                push(parts, model)
            except BlobUnknown:
                unknown += 1
            assert parts.content.missing(digests(model)) == []
            parts.registry.delete(model.tag.name, "1")
    finally:
        done.set()
        for thread in collectors:
            thread.join()
    proof.record(
        parts.objects.describe().split()[0], pushes=pushed, collections=collections[0], unknown=unknown
    )
    assert unknown == 0


def findings(objects: ObjectStore, *, deep: bool = False) -> list[tuple[str, str]]:
    return [(found.severity, found.key) for found in Checker(objects, deep=deep).findings()]


def test_fsck_finds_nothing_in_a_sound_store(parts: StoreComponents, local: LocalStore) -> None:
    push(parts, save_text(local, "m:1"))
    parts.aliases.move("m", "prod", "1", by="")
    parts.labels.edit("m", "1", {}, {"a": "b"}, by="")
    assert findings(parts.objects, deep=True) == []


def test_fsck_names_each_inconsistency(parts: StoreComponents, local: LocalStore) -> None:
    first, second = save_text(local, "m:1", "first"), save_text(local, "m:2", "other")
    push(parts, first)
    push(parts, second)
    text = next(e for e in first.manifest.files if e.path == "weights.txt")
    other = next(e for e in second.manifest.files if e.path == "weights.txt")
    parts.objects.delete(keys.blob(f"sha256:{text.sha256}"))
    parts.objects.put(keys.blob(f"sha256:{other.sha256}"), b"OTHER")
    parts.content.put("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", b"")
    parts.aliases.move("m", "old", "9", by="")
    parts.objects.put("aliases/m/bad/0000000001", b"not json")
    parts.objects.put("models/m/3", b"damaged")
    assert sorted(findings(parts.objects, deep=True)) == sorted(
        [
            ("damage", keys.model("m", "1")),
            ("damage", keys.blob(f"sha256:{other.sha256}")),
            (
                "leftover",
                keys.blob("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ),
            ("warning", "aliases/m/old/0000000001"),
            ("damage", "aliases/m/bad/0000000001"),
            ("damage", keys.model("m", "3")),
        ]
    )


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[DirectoryObjectStore]:
    yield DirectoryObjectStore(tmp_path / "elsewhere")


def test_a_backup_holds_everything_and_restores_it(
    parts: StoreComponents, local: LocalStore, elsewhere: DirectoryObjectStore, tmp_path: Path
) -> None:
    model = save_text(local, "m:1")
    push(parts, model)
    parts.aliases.move("m", "prod", "1", by="")
    parts.labels.edit("m", "1", {}, {"a": "b"}, by="")
    parts.tokens.create("ci", "push")
    copied = copy_store(parts.objects, elsewhere)
    assert (copied.versions, copied.blobs) == (1, 2)
    assert copy_store(parts.objects, elsewhere).blobs == 0
    fresh = DirectoryObjectStore(tmp_path / "fresh")
    copy_store(elsewhere, fresh)
    assert findings(fresh, deep=True) == []
    restored = StoreComponents.on(fresh, store_settings(tmp_path / "fresh"))
    assert restored.registry.get("m", "prod").digest == model.digest
    assert restored.labels.get("m", "1") == {"a": "b"}
    assert restored.tokens.list() == []
    restored.close()


def test_a_shared_file_is_copied_and_counted_once(
    parts: StoreComponents, local: LocalStore, elsewhere: DirectoryObjectStore
) -> None:
    for tag in ("m:1", "m:2"):
        push(parts, save_text(local, tag, "the same"))
    copied = copy_store(parts.objects, elsewhere)
    assert (copied.versions, copied.blobs, copied.present) == (2, 3, 0)


@pytest.mark.parametrize("damaged", [b"the SAME", b"too short by far", b""])
def test_restoring_a_backup_repairs_what_is_damaged_and_keeps_the_rest(
    parts: StoreComponents, local: LocalStore, elsewhere: DirectoryObjectStore, damaged: bytes
) -> None:
    model = save_text(local, "m:1", "the same")
    push(parts, model)
    copy_store(parts.objects, elsewhere)
    weights = next(e for e in model.manifest.files if e.path == "weights.txt")
    key = keys.blob(f"sha256:{weights.sha256}")
    parts.objects.put(key, damaged)
    assert findings(parts.objects, deep=True) == [("damage", key)]
    assert copy_store(elsewhere, parts.objects).repaired == 0
    restored = copy_store(elsewhere, parts.objects, repair=True)
    assert (restored.repaired, restored.blobs) == (1, 1)
    assert findings(parts.objects, deep=True) == []


def test_what_looks_after_a_store_makes_none(settings: StoreSettings, tmp_path: Path) -> None:
    nowhere = f"nowhere-{secrets.token_hex(6)}"
    if settings.store.dir is not None:
        absent = settings.model_copy(update={"store": StoreSection(dir=tmp_path / nowhere)})
    else:
        absent = settings.model_copy(update={"s3": settings.s3.model_copy(update={"bucket": nowhere})})
    for look in (
        lambda: list(maintenance.check(absent, deep=False)),
        lambda: maintenance.backup(absent, tmp_path / "backup"),
    ):
        with pytest.raises(NotFound, match=nowhere):
            look()
    for directory in (tmp_path / nowhere, tmp_path):
        with pytest.raises(NotFound, match="no backup"):
            maintenance.restore(settings, directory)
    assert not (tmp_path / nowhere).exists()
    assert not (tmp_path / ".tmp").exists(), "nor is anything written into a directory that is no backup"
