"""The local store on disks that refuse, and reads that leave no trace."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.sdk import save_text
from vtsserving._local_store.store import LocalStore
from vtsserving._model.tag import Tag
from vtsserving.exceptions import ModelNotFound, StorageError

NOBODY = 65_534


def in_child(call: Callable[[], Any], prepare: Callable[[], None]) -> Any:
    """What a call returns in a forked process after `prepare`, or the name of its error."""
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def run() -> None:
        prepare()
        try:
            answers.put(call())
        except Exception as error:
            answers.put((type(error).__name__, str(error)))

    process = context.Process(target=run)
    process.start()
    answer = answers.get()
    process.join(30)
    return answer


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user can enter, which pytest's own are not."""
    path = Path(tempfile.mkdtemp(prefix="vtsserving-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def test_a_read_only_store_can_be_read_and_says_so_when_written_to(shared: Path) -> None:
    store = LocalStore(shared / "models")
    tag = save_text(store, "iris_clf").tag
    store.set_alias(tag, "production")
    for folder in [shared / "models", *(shared / "models").rglob("*")]:
        folder.chmod(0o555 if folder.is_dir() else 0o444)

    def read() -> list[str]:
        store.verify(tag)
        found = [store.get(ref) for ref in ("iris_clf", f"{tag}", "iris_clf:latest", "iris_clf:production")]
        return [str(model.tag) for model in [*found, *store.list()]]

    assert in_child(read, become_nobody) == [str(tag)] * 5
    for write in (
        lambda: save_text(store, "iris_clf"),
        lambda: store.delete(tag),
        lambda: store.set_alias(tag, "x"),
    ):
        kind, message = in_child(write, become_nobody)
        assert kind == StorageError.__name__
        assert "cannot be written to" in message
        assert "\n" not in message
    for folder in [shared / "models", *(shared / "models").rglob("*")]:
        folder.chmod(0o755)
    assert list((shared / "models" / ".tmp").iterdir()) == []


def test_reading_changes_no_file_and_no_time(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "models")
    tag = save_text(store, "iris_clf").tag
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    store.verify(tag)
    for model in store.list():
        assert model.info.tag == tag
    with pytest.raises(ModelNotFound):
        store.get("other")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_disk_that_is_full_is_one_error_and_nothing_is_left(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "models")
    save_text(store, "iris_clf:v1")

    def limit() -> None:
        # A limit on the size of files makes writes fail as a full disk does, without one.
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    kind, message = in_child(lambda: save_text(store, "iris_clf:v2", "short"), limit)
    assert kind == StorageError.__name__
    assert message.startswith("cannot save iris_clf")
    assert [str(model.tag) for model in store.list()] == ["iris_clf:v1"]
    assert list((tmp_path / "models" / ".tmp").iterdir()) == []


def loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [Path.touch, loop], ids=["a file", "a symlink loop"])
def test_a_store_that_is_no_directory_is_one_error(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "models")
    store = LocalStore(tmp_path / "models")
    for use in (store.list, lambda: store.get("iris_clf"), lambda: save_text(store, "iris_clf")):
        with pytest.raises(StorageError):
            use()


def test_what_is_no_model_is_not_listed_and_not_replaced(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "models")
    (store.root / "iris_clf" / "v1").mkdir(parents=True)
    (store.root / "iris_clf" / "v1" / "notes.txt").write_text("mine")
    (store.root / "README").write_text("mine")
    (store.root / "Upper").mkdir()
    assert store.list() == []
    with pytest.raises(ModelNotFound):
        store.get("iris_clf:v1")
    with pytest.raises(Exception, match="in the way"):
        save_text(store, "iris_clf:v1")
    assert (store.root / "iris_clf" / "v1" / "notes.txt").read_text() == "mine"


def test_a_clock_that_was_set_back_does_not_make_a_later_save_older(tmp_path: Path) -> None:
    store, ahead = LocalStore(tmp_path / "models"), LocalStore(tmp_path / "ahead")
    save_text(ahead, "iris_clf:v1")
    future = (ahead.root / "iris_clf" / "v1" / "model.yaml").read_text().split("creation_time: '")[1][:4]
    model = with_year(ahead, int(future) + 5)
    with store.staging() as staged:
        shutil.copytree(model, staged, dirs_exist_ok=True)
        store.adopt(staged)
    later = save_text(store, "iris_clf")
    assert store.get("iris_clf") == later
    assert later.info.creation_time.year == int(future) + 5
    assert later.info.creation_time > store.get("iris_clf:v1").info.creation_time


def with_year(store: LocalStore, year: int) -> Path:
    """Rewrite the model iris_clf:v1 so that it was made in another year."""
    from vtsserving._model.manifest import Manifest

    path = store.root / "iris_clf" / "v1"
    text = (path / "model.yaml").read_text()
    at = text.index("creation_time: '") + len("creation_time: '")
    text = f"{text[:at]}{year}{text[at + 4 :]}"
    (path / "model.yaml").write_text(text)
    time = text[at : at + 32]
    manifest = Manifest.of(path, tag=Tag("iris_clf", "v1"), creation_time=time, extra={"runs_code": True})
    (path / "manifest.json").write_bytes(manifest.to_bytes())
    return path
