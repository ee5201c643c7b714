"""Models out of the local store: where they go, what they are called, and that they are whole or absent."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from support.archives import ARCHIVES, save_model, tree
from vtsserving._archive import export_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import AlreadyExists, IntegrityError, InvalidArgument, ModelNotFound, StorageError

pytestmark = pytest.mark.fast


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def saved(store: LocalStore) -> Model:
    return save_model(store, {"weights.bin": b"w" * 100_000, "sub/a": b"a"})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("archive_format", ARCHIVES)
def test_equal_models_give_equal_archives(
    archive_format: str, saved: Model, out: Path, store: LocalStore
) -> None:
    first = Path(export_model(saved.tag, out / "first", archive_format, store=store))
    for path in sorted(saved.path.rglob("*")):
        os.utime(path, (1, 1))
    saved.path.joinpath("weights.bin").chmod(0o600)
    second = Path(export_model(saved.tag, out / "second", archive_format, store=store))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("given", "archive_format", "expected"),
    [
        pytest.param("", None, "iris_clf-{v}.vtsmodel", id="folder"),
        pytest.param("/", None, "iris_clf-{v}.vtsmodel", id="folder_with_slash"),
        pytest.param("", "gz", "iris_clf-{v}.tar.gz", id="folder_gz"),
        pytest.param("", "tar.gz", "iris_clf-{v}.tar.gz", id="folder_tar_gz"),
        pytest.param("", "zip", "iris_clf-{v}.zip", id="folder_zip"),
        pytest.param("", "folder", "iris_clf-{v}", id="folder_folder"),
        pytest.param("/my_model.vtsmodel", None, "my_model.vtsmodel", id="name"),
        pytest.param("/my_model", None, "my_model.vtsmodel", id="name_without_extension"),
        pytest.param("/my.model.v2", None, "my.model.v2.vtsmodel", id="name_with_other_extension"),
        pytest.param("/my_model.tgz", None, "my_model.tgz", id="tgz"),
        pytest.param("/my_model.bin", "xz", "my_model.bin", id="format_beats_name"),
    ],
)
def test_the_path_decides_name_and_format(
    given: str, archive_format: str | None, expected: str, saved: Model, out: Path, store: LocalStore
) -> None:
    where = export_model(saved.tag, f"{out}{given}", archive_format, store=store)
    assert [path.name for path in out.iterdir()] == [expected.format(v=saved.tag.version)]
    assert Path(where) == out / expected.format(v=saved.tag.version)


def test_what_exists_is_not_overwritten_silently(saved: Model, out: Path, store: LocalStore) -> None:
    (out / "a.vtsmodel").write_text("mine")
    with pytest.raises(AlreadyExists, match="--force"):
        export_model(saved.tag, out / "a.vtsmodel", store=store)
    assert (out / "a.vtsmodel").read_text() == "mine"
    export_model(saved.tag, out / "a.vtsmodel", force=True, store=store)
    assert (out / "a.vtsmodel").stat().st_size > 4
    assert len(list(out.iterdir())) == 1


def test_folder_is_replaced_only_with_force(saved: Model, out: Path, store: LocalStore) -> None:
    where = Path(export_model(saved.tag, out, "folder", store=store))
    (where / "mine").write_text("mine")
    with pytest.raises(AlreadyExists):
        export_model(saved.tag, out, "folder", store=store)
    assert (where / "mine").exists()
    export_model(saved.tag, out, "folder", force=True, store=store)
    assert tree(where) == tree(saved.path)
    assert list(out.iterdir()) == [where]


def test_missing_folder_is_named_with_the_next_step(saved: Model, out: Path, store: LocalStore) -> None:
    with pytest.raises(InvalidArgument, match="mkdir -p"):
        export_model(saved.tag, out / "no" / "such" / "a.vtsmodel", store=store)


def test_unknown_format_is_refused(saved: Model, out: Path, store: LocalStore) -> None:
    with pytest.raises(InvalidArgument, match="vtsmodel, tar, gz"):
        export_model(saved.tag, out, "rar", store=store)


def test_http_is_for_import_only(saved: Model, store: LocalStore) -> None:
    with pytest.raises(InvalidArgument, match="not exported"):
        export_model(saved.tag, "https://example.com/x.vtsmodel", store=store)


def test_unknown_model_writes_nothing(out: Path, saved: Model, store: LocalStore) -> None:
    with pytest.raises(ModelNotFound, match="iris_clf"):
        export_model("iris_clv:latest", out, store=store)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("archive_format", [*ARCHIVES, "folder"])
def test_damaged_model_is_not_exported(
    archive_format: str, saved: Model, out: Path, store: LocalStore
) -> None:
    weights = saved.path / "weights.bin"
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=r"weights\.bin"):
        export_model(saved.tag, out, archive_format, store=store)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("archive_format", ARCHIVES)
def test_model_cut_short_is_not_exported(
    archive_format: str, saved: Model, out: Path, store: LocalStore
) -> None:
    (saved.path / "weights.bin").write_bytes(b"w" * 99)
    with pytest.raises(IntegrityError, match=r"weights\.bin"):
        export_model(saved.tag, out, archive_format, store=store)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("archive_format", [*ARCHIVES, "folder"])
def test_full_disk_is_one_error_and_leaves_nothing(
    archive_format: str, saved: Model, out: Path, store: LocalStore
) -> None:
    """A limit on the size of files stands for the disk: the same system call fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(StorageError, match="nothing was changed"):
            export_model(saved.tag, out, archive_format, store=store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(out.iterdir()) == []


@pytest.mark.slow
def test_killed_exports_leave_nothing_behind(saved: Model, out: Path, store: LocalStore) -> None:
    """The process kills itself when half of the model is packed."""
    program = (
        "import os, sys, signal\n"
        "from pathlib import Path\n"
        "from vtsserving._archive import export_model\n"
        "from vtsserving._local_store.store import LocalStore\n"
        "def die(n): os.kill(os.getpid(), signal.SIGKILL)\n"
        "export_model('iris_clf', sys.argv[2], sys.argv[3], on_progress=die, store=LocalStore(Path(sys.argv[1])))\n"
    )
    for archive_format in ("vtsmodel", "folder"):
        target = out / f"a-{archive_format}"
        ended = subprocess.run(
            [sys.executable, "-c", program, str(store.root), str(target), archive_format],
            check=False,
            timeout=60,
        )
        assert ended.returncode == -9
        assert not target.exists()
    export_model(saved.tag, out / "a-vtsmodel", "vtsmodel", store=store)
    export_model(saved.tag, out / "a-folder", "folder", store=store)
    assert sorted(path.name for path in out.iterdir()) == ["a-folder", "a-vtsmodel"]


def test_read_only_store_can_be_exported(saved: Model, out: Path, store: LocalStore) -> None:
    for path in [store.root, *store.root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert Path(export_model("iris_clf", out, store=store)).is_file()
    finally:
        for path in [store.root, *store.root.rglob("*")]:
            path.chmod(0o755)
