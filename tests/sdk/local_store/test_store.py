"""The local store: saving, finding, deleting, aliases."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.sdk import save_text as save
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.tag import Tag
from vtsserving.exceptions import (
    AlreadyExists,
    Conflict,
    IntegrityError,
    InvalidTag,
    ModelNotFound,
    VersionNotFound,
)

pytestmark = pytest.mark.fast


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "models")


def test_a_saved_model_is_found_by_tag_latest_name_and_prefix(store: LocalStore) -> None:
    saved = save(store, "iris_clf")
    version = str(saved.tag.version)
    assert len(version) == 16
    for tag in (f"iris_clf:{version}", "iris_clf:latest", "iris_clf", f"iris_clf:{version[:6]}"):
        assert store.get(tag) == saved
    assert (saved.path / "weights.txt").read_text() == "weights"
    store.verify(saved.tag)


def test_constructing_and_reading_write_nothing(store: LocalStore) -> None:
    assert store.list() == []
    with pytest.raises(ModelNotFound, match="store is empty"):
        store.get("iris_clf")
    assert not store.root.exists()


def test_the_newest_version_is_latest_and_listed_first(store: LocalStore) -> None:
    saved = [save(store, "iris_clf") for _ in range(4)]
    assert store.get("iris_clf") == saved[-1]
    assert store.list("iris_clf") == saved[::-1]
    assert [model.tag.version for model in saved] == sorted(str(model.tag.version) for model in saved)
    assert [model.info.ordinal for model in saved] == [1, 2, 3, 4]


def test_a_chosen_version_is_kept_and_cannot_be_saved_twice(store: LocalStore) -> None:
    save(store, "iris_clf:v1")
    with pytest.raises(AlreadyExists, match="iris_clf:v1"):
        save(store, "iris_clf:v1")
    assert not list((store.root / ".tmp").iterdir())


def test_latest_cannot_be_saved(store: LocalStore) -> None:
    with pytest.raises(InvalidTag, match="latest"):
        save(store, "iris_clf:latest")


def test_deleting_needs_a_version_and_removes_the_empty_name(store: LocalStore) -> None:
    save(store, "iris_clf:v1")
    with pytest.raises(InvalidTag, match="which version"):
        store.delete("iris_clf")
    assert store.delete("iris_clf:latest") == Tag("iris_clf", "v1")
    assert not (store.root / "iris_clf").exists()
    assert save(store, "iris_clf:v1").info.ordinal == 2


def test_an_alias_points_where_it_was_last_moved(store: LocalStore) -> None:
    first, second = save(store, "iris_clf"), save(store, "iris_clf")
    store.set_alias(first.tag, "production")
    store.set_alias("iris_clf:latest", "production")
    assert store.get("iris_clf:production") == second
    assert [move.version for move in store.alias_history("iris_clf", "production")] == [
        first.tag.version,
        second.tag.version,
    ]
    with pytest.raises(Conflict, match="production"):
        store.delete(second.tag)
    store.remove_alias("iris_clf", "production")
    with pytest.raises(VersionNotFound, match="production"):
        store.get("iris_clf:production")
    store.delete(second.tag)


def test_a_version_deleted_by_force_takes_its_aliases_along(store: LocalStore) -> None:
    model = save(store, "iris_clf:v1")
    save(store, "iris_clf:v2")
    store.set_alias(model.tag, "production")
    store.delete(model.tag, force=True)
    assert store.alias_history("iris_clf", "production")[-1].version is None
    with pytest.raises(VersionNotFound, match="production"):
        store.get("iris_clf:production")
    assert save(store, "iris_clf:production").info.ordinal == 3


def test_a_version_cannot_have_the_name_of_an_alias(store: LocalStore) -> None:
    store.set_alias(save(store, "iris_clf:v1").tag, "production")
    with pytest.raises(AlreadyExists, match="'production' is an alias"):
        save(store, "iris_clf:production")
    assert len(store.list("iris_clf")) == 1


def test_a_saved_model_is_numbered_after_those_that_were_adopted(store: LocalStore, tmp_path: Path) -> None:
    origin = LocalStore(tmp_path / "elsewhere")
    model = [save(origin, f"iris_clf:v{number}") for number in (1, 2, 3)][-1]
    with store.staging() as staged:
        for file in model.path.iterdir():
            (staged / file.name).write_bytes(file.read_bytes())
        assert store.adopt(staged, force=False).info.ordinal == 3
    assert save(store, "iris_clf:v4").info.ordinal == 4


def test_adopting_the_same_model_again_returns_it(store: LocalStore, tmp_path: Path) -> None:
    origin = LocalStore(tmp_path / "elsewhere")
    model = save(origin, "iris_clf:v1")

    def adopt(force: bool = False) -> Model:
        with store.staging() as staged:
            for file in model.path.iterdir():
                (staged / file.name).write_bytes(file.read_bytes())
            return store.adopt(staged, force=force)

    assert adopt().digest == adopt().digest == model.digest
    origin.delete("iris_clf:v1")
    model = save(origin, "iris_clf:v1", "others")
    with pytest.raises(AlreadyExists, match="other content"):
        adopt()
    assert adopt(force=True).digest == model.digest
    store.verify(Tag("iris_clf", "v1"))
    assert not list((store.root / ".tmp").iterdir())


def test_a_changed_file_is_named_by_verify(store: LocalStore) -> None:
    model = save(store, "iris_clf")
    (model.path / "weights.txt").write_text("weightz")
    with pytest.raises(IntegrityError, match=r"weights\.txt"):
        store.verify(model.tag)


def test_near_names_and_versions_are_suggested(store: LocalStore) -> None:
    save(store, "iris_clf:v11")
    save(store, "iris_clf:v12")
    with pytest.raises(ModelNotFound, match="did you mean iris_clf"):
        store.get("iris_cfl")
    with pytest.raises(VersionNotFound, match="v12"):
        store.get("iris_clf:v19")
    with pytest.raises(VersionNotFound, match="fits 2 versions"):
        store.get("iris_clf:v1")
