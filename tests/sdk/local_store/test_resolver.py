"""Where a process finds models: in its local store, unless its entry named something else."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import vtsserving
from support.sdk import save_text
from vtsserving._local_store.injected_models import InjectedModels, Provided, from_text, to_text
from vtsserving._local_store.model import Model
from vtsserving._local_store.resolver import current_resolver, use_resolver
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import ModelNotFound, VersionNotFound


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    yield tmp_path / "home"
    use_resolver(None)


@pytest.fixture
def given(tmp_path: Path) -> Model:
    """A model that lies outside of the local store, and that this process was given under an alias."""
    model = save_text(LocalStore(tmp_path / "elsewhere"), "iris_clf:v1")
    use_resolver(InjectedModels([Provided(model.tag, model.path, ("live",))]))
    return model


def test_by_default_it_is_the_local_store_of_this_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = save_text(LocalStore(), "iris_clf:v1")
    assert vtsserving.models.get("iris_clf") == saved
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "another"))
    with pytest.raises(ModelNotFound):
        vtsserving.models.get("iris_clf")


@pytest.mark.parametrize("tag", ["iris_clf", "iris_clf:latest", "iris_clf:v1", "iris_clf:v", "iris_clf:live"])
def test_what_a_process_was_given_is_found_by_each_of_its_names(given: Model, tag: str) -> None:
    assert vtsserving.models.get(tag) == given
    assert vtsserving.models.get(vtsserving.Tag.parse(tag)) == given


@pytest.mark.parametrize("tag", ["iris_clf", "iris_clf:latest", "iris_clf:v1", "iris_clf:live"])
def test_a_store_never_returns_what_is_not_under_its_root(given: Model, tag: str, tmp_path: Path) -> None:
    for store in (LocalStore(), LocalStore(tmp_path / "third")):
        with pytest.raises(ModelNotFound):
            store.get(tag)
        with pytest.raises(ModelNotFound):
            store.verify(given.tag)


def test_a_store_returns_its_own_model_of_the_same_tag(given: Model) -> None:
    own = save_text(LocalStore(), "iris_clf:v1", "other weights")
    assert LocalStore().get("iris_clf:v1") == own
    assert LocalStore().get("iris_clf:v1").path.is_relative_to(LocalStore().root)
    assert vtsserving.models.get("iris_clf:v1") == given


def test_the_local_store_has_what_was_not_given(given: Model) -> None:
    own = save_text(LocalStore(), "iris_clf:w2")
    other = save_text(LocalStore(), "other:v1")
    assert vtsserving.models.get("iris_clf:w2") == own
    assert vtsserving.models.get("other") == other
    with pytest.raises(VersionNotFound):
        vtsserving.models.get("iris_clf:x")


def test_a_name_that_several_given_models_have_says_nothing_about_which(tmp_path: Path) -> None:
    elsewhere = LocalStore(tmp_path / "elsewhere")
    models = [save_text(elsewhere, f"iris_clf:v{number}") for number in (1, 2)]
    use_resolver(InjectedModels(Provided(model.tag, model.path) for model in models))
    assert [vtsserving.models.get(f"iris_clf:v{number}") for number in (1, 2)] == models
    for tag in ("iris_clf", "iris_clf:v"):
        with pytest.raises(ModelNotFound):
            vtsserving.models.get(tag)


def test_every_way_of_reading_a_model_by_its_tag_asks_the_resolver(given: Model, tmp_path: Path) -> None:
    assert vtsserving.models.list("iris_clf:live") == [given]
    assert vtsserving.models.list("iris_clf") == [], "without a version it lists the local store"
    path = vtsserving.models.export_model("iris_clf:live", tmp_path / "iris.vtsmodel")
    assert vtsserving.models.import_model(path).digest == given.digest
    with pytest.raises(ModelNotFound, match="was saved with"):
        vtsserving.picklable_model.get("iris_clf:live")


def test_threads_that_model_code_starts_find_the_same_models(given: Model) -> None:
    found: list[Model] = []
    thread = threading.Thread(target=lambda: found.append(vtsserving.models.get("iris_clf:live")))
    thread.start()
    thread.join(10)
    assert found == [given]


def test_a_pickled_model_is_found_where_this_process_finds_models(given: Model) -> None:
    raw = pickle.dumps(given)
    assert pickle.loads(raw) == given
    use_resolver(None)
    with pytest.raises(ModelNotFound):
        pickle.loads(raw)
    save_text(LocalStore(), "iris_clf:v1", "other weights")
    with pytest.raises(ModelNotFound, match="other content"):
        pickle.loads(raw)


def test_given_models_travel_as_text(given: Model) -> None:
    models = [
        Provided(given.tag, given.path, ("live", "blue")),
        Provided(vtsserving.Tag("a", "b"), Path("/a/ b")),
    ]
    assert from_text(to_text(models)) == models
    assert from_text(to_text([])) == []


def test_a_resolver_stays_until_another_is_chosen(given: Model) -> None:
    chosen = current_resolver()
    assert current_resolver() is chosen
    use_resolver(LocalStore())
    assert isinstance(current_resolver(), LocalStore)
