"""Archives into the local store: complete, checked, and only where nothing else is in the way."""

from __future__ import annotations

import dataclasses
import io
import random
import shutil
from pathlib import Path

import pytest

from support.archives import ARCHIVES, archive_of, save_model, tar_of, tree
from vtsserving._archive import ArchiveLimits, export_model, import_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import (
    AlreadyExists,
    ArchiveTooLarge,
    CorruptArchive,
    ForbiddenSource,
    IntegrityError,
    InvalidArgument,
    NotFound,
    UnsafeArchive,
    VtsServingException,
)

pytestmark = pytest.mark.fast


@pytest.fixture
def origin(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "origin")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def leftovers(store: LocalStore) -> list[Path]:
    return list((store.root / ".tmp").iterdir()) if store.root.exists() else []


@pytest.mark.parametrize("archive_format", [*ARCHIVES, "folder"])
def test_export_and_import_bring_back_the_same_model(
    archive_format: str, origin: LocalStore, store: LocalStore, tmp_path: Path
) -> None:
    saved = save_model(
        origin, {"weights.bin": b"w" * 5_000, "vocab/words.txt": b"a\nb\n"}, labels={"team": "nlp"}
    )
    target = export_model(saved.tag, tmp_path / "out" if archive_format == "folder" else tmp_path, archive_format,
                          store=origin)  # fmt: skip
    imported = import_model(target, store=store)
    assert imported.tag == saved.tag
    assert imported.digest == saved.digest
    assert tree(imported.path) == tree(saved.path)
    assert imported.info.labels == {"team": "nlp"}
    assert leftovers(store) == []


def test_importing_identical_bytes_again_succeeds(
    origin: LocalStore, store: LocalStore, tmp_path: Path
) -> None:
    target = export_model(save_model(origin).tag, tmp_path, store=origin)
    first = import_model(target, store=store)
    assert import_model(target, store=store) == first
    assert len(store.list()) == 1


@pytest.mark.parametrize("damage", ["changed", "missing", "added"])
def test_importing_it_again_repairs_what_was_damaged_since(
    damage: str, origin: LocalStore, store: LocalStore, tmp_path: Path
) -> None:
    saved = save_model(origin)
    target = export_model(saved.tag, tmp_path, store=origin)
    imported = import_model(target, store=store)
    weights = imported.path / "weights.bin"
    if damage == "changed":
        weights.write_bytes(bytes(weights.stat().st_size))
    elif damage == "missing":
        weights.unlink()
    else:
        (imported.path / "more.bin").write_bytes(b"more")
    with pytest.raises(IntegrityError):
        store.verify(saved.tag)
    import_model(target, store=store)
    store.verify(saved.tag)
    assert tree(imported.path) == tree(saved.path)
    assert leftovers(store) == []


def conflicting(origin: LocalStore, store: LocalStore, tmp_path: Path) -> tuple[str, Model]:
    """An archive whose tag the store has with other content; returns it and the store's own model."""
    saved = save_model(origin, {"weights.bin": b"new"}, tag="clf:v1")
    own = save_model(store, {"weights.bin": b"own"}, tag="clf:v1")
    return export_model(saved.tag, tmp_path, store=origin), own


def test_other_content_under_the_same_tag_is_a_conflict(
    origin: LocalStore, store: LocalStore, tmp_path: Path
) -> None:
    target, own = conflicting(origin, store, tmp_path)
    with pytest.raises(AlreadyExists):
        import_model(target, store=store)
    assert store.get("clf:v1").digest == own.digest
    assert leftovers(store) == []


def test_skip_existing_keeps_what_is_there(origin: LocalStore, store: LocalStore, tmp_path: Path) -> None:
    target, own = conflicting(origin, store, tmp_path)
    assert import_model(target, skip_existing=True, store=store).digest == own.digest


def test_force_replaces_what_is_there(origin: LocalStore, store: LocalStore, tmp_path: Path) -> None:
    target, own = conflicting(origin, store, tmp_path)
    before = own.digest
    assert import_model(target, force=True, store=store).digest != before
    assert (store.get("clf:v1").path / "weights.bin").read_bytes() == b"new"


def test_an_older_version_does_not_become_latest(
    origin: LocalStore, store: LocalStore, tmp_path: Path
) -> None:
    old = save_model(origin)
    new = save_model(origin, {"weights.bin": b"new"})
    for model in (new, old):
        import_model(export_model(model.tag, tmp_path, store=origin), store=store)
    assert store.get("iris_clf:latest").tag == new.tag


@pytest.mark.parametrize("archive_format", ARCHIVES)
def test_a_flipped_bit_is_refused_or_changes_nothing(
    archive_format: str, origin: LocalStore, tmp_path: Path
) -> None:
    """A few bits carry no information (a zip's dates, gzip's system code); the model is then the same, bit for bit."""
    seed = random.Random(7)
    saved = save_model(origin, {"weights.bin": seed.randbytes(2_000)})
    packed = archive_of(saved, archive_format)
    whole = tree(saved.path)
    harmless = 0
    for number in range(60):
        flipped = bytearray(packed)
        bit = seed.randrange(len(packed) * 8)
        flipped[bit // 8] ^= 1 << bit % 8
        store = LocalStore(tmp_path / f"flip{number}")
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            imported = import_model(tmp_path / "flipped", store=store)
        except VtsServingException as e:
            assert isinstance(e, IntegrityError), bit
            assert store.list() == []
        else:
            harmless += 1
            assert tree(imported.path) == whole, bit
    assert harmless <= (15 if archive_format in {"gz", "zip"} else 3)


def repacked(model: Model, changes: dict[str, bytes | None]) -> bytes:
    """The model's tar with files added, replaced or (None) left out."""
    files = {**tree(model.path), **changes}
    return tar_of(*((name, content) for name, content in files.items() if content is not None))


@pytest.mark.parametrize(
    ("changes", "expected", "named"),
    [
        pytest.param({"weights.bin": b"changed"}, IntegrityError, "weights.bin", id="changed"),
        pytest.param({"weights.bin": None}, IntegrityError, "weights.bin", id="missing"),
        pytest.param({"extra.py": b"import os"}, IntegrityError, "extra.py", id="unknown"),
        pytest.param({"model.yaml": None}, IntegrityError, "model.yaml", id="no_model_yaml"),
        pytest.param({"manifest.json": None}, CorruptArchive, "manifest.json", id="no_manifest"),
        pytest.param({"manifest.json": b"{}"}, IntegrityError, "manifest", id="empty_manifest"),
        pytest.param({"manifest.json": b"\xff" * 100}, IntegrityError, "manifest", id="binary_manifest"),
        pytest.param({"manifest.json": b"[" * 10**6}, IntegrityError, "manifest", id="deep_manifest"),
        pytest.param({"manifest.json": b" " * 17 * 2**20}, IntegrityError, "manifest", id="huge_manifest"),
    ],
)
def test_what_the_manifest_does_not_say_is_refused(
    changes: dict[str, bytes | None],
    expected: type[Exception],
    named: str,
    origin: LocalStore,
    store: LocalStore,
    tmp_path: Path,
) -> None:
    (tmp_path / "bad.tar").write_bytes(repacked(save_model(origin), changes))
    with pytest.raises(expected, match=named):
        import_model(tmp_path / "bad.tar", store=store)
    assert store.list() == []
    assert leftovers(store) == []


def test_model_yaml_that_names_another_model_is_refused(
    origin: LocalStore, store: LocalStore, tmp_path: Path
) -> None:
    """Both files are consistent in themselves, but a manifest of one model carries the other's model.yaml."""
    saved = save_model(origin)
    forged = dataclasses.replace(saved.manifest, name="other")
    (tmp_path / "bad.tar").write_bytes(repacked(saved, {"manifest.json": forged.to_bytes()}))
    with pytest.raises(IntegrityError):
        import_model(tmp_path / "bad.tar", store=store)
    assert store.list() == []


def test_folder_with_a_link_is_refused(origin: LocalStore, store: LocalStore, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(save_model(origin).path, folder)
    (folder / "link").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeArchive, match="link"):
        import_model(folder, store=store)
    assert leftovers(store) == []


def test_limits_hold_for_folders_too(origin: LocalStore, store: LocalStore) -> None:
    saved = save_model(origin, {"weights.bin": b"w" * 10_000})
    with pytest.raises(ArchiveTooLarge):
        import_model(saved.path, limits=ArchiveLimits(total_bytes=5_000), store=store)
    with pytest.raises(ArchiveTooLarge):
        import_model(saved.path, limits=ArchiveLimits(files=2), store=store)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("nowhere.vtsmodel", NotFound, id="no_file"),
        pytest.param("/dev/null", InvalidArgument, id="device"),
        pytest.param("gopher://example.com/x", ForbiddenSource, id="gopher"),
        pytest.param("data://text/plain,x", ForbiddenSource, id="data"),
        pytest.param("zip://a::http://127.0.0.1/b", ForbiddenSource, id="chained"),
        pytest.param("filecache::http://127.0.0.1/b", ForbiddenSource, id="cached"),
        pytest.param("file://example.com/etc/passwd", ForbiddenSource, id="file_elsewhere"),
        pytest.param("http://169.254.169.254/latest/meta-data", ForbiddenSource, id="metadata"),
        pytest.param("http://2852039166/latest", ForbiddenSource, id="metadata_decimal"),
        pytest.param("http://0xa9fea9fe/latest", ForbiddenSource, id="metadata_hexadecimal"),
        pytest.param("http://[::ffff:169.254.169.254]/x", ForbiddenSource, id="metadata_mapped"),
        pytest.param("http://[fd00:ec2::254]/x", ForbiddenSource, id="metadata_ipv6"),
        pytest.param("http://[fe80::1]/x", ForbiddenSource, id="link_local_ipv6"),
        pytest.param("ftp://user@169.254.169.254/x", ForbiddenSource, id="metadata_ftp"),
        pytest.param("sftp://169.254.169.254/x", ForbiddenSource, id="metadata_sftp"),
        pytest.param("s3://bucket/x", ForbiddenSource, id="metadata_endpoint"),
        pytest.param("http:///x", InvalidArgument, id="no_host"),
        pytest.param("ftp:///x", InvalidArgument, id="ftp_no_host"),
        pytest.param("a\0b", InvalidArgument, id="nul"),
    ],
)
def test_bad_sources_are_named_and_the_store_stays_untouched(
    path: str, expected: type[VtsServingException], store: LocalStore
) -> None:
    options = {"endpoint_url": "http://169.254.169.254/"} if path.startswith("s3:") else None
    with pytest.raises(expected) as caught:
        import_model(path, options=options, store=store)
    assert caught.value.exit_code == (3 if expected is NotFound else 2)
    assert not store.root.exists()


def test_file_url_is_a_path(origin: LocalStore, store: LocalStore, tmp_path: Path) -> None:
    target = export_model(save_model(origin).tag, f"file://{tmp_path}/my%20model.vtsmodel", store=origin)
    assert (tmp_path / "my model.vtsmodel").is_file()
    assert import_model((tmp_path / "my model.vtsmodel").as_uri(), store=store).tag.name == "iris_clf"
    assert target == f"{tmp_path}/my model.vtsmodel"


def test_progress_tells_every_byte(origin: LocalStore, store: LocalStore, tmp_path: Path) -> None:
    saved = save_model(origin)
    out: list[int] = []
    target = Path(export_model(saved.tag, tmp_path, on_progress=out.append, store=origin))
    assert sum(out) == sum(len(content) for content in tree(saved.path).values())
    read: list[int] = []
    import_model(target, on_progress=read.append, store=store)
    assert sum(read) == target.stat().st_size


def test_format_is_told_by_the_first_bytes_not_by_the_name(
    origin: LocalStore, store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "model.zip").write_bytes(archive_of(save_model(origin), "xz"))
    assert import_model(tmp_path / "model.zip", store=store).tag.name == "iris_clf"


def test_relative_names_of_tar_are_fine(origin: LocalStore, store: LocalStore, tmp_path: Path) -> None:
    """What `tar -C model -cf x.tar .` writes."""
    import tarfile

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(save_model(origin).path, arcname=".")
    (tmp_path / "x.tar").write_bytes(packed.getvalue())
    assert import_model(tmp_path / "x.tar", store=store).tag.name == "iris_clf"
