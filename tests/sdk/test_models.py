"""`vtsserving.models`: listing, deleting, and models of one's own layout."""

from __future__ import annotations

from pathlib import Path

import pytest

import vtsserving
from vtsserving.exceptions import InvalidArgument, InvalidTag, ModelLoadFailed, ModelNotFound

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(tag: str, size: int = 1, **details: object) -> vtsserving.Model:
    with vtsserving.models.create(tag, **details) as new:  # type: ignore[arg-type]
        new.path_of("data.bin").write_bytes(b"x" * size)
    assert new.model is not None
    return new.model


def test_a_model_of_ones_own_layout_is_saved_when_the_block_ends(own_home: Path) -> None:
    with vtsserving.models.create("mine", labels={"a": "b"}, metadata={"n": 1}, description="mine") as new:
        assert new.model is None
        assert own_home in new.path.parents
        (new.path / "deep").mkdir()
        new.path_of("deep/data.bin").write_bytes(b"1")
        new.custom_objects["helper"] = len
    model = vtsserving.models.get("mine")
    assert model == new.model
    assert model.path_of("deep/data.bin").read_bytes() == b"1"
    assert model.custom_objects == {"helper": len}
    assert (model.info.labels, model.info.metadata, model.info.description) == ({"a": "b"}, {"n": 1}, "mine")
    with pytest.raises(ModelLoadFailed, match="no framework module"):
        model.load_model()


def test_a_block_that_raises_saves_nothing(own_home: Path) -> None:
    with pytest.raises(ZeroDivisionError), vtsserving.models.create("mine"):
        _ = 1 / 0
    assert vtsserving.models.list() == []
    assert list((own_home / "models" / ".tmp").iterdir()) == []


def test_listing_is_newest_first_and_can_be_narrowed() -> None:
    first = make("b:v1", labels={"stage": "dev", "team": "nlp"})
    second = make("a:v1", size=9_000, labels={"stage": "dev"})
    third = make("a:v2", size=5_000, module="vtsserving.sklearn")
    assert vtsserving.models.list() == [third, second, first]
    assert vtsserving.models.list("a") == [third, second]
    assert vtsserving.models.list("a:v1") == [second]
    assert vtsserving.models.list("c") == []
    assert vtsserving.models.list(labels={"stage": "dev"}) == [second, first]
    assert vtsserving.models.list(labels={"stage": "dev", "team": "nlp"}) == [first]
    assert vtsserving.models.list(module="vtsserving.sklearn") == [third]
    assert vtsserving.models.list(module="sklearn") == [third]
    assert vtsserving.models.list(sort="name") == [second, third, first]
    assert vtsserving.models.list(sort="size", limit=2) == [second, third]
    assert vtsserving.models.list(limit=1) == [third]
    assert vtsserving.models.list(limit=0) == []


@pytest.mark.parametrize("arguments", [{"sort": "colour"}, {"limit": -1}, {"limit": "1"}], ids=repr)
def test_an_impossible_listing_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        vtsserving.models.list(**arguments)  # type: ignore[arg-type]


def test_deleting_names_the_exact_tag() -> None:
    make("a:v1")
    assert str(vtsserving.models.delete("a:latest")) == "a:v1"
    with pytest.raises(ModelNotFound):
        vtsserving.models.delete("a:latest")
    with pytest.raises(InvalidTag, match="a:latest"):
        vtsserving.models.delete("a")


def test_an_alias_is_usable_as_a_version() -> None:
    model = make("a:v1")
    make("a:v2")
    vtsserving.models.alias("a:v1", "production")
    assert vtsserving.models.get("a:production") == model


def test_exporting_and_importing_go_through_the_archive(tmp_path: Path) -> None:
    model = make("a:v1", size=1_000)
    where = vtsserving.models.export_model("a:latest", tmp_path / "my_model.vtsmodel")
    vtsserving.models.delete("a:v1")
    assert vtsserving.models.import_model(where) == model
    vtsserving.models.verify("a")
