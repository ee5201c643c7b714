"""Models over FTP, S3 and in memory, against real servers: streamed, whole or absent, and errors that help."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.archives import save_model, tree
from support.file_servers import FtpServer, ftp_server
from support.stores import ACCESS_KEY, SECRET_KEY, Bucket, bucket_of_its_own
from vtsserving._archive import export_model, import_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import (
    AlreadyExists,
    AuthError,
    ConfigurationError,
    IntegrityError,
    MissingDependency,
    NotFound,
    Unavailable,
)


@pytest.fixture
def origin(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "origin")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def saved(origin: LocalStore) -> Model:
    return save_model(origin, {"weights.bin": b"weights" * 3_000_000, "vocab/words.txt": b"a\nb\n"})


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[FtpServer]:
    folder = tmp_path / "ftp"
    (folder / "models").mkdir(parents=True)
    with ftp_server(folder) as server:
        yield server


@pytest.fixture
def s3(s3_endpoint: str) -> Bucket:
    return bucket_of_its_own(s3_endpoint)


def s3_options(bucket: Bucket) -> dict[str, Any]:
    return {
        "endpoint_url": bucket.endpoint,
        "key": ACCESS_KEY,
        "secret": SECRET_KEY,
        "client_kwargs": {"region_name": "us-east-1"},
    }


@pytest.mark.parametrize("archive_format", ["vtsmodel", "zip"])
def test_ftp_brings_back_the_same_model(
    archive_format: str, ftp: FtpServer, saved: Model, origin: LocalStore, store: LocalStore
) -> None:
    where = export_model(saved.tag, f"{ftp.url}/models/", archive_format, store=origin)
    names = [path.name for path in (ftp.folder / "models").iterdir()]
    assert len(names) == 1
    assert where == f"ftp://127.0.0.1:{ftp.port}/models/{names[0]}"
    imported = import_model(f"{ftp.url}/models/{names[0]}", store=store)
    assert tree(imported.path) == tree(saved.path)


@pytest.mark.parametrize("slash", ["", "/"])
def test_ftp_folder_brings_back_the_same_model(
    slash: str, ftp: FtpServer, saved: Model, origin: LocalStore, store: LocalStore
) -> None:
    export_model(saved.tag, f"{ftp.url}/models/", "folder", store=origin)
    folder = f"{ftp.url}/models/{saved.tag.name}-{saved.tag.version}{slash}"
    assert tree(import_model(folder, store=store).path) == tree(saved.path)


def test_ftp_does_not_overwrite_silently(ftp: FtpServer, saved: Model, origin: LocalStore) -> None:
    target = ftp.folder / "models" / "a.vtsmodel"
    target.write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        export_model(saved.tag, f"{ftp.url}/models/a.vtsmodel", store=origin)
    assert target.read_bytes() == b"mine"
    export_model(saved.tag, f"{ftp.url}/models/a.vtsmodel", force=True, store=origin)
    assert target.stat().st_size > 4
    assert list(target.parent.iterdir()) == [target]


def test_failed_ftp_export_leaves_nothing(ftp: FtpServer, saved: Model, origin: LocalStore) -> None:
    (saved.path / "weights.bin").write_bytes(b"weightz" * 3_000_000)
    with pytest.raises(IntegrityError):
        export_model(saved.tag, f"{ftp.url}/models/", store=origin)
    assert list((ftp.folder / "models").iterdir()) == []


def test_wrong_ftp_password_is_an_auth_error_without_the_password(ftp: FtpServer, store: LocalStore) -> None:
    with pytest.raises(AuthError) as caught:
        import_model(f"ftp://user:wr0ng@127.0.0.1:{ftp.port}/models/a", store=store)
    assert "wr0ng" not in caught.value.message


def test_missing_ftp_file_is_not_found(ftp: FtpServer, store: LocalStore) -> None:
    with pytest.raises(NotFound):
        import_model(f"{ftp.url}/models/nothing.vtsmodel", store=store)


def test_s3_brings_back_the_same_model(
    s3: Bucket, saved: Model, origin: LocalStore, store: LocalStore
) -> None:
    """More than one part of a multipart upload, with a tar, which does not compress."""
    options = s3_options(s3)
    where = export_model(saved.tag, f"s3://{s3.name}/my_prefix/", "tar", options=options, store=origin)
    assert where == f"s3://{s3.name}/my_prefix/{saved.tag.name}-{saved.tag.version}.tar"
    assert tree(import_model(where, options=options, store=store).path) == tree(saved.path)


def test_s3_folder_brings_back_the_same_model(
    s3: Bucket, saved: Model, origin: LocalStore, store: LocalStore
) -> None:
    options = s3_options(s3)
    where = export_model(saved.tag, f"s3://{s3.name}/as_folder/", "folder", options=options, store=origin)
    assert tree(import_model(where, options=options, store=store).path) == tree(saved.path)
    store.delete(saved.tag)
    assert tree(import_model(f"{where}/", options=options, store=store).path) == tree(saved.path)
    with pytest.raises(AlreadyExists):
        export_model(saved.tag, f"s3://{s3.name}/as_folder/", "folder", options=options, store=origin)


def test_s3_does_not_overwrite_silently(s3: Bucket, saved: Model, origin: LocalStore) -> None:
    options = s3_options(s3)
    url = f"s3://{s3.name}/once.vtsmodel"
    export_model(saved.tag, url, options=options, store=origin)
    with pytest.raises(AlreadyExists):
        export_model(saved.tag, url, options=options, store=origin)
    export_model(saved.tag, url, force=True, options=options, store=origin)


def test_failed_s3_export_leaves_nothing(
    s3: Bucket, saved: Model, origin: LocalStore, store: LocalStore
) -> None:
    (saved.path / "weights.bin").write_bytes(b"weightz" * 3_000_000)
    options = s3_options(s3)
    with pytest.raises(IntegrityError):
        export_model(saved.tag, f"s3://{s3.name}/failed.tar", options=options, store=origin)
    with pytest.raises(NotFound):
        import_model(f"s3://{s3.name}/failed.tar", options=options, store=store)


def test_missing_bucket_is_not_found(s3: Bucket, saved: Model, origin: LocalStore) -> None:
    with pytest.raises(NotFound):
        export_model(saved.tag, "s3://no-such-bucket/a.vtsmodel", options=s3_options(s3), store=origin)


def test_an_option_that_the_file_system_does_not_know_is_named(saved: Model, origin: LocalStore) -> None:
    with pytest.raises(ConfigurationError, match=r"^s3:// takes no option 'endpoint'$"):
        export_model(saved.tag, "s3://b/x", options={"endpoint": "http://127.0.0.1:1"}, store=origin)


def test_unreachable_endpoint_is_unavailable(store: LocalStore) -> None:
    options = {
        "endpoint_url": "http://127.0.0.1:9",
        "key": "a",
        "secret": "b",
        "config_kwargs": {"retries": {"max_attempts": 1}},
    }
    with pytest.raises(Unavailable, match="s3://bucket/x"):
        import_model("s3://bucket/x", options=options, store=store)


def test_memory_brings_back_the_same_model(saved: Model, origin: LocalStore, store: LocalStore) -> None:
    where = export_model(saved.tag, "memory://models/", "gz", store=origin)
    assert tree(import_model(where, store=store).path) == tree(saved.path)


@pytest.mark.parametrize(
    ("url", "package", "hint"),
    [
        ("s3://bucket/x", "s3fs", "vtsserving[s3]"),
        ("gs://bucket/x", "gcsfs", "vtsserving[gs]"),
        ("sftp://127.0.0.1/x", "paramiko", "vtsserving[sftp]"),
        ("dropbox://folder/x", "dropboxdrivefs", "dropboxdrivefs"),
        ("az://container/x", "adlfs", "adlfs"),
    ],
)
def test_missing_plug_in_says_how_to_get_it(
    url: str, package: str, hint: str, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "vtsserving._archive.sftp", raising=False)
    imported = importlib.import_module("fsspec.registry")._registry
    for scheme in list(imported):
        monkeypatch.delitem(imported, scheme)
    with pytest.raises(MissingDependency) as caught:
        import_model(url, store=store)
    assert hint in caught.value.message
    assert caught.value.exit_code == 8
