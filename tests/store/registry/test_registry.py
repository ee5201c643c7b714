"""Versions never change, names resolve to what the storage has now, and damage is named."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.sdk import save_text
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import (
    AlreadyExists,
    BlobUnknown,
    Conflict,
    IntegrityError,
    InUse,
    InvalidManifest,
    InvalidTag,
    ModelNotFound,
    SizeMismatch,
    TooLarge,
    VersionNotFound,
    VtsServingException,
)
from vtsserving_store.components import StoreComponents
from vtsserving_store.objects import keys
from vtsserving_store.registry.registry import MAX_MANIFEST_BYTES
from vtsserving_store.settings import StoreSettings


def put_blobs(parts: StoreComponents, model: Model) -> None:
    for entry in model.manifest.files:
        parts.content.put(f"sha256:{entry.sha256}", model.path_of(entry.path).read_bytes())


def commit(parts: StoreComponents, model: Model) -> bool:
    put_blobs(parts, model)
    version = model.tag.version or ""
    return parts.registry.commit(model.tag.name, version, model.manifest.to_bytes())[1]


def test_a_committed_version_is_found_as_it_was(parts: StoreComponents, local: LocalStore) -> None:
    model = save_text(local, "m:1", labels={"team": "a"})
    assert commit(parts, model)
    found = parts.registry.get("m", "1")
    assert found.digest == model.digest
    assert found.info == model.info.to_json_dict()


def test_the_same_manifest_again_is_fine_and_not_new(parts: StoreComponents, local: LocalStore) -> None:
    model = save_text(local, "m:1")
    assert commit(parts, model)
    assert not commit(parts, model)


def test_other_content_under_the_same_tag_is_refused(
    parts: StoreComponents, local: LocalStore, other: LocalStore
) -> None:
    first = save_text(local, "m:1", "one")
    commit(parts, first)
    with pytest.raises(AlreadyExists, match="versions never change"):
        commit(parts, save_text(other, "m:1", "two"))
    assert parts.registry.get("m", "1").digest == first.digest


def test_of_racing_writers_of_one_tag_exactly_one_wins(
    parts: StoreComponents, settings: StoreSettings, tmp_path: Path
) -> None:
    replica = StoreComponents.on(parts.objects, settings)
    models = [save_text(LocalStore(tmp_path / str(n)), "m:1", f"content {n}") for n in range(8)]
    for model in models:
        put_blobs(parts, model)
    barrier = threading.Barrier(len(models))

    def write(number: int) -> bool:
        barrier.wait()
        model = models[number]
        try:
            used = (parts, replica)[number % 2]
            return used.registry.commit("m", "1", model.manifest.to_bytes())[1]
        except AlreadyExists:
            return False

    with ThreadPoolExecutor(len(models)) as pool:
        won = list(pool.map(write, range(len(models))))
    replica.content.close()
    replica.index.close()
    assert won.count(True) == 1
    assert parts.registry.get("m", "1").digest == models[won.index(True)].digest


def test_latest_is_the_newest_by_creation_time_whatever_the_order_of_pushes(
    parts: StoreComponents, local: LocalStore
) -> None:
    older, newer = save_text(local, "m"), save_text(local, "m")
    commit(parts, newer)
    commit(parts, older)
    assert parts.registry.get("m", "latest").manifest.version == newer.tag.version
    assert [s.version for s in parts.registry.versions("m")] == [newer.tag.version, older.tag.version]


def test_references_resolve_in_order_exact_latest_alias_prefix(
    parts: StoreComponents, local: LocalStore
) -> None:
    for version in ("abc1", "abc2", "prod"):
        commit(parts, save_text(local, f"m:{version}"))
    parts.aliases.move("m", "prod", "abc1", by="")
    parts.aliases.move("m", "stable", "abc2", by="")
    resolved = {
        ref: parts.registry.get("m", ref).manifest.version for ref in ("prod", "stable", "abc1", "pr")
    }
    assert resolved == {"prod": "prod", "stable": "abc2", "abc1": "abc1", "pr": "prod"}
    with pytest.raises(VersionNotFound, match="fits 2 versions"):
        parts.registry.get("m", "abc")


def test_what_is_not_there_is_answered_with_near_names(parts: StoreComponents, local: LocalStore) -> None:
    commit(parts, save_text(local, "iris_clf:v1"))
    parts.index.all()
    with pytest.raises(ModelNotFound, match="did you mean iris_clf"):
        parts.registry.get("iris_cfl", "latest")
    with pytest.raises(VersionNotFound, match="it has v1"):
        parts.registry.get("iris_clf", "v2")


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "stats", "con", "a" * 64, "a\n", "\u0131"])
def test_bad_names_are_refused_before_anything_is_read(parts: StoreComponents, name: str) -> None:
    with pytest.raises(InvalidTag):
        parts.registry.get(name, "latest")


def test_a_manifest_with_missing_blobs_is_refused_and_nothing_is_visible(
    parts: StoreComponents, local: LocalStore
) -> None:
    model = save_text(local, "m:1")
    with pytest.raises(BlobUnknown, match="were not pushed"):
        parts.registry.commit("m", "1", model.manifest.to_bytes())
    with pytest.raises(ModelNotFound):
        parts.registry.get("m", "1")
    assert parts.leases.protected() == set()


@pytest.mark.parametrize("more", [1, -1])
def test_b53_a_manifest_that_claims_another_size_than_its_blob_has_is_refused(
    parts: StoreComponents, local: LocalStore, more: int
) -> None:
    model = save_text(local, "m:1")
    put_blobs(parts, model)
    saved = model.manifest
    files = [f if f.path == "model.yaml" else f._replace(size=f.size + more) for f in saved.files]
    lying = dataclasses.replace(saved, files=tuple(files))
    with pytest.raises(SizeMismatch, match="in the manifest; its blob has"):
        parts.registry.commit("m", "1", lying.to_bytes())
    with pytest.raises(ModelNotFound):
        parts.registry.get("m", "1")
    assert commit(parts, model), "the honest one is taken"


def test_a_manifest_that_contradicts_the_url_or_itself_is_refused(
    parts: StoreComponents, local: LocalStore
) -> None:
    model = save_text(local, "m:1")
    put_blobs(parts, model)
    raw = model.manifest.to_bytes()
    for name, version, body in [
        ("n", "1", raw),
        ("m", "2", raw),
        ("m", "1", raw + b" "),
        ("m", "1", raw.replace(b'"m"', b'"n"')),
        ("m", "1", b"[" * 100_000),
        ("m", "1", b""),
    ]:
        with pytest.raises(InvalidManifest):
            parts.registry.commit(name, version, body)
    with pytest.raises(TooLarge):
        parts.registry.commit("m", "1", b" " * (MAX_MANIFEST_BYTES + 1))


def test_a_deleted_version_is_gone_and_its_blobs_stay_for_now(
    parts: StoreComponents, local: LocalStore
) -> None:
    model = save_text(local, "m:1")
    commit(parts, model)
    parts.registry.delete("m", "1")
    with pytest.raises(ModelNotFound):
        parts.registry.get("m", "1")
    with pytest.raises(VersionNotFound):
        parts.registry.delete("m", "1")
    assert not parts.content.missing([f"sha256:{entry.sha256}" for entry in model.manifest.files])


def test_a_version_with_an_alias_is_deleted_only_by_force(parts: StoreComponents, local: LocalStore) -> None:
    commit(parts, save_text(local, "m:1"))
    parts.aliases.move("m", "prod", "1", by="")
    with pytest.raises(InUse, match="prod"):
        parts.registry.delete("m", "1")
    parts.registry.delete("m", "1", force=True)
    assert parts.aliases.all("m") == {}


def test_aliases_move_and_remember(parts: StoreComponents, local: LocalStore) -> None:
    parts.aliases.move("m", "prod", "1", by="ann")
    parts.aliases.move("m", "prod", "2", by="bob")
    parts.aliases.move("m", "prod", None, by="bob")
    moves = parts.aliases.history("m", "prod")
    assert [(move["number"], move["version"], move["by"]) for move in moves] == [
        (3, None, "bob"),
        (2, "2", "bob"),
        (1, "1", "ann"),
    ]
    assert parts.aliases.target("m", "prod") is None


def test_of_racing_moves_that_expect_the_same_start_one_wins(parts: StoreComponents) -> None:
    parts.aliases.move("m", "prod", "0", by="")
    barrier = threading.Barrier(6)

    def move(number: int) -> bool:
        barrier.wait()
        try:
            parts.aliases.move("m", "prod", str(number), by="", expected="0")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        won = list(pool.map(move, range(1, 7)))
    assert won.count(True) == 1
    assert parts.aliases.target("m", "prod") == str(won.index(True) + 1)


def test_edited_labels_win_and_the_model_stays_as_saved(parts: StoreComponents, local: LocalStore) -> None:
    model = save_text(local, "m:1", labels={"team": "a", "stage": "dev"})
    commit(parts, model)
    labels = parts.labels.edit(
        "m", "1", {"team": "a", "stage": "dev"}, {"stage": "prod", "team": None}, by=""
    )
    assert labels == {"stage": "prod"}
    assert dict(parts.index.labelled("m")[0].labels) == {"stage": "prod"}
    assert dict(parts.index.all()[0].labels) == {"stage": "prod"}
    assert parts.registry.get("m", "1").info["labels"] == {"team": "a", "stage": "dev"}


def test_labels_of_a_deleted_version_do_not_come_back_with_it(
    parts: StoreComponents, local: LocalStore
) -> None:
    model = save_text(local, "m:1", labels={"a": "1"})
    commit(parts, model)
    parts.labels.edit("m", "1", {"a": "1"}, {"a": "2"}, by="")
    assert parts.labels.get("m", "1") == {"a": "2"}
    parts.registry.delete("m", "1")
    commit(parts, model)
    assert parts.labels.get("m", "1") is None
    parts.labels.edit("m", "1", {"a": "1"}, {"a": "3"}, by="")
    assert parts.labels.get("m", "1") == {"a": "3"}


def test_options_that_many_change_at_once_are_all_kept(parts: StoreComponents) -> None:
    def change(number: int) -> None:
        parts.options.edit("m", None, {f"method{number}.max_batch_size": number}, (), by=str(number))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(change, range(1, 13)))
    configs = parts.options.of_version("m", "v")["method_configs"]
    assert configs == {f"method{number}": {"max_batch_size": number} for number in range(1, 13)}
    assert [record["number"] for record in parts.options.history("m")] == list(range(12, 0, -1))


def test_options_of_a_deleted_version_do_not_come_back_with_it(
    parts: StoreComponents, local: LocalStore
) -> None:
    model = save_text(local, "m:1")
    commit(parts, model)
    parts.options.edit("m", "1", {"max_batch_size": 3}, (), by="")
    parts.options.edit("m", None, {"max_wait_ms": 2}, (), by="")
    assert parts.options.of_version("m", "1") == {"max_batch_size": 3, "max_wait_ms": 2}
    parts.registry.delete("m", "1")
    commit(parts, model)
    assert parts.options.of_version("m", "1") == {"max_wait_ms": 2}


def test_every_flipped_byte_of_a_record_is_noticed(parts: StoreComponents, local: LocalStore) -> None:
    model = save_text(local, "m:1")
    commit(parts, model)
    key = keys.model("m", "1")
    stored = parts.objects.read(key, limit_bytes=1 << 20)
    assert stored is not None
    for at in range(0, len(stored), max(1, len(stored) // 40)):
        parts.objects.put(key, stored[:at] + bytes([stored[at] ^ 0x20]) + stored[at + 1 :])
        with pytest.raises(IntegrityError):
            parts.registry.get("m", "1")
    parts.objects.put(key, stored[: len(stored) // 2])
    with pytest.raises(IntegrityError):
        parts.registry.get("m", "1")


def test_one_damaged_record_does_not_hide_the_others(parts: StoreComponents, local: LocalStore) -> None:
    commit(parts, save_text(local, "m:1"))
    commit(parts, save_text(local, "m:2"))
    parts.objects.put(keys.model("m", "1"), b"damaged")
    assert [s.version for s in parts.registry.versions("m")] == ["2"]
    with pytest.raises(VtsServingException):
        parts.registry.get("m", "1")


def test_a_replica_sees_at_once_what_another_one_acknowledged(
    parts: StoreComponents, settings: StoreSettings, local: LocalStore
) -> None:
    replica = StoreComponents.on(parts.objects, settings)
    assert replica.index.all() == []
    commit(parts, save_text(local, "m:1"))
    assert replica.registry.get("m", "latest").manifest.version == "1"
    parts.registry.delete("m", "1")
    with pytest.raises(ModelNotFound):
        replica.registry.get("m", "latest")
    replica.content.close()
    replica.index.close()


def test_the_info_is_what_the_pushed_model_yaml_says(parts: StoreComponents, local: LocalStore) -> None:
    model = save_text(local, "m:1", metadata={"acc": 0.5, "note": "<b>ü</b>"})
    commit(parts, model)
    yaml_entry = model.manifest.entry("model.yaml")
    assert yaml_entry is not None
    assert yaml_entry.sha256 == hashlib.sha256(model.path_of("model.yaml").read_bytes()).hexdigest()
    assert parts.registry.get("m", "1").info["metadata"] == {"acc": 0.5, "note": "<b>ü</b>"}
