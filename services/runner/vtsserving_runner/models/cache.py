"""Models of a store service on this machine's disk: whole and verified, or absent; the least used go first.

    <root>/models/<digest>/         one model; appears by a rename
    <root>/locks/<digest>.lock      held by every runner that uses the model, so that no other runner evicts it
    <root>/partial/, <root>/new/    on their way; a broken download is continued

Several runners may share one cache. The modification time of a model's directory says when it was last fetched.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from vtsserving import _clock
from vtsserving._local_store.files import remove_tree, sync_tree
from vtsserving._local_store.model import Model
from vtsserving._model.tag import Tag
from vtsserving._store_client.answers import RemoteVersion
from vtsserving._store_client.client import RegistryClient
from vtsserving._store_client.download import Downloads, download_model
from vtsserving._store_client.progress import Silent
from vtsserving.exceptions import IntegrityError, NewerFormat, NoSpace, StorageError, VersionNotFound

DEFAULT_LIMIT_BYTES: Final = 50 << 30
DOWNLOAD_THREADS: Final = 4
STALE_NEW_S: Final = 24 * 3600.0

_log = logging.getLogger(__name__)


class StoreSource:
    """Fetches models from a store service; implements Source."""

    def __init__(
        self, url: str, root: Path, *, token: str = "", limit_bytes: int = DEFAULT_LIMIT_BYTES
    ) -> None:
        """Prepare the cache; nothing is sent yet.

        Args:
            url: of the store.
            root: directory of the cache.
            token: where the store needs one.
            limit_bytes: models beyond this are removed, unless a runner uses them.

        Raises:
            ConfigurationError: the URL is malformed.
            StorageError: the directory cannot be made.
        """
        self._client = RegistryClient(url, token)
        self._root = root
        self._limit_bytes = limit_bytes
        self._pins: dict[str, int] = {}
        self._lock = threading.Lock()
        with _disk_errors(root):
            for name in ("models", "locks", "partial", "new"):
                (root / name).mkdir(parents=True, exist_ok=True)
            self._sweep()

    def fetch(self, name: str, version: str, digest: str) -> Path:
        """See Source.fetch; what is here and intact is not fetched again.

        Raises:
            VersionNotFound: the store has no such version, or one with other content.
            IntegrityError: what arrived is damaged.
            NoSpace: the disk is full although everything unused was removed.
            StoreUnavailable: the store does not answer, and the model is not here.
        """
        path = self._root / "models" / digest.removeprefix("sha256:")
        with _disk_errors(self._root), self._filling(digest):
            self._pin(digest)
            if not self._intact(path):
                self._download(Tag(name, version), digest, path)
            os.utime(path)
        self.evict()
        return path

    def settings(self, name: str, version: str) -> Mapping[str, Any]:
        """See Source.settings.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        return self._client.version(Tag(name, version)).settings

    def release(self, digest: str) -> None:
        """Say that this runner uses a model no more; it stays until its place is needed."""
        with self._lock:
            descriptor = self._pins.pop(digest, None)
        if descriptor is not None:
            os.close(descriptor)

    def evict(self) -> int:
        """Remove the least recently fetched models that nobody uses until the limit is kept.

        Returns:
            How many were removed.
        """
        removed = 0
        sizes = sorted((path.stat().st_mtime, path, _size_bytes(path)) for path in self._models())
        total = sum(size for _, _, size in sizes)
        for _, path, size in sizes:
            if total <= self._limit_bytes:
                break
            if self._remove(path):
                total -= size
                removed += 1
        return removed

    def close(self) -> None:
        """Release everything and close connections."""
        for digest in list(self._pins):
            self.release(digest)
        self._client.close()

    def _download(self, tag: Tag, digest: str, path: Path) -> None:
        remote = self._client.version(tag)
        if remote.digest != digest:
            raise VersionNotFound(f"the store has another {tag}, with other content")
        self._make_room(remote.manifest.size_bytes)
        staged = self._root / "new" / secrets.token_hex(12)
        staged.mkdir()
        try:
            self._fill(remote, staged)
            sync_tree(staged)
            remove_tree(path)
            staged.rename(path)
        finally:
            remove_tree(staged)
        _log.info("model_fetched", extra={"model": str(tag), "bytes": remote.manifest.size_bytes})

    def _fill(self, remote: RemoteVersion, staged: Path) -> None:
        direct = bool(self._client.service().get("direct"))
        downloads = Downloads(self._root / "partial")
        download_model(
            self._client,
            remote,
            staged,
            downloads,
            threads=DOWNLOAD_THREADS,
            direct=direct,
            progress=Silent(),
        )

    def _intact(self, path: Path) -> bool:
        """Whether a model is here and its bytes are what its digest says."""
        if not path.is_dir():
            return False
        try:
            model = Model.staged(path)
            if model.digest != f"sha256:{path.name}":
                return False
            model.verify()
        except (IntegrityError, StorageError) as error:
            _log.warning("cached_model_damaged", extra={"path": str(path), "reason": error.message})
            return False
        return True

    def _make_room(self, needed_bytes: int) -> None:
        """Remove unused models until the disk has room."""
        for _, path in sorted((path.stat().st_mtime, path) for path in self._models()):
            if shutil.disk_usage(self._root).free >= needed_bytes:
                return
            self._remove(path)
        if shutil.disk_usage(self._root).free < needed_bytes:
            raise NoSpace(
                f"the model has {needed_bytes} bytes; the disk of the cache {self._root} has less left"
            )

    def _models(self) -> list[Path]:
        return [path for path in (self._root / "models").iterdir() if path.is_dir()]

    def _remove(self, path: Path) -> bool:
        """Remove a model unless a runner uses it; it vanishes by a rename."""
        descriptor = os.open(self._lock_path(path.name), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            aside = self._root / "new" / secrets.token_hex(12)
            path.rename(aside)
            remove_tree(aside)
        except (BlockingIOError, FileNotFoundError):
            return False
        finally:
            os.close(descriptor)
        return True

    def _pin(self, digest: str) -> None:
        """Keep other runners, and ourselves, from removing a model."""
        with self._lock:
            if digest not in self._pins:
                descriptor = os.open(
                    self._lock_path(digest.removeprefix("sha256:")), os.O_RDWR | os.O_CREAT, 0o600
                )
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                self._pins[digest] = descriptor

    @contextlib.contextmanager
    def _filling(self, digest: str) -> Iterator[None]:
        """One runner fetches a model; others that want it wait and find it."""
        import filelock

        with filelock.FileLock(self._root / "locks" / f"{digest.removeprefix('sha256:')}.filling"):
            yield

    def _lock_path(self, hexdigits: str) -> Path:
        return self._root / "locks" / f"{hexdigits}.lock"

    def _sweep(self) -> None:
        """Remove what killed runners left on its way."""
        oldest = _clock.wall_s() - STALE_NEW_S
        for path in (self._root / "new").iterdir():
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    remove_tree(path)


def _size_bytes(path: Path) -> int:
    """Bytes of a model, by its manifest; those that cannot be read count nothing and are found by their next use."""
    try:
        return Model.staged(path).size_bytes
    except (IntegrityError, NewerFormat, StorageError):
        return 0


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the model cache {root} refuses: {error.strerror or error}") from error
