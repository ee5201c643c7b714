"""Models over SFTP, against a real server: the host key is checked, and a transfer is whole or absent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.archives import save_model, tree
from support.file_servers import SftpServer, sftp_server
from vtsserving._archive import export_model, import_model
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving.exceptions import AlreadyExists, AuthError, IntegrityError, NotFound, Unavailable

pytestmark = pytest.mark.filterwarnings("ignore:.*TripleDES:DeprecationWarning")  # of the client's library

MAX_FILE_BYTES = 12 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    folder = tmp_path_factory.mktemp("sftp")
    (folder / "models").mkdir()
    with sftp_server(folder, folder.with_name("known_hosts"), max_file_bytes=MAX_FILE_BYTES) as running:
        yield running


@pytest.fixture
def options(server: SftpServer) -> dict[str, Any]:
    return {"known_hosts": str(server.known_hosts), "allow_agent": False, "look_for_keys": False}


@pytest.fixture
def origin(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "origin")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def saved(origin: LocalStore) -> Model:
    return save_model(
        origin, {"weights.bin": b"weights" * 1_000_000, "vocab/words.txt": b"a\nb\n", "empty": b""}
    )


def listed(server: SftpServer) -> list[str]:
    return sorted(path.name for path in (server.folder / "models").iterdir())


@pytest.mark.parametrize("archive_format", ["tar", "vtsmodel", "zip"])
def test_it_brings_back_the_same_model(
    archive_format: str,
    server: SftpServer,
    options: dict[str, Any],
    saved: Model,
    origin: LocalStore,
    store: LocalStore,
) -> None:
    """More than one window of requests with a tar, which does not compress."""
    where = export_model(saved.tag, f"{server.url}/models/", archive_format, options=options, store=origin)
    name = where.rpartition("/")[2]
    assert where == f"sftp://127.0.0.1:{server.port}/models/{name}"
    assert name in listed(server)
    assert tree(import_model(f"{server.url}/models/{name}", options=options, store=store).path) == tree(
        saved.path
    )


def test_a_folder_brings_back_the_same_model(
    server: SftpServer, options: dict[str, Any], saved: Model, origin: LocalStore, store: LocalStore
) -> None:
    export_model(saved.tag, f"{server.url}/models/", "folder", options=options, store=origin)
    folder = f"{server.url}/models/{saved.tag.name}-{saved.tag.version}/"
    assert tree(import_model(folder, options=options, store=store).path) == tree(saved.path)


def test_nothing_is_overwritten_silently(
    server: SftpServer, options: dict[str, Any], saved: Model, origin: LocalStore
) -> None:
    target = server.folder / "models" / "mine.vtsmodel"
    target.write_bytes(b"mine")
    with pytest.raises(AlreadyExists):
        export_model(saved.tag, f"{server.url}/models/mine.vtsmodel", options=options, store=origin)
    assert target.read_bytes() == b"mine"
    export_model(saved.tag, f"{server.url}/models/mine.vtsmodel", force=True, options=options, store=origin)
    assert target.stat().st_size > 4


def test_a_failed_export_leaves_nothing(
    server: SftpServer, options: dict[str, Any], saved: Model, origin: LocalStore
) -> None:
    (saved.path / "weights.bin").write_bytes(b"weightz" * 1_000_000)
    before = listed(server)
    with pytest.raises(IntegrityError):
        export_model(saved.tag, f"{server.url}/models/failed.tar", options=options, store=origin)
    assert listed(server) == before


def test_a_missing_file_is_not_found(server: SftpServer, options: dict[str, Any], store: LocalStore) -> None:
    with pytest.raises(NotFound):
        import_model(f"{server.url}/models/nothing.vtsmodel", options=options, store=store)


def test_a_wrong_password_is_an_auth_error_without_the_password(
    server: SftpServer, options: dict[str, Any], store: LocalStore
) -> None:
    with pytest.raises(AuthError) as caught:
        import_model(f"sftp://user:wr0ng@127.0.0.1:{server.port}/models/a", options=options, store=store)
    assert "wr0ng" not in caught.value.message


def test_a_server_that_nobody_knows_is_refused_before_the_password_is_sent(
    server: SftpServer, options: dict[str, Any], store: LocalStore, tmp_path: Path
) -> None:
    (tmp_path / "nobody").touch()
    with pytest.raises(AuthError, match=r"is not known: connect to it once with ssh.*ssh-ed25519 SHA256:"):
        import_model(
            f"{server.url}/models/a",
            options={**options, "known_hosts": str(tmp_path / "nobody")},
            store=store,
        )


def test_a_server_with_another_key_than_the_known_one_is_refused(
    server: SftpServer, options: dict[str, Any], store: LocalStore, tmp_path: Path
) -> None:
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    (tmp_path / "other").write_text(f"[127.0.0.1]:{server.port} {key}")
    with pytest.raises(AuthError, match="another host key than the known one"):
        import_model(
            f"{server.url}/models/a", options={**options, "known_hosts": str(tmp_path / "other")}, store=store
        )


def test_the_users_own_known_hosts_count(
    server: SftpServer, saved: Model, origin: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts").write_text(server.known_hosts.read_text())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    export_model(saved.tag, f"{server.url}/models/own.tar", store=origin)
    assert "own.tar" in listed(server)


def test_a_disk_that_gets_full_is_an_error_and_leaves_no_short_file(
    server: SftpServer, options: dict[str, Any], origin: LocalStore
) -> None:
    large = save_model(origin, {"weights.bin": b"weights" * (MAX_FILE_BYTES // 7)})
    before = listed(server)
    with pytest.raises(Unavailable, match="no space left"):
        export_model(large.tag, f"{server.url}/models/full.tar", options=options, store=origin)
    assert listed(server) == before


def test_nobody_listening_is_unavailable(options: dict[str, Any], store: LocalStore) -> None:
    with pytest.raises(Unavailable, match=r"sftp://127\.0\.0\.1:9/x"):
        import_model("sftp://user@127.0.0.1:9/x", options=options, store=store)
