"""Storage in a directory: for one machine, for tests, and for any number of store processes on one file system.

Objects are files under their keys. A file is written in `.tmp/`, synced, and then moved (`put`) or linked (`create`) to
its place, which the file system does for one of any number of racing writers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from vtsserving import _clock
from vtsserving.exceptions import BlobNotFound, IntegrityError, NoSpace, StorageError, StoreUnavailable
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import CHUNK_BYTES, ObjectEntry, verified

STALE_TEMPORARY_S: Final = 24 * 3600.0
"""Temporary files older than this belong to nobody any more."""

RETRY_AFTER_S: Final = 2.0
"""What clients are told to wait when the directory is not there."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class DirectoryObjectStore:
    """Implements `Blobs` on a local file system."""

    def __init__(self, root: Path) -> None:
        """Open (and create) the directory.

        Args:
            root: the store's directory; one file system holds all of it.

        Raises:
            StorageError: it cannot be created or written.
        """
        self._root = root.absolute()
        self._temporary = self._root / ".tmp"
        with _disk_errors(self._root):
            self._temporary.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def describe(self) -> str:
        """See Blobs."""
        return f"directory {self._root}"

    def create(self, key: str, data: bytes) -> bool:
        """See Blobs."""
        target = self._path(key)
        with self._temporary_file() as (temporary, handle):
            handle.write(data)
            _sync(handle)
            while True:
                _make_folder(target.parent)
                try:
                    os.link(temporary, target)
                except FileExistsError:
                    return False
                except FileNotFoundError:
                    continue  # a concurrent delete pruned the empty folder
                _sync_folder(target.parent)
                return True

    def put(self, key: str, data: bytes | bytearray) -> None:
        """See Blobs."""
        with self._temporary_file() as (temporary, handle):
            handle.write(data)
            _sync(handle)
            self._move(temporary, self._path(key))

    def assemble(self, key: str, chunks: Iterable[bytes], *, size_bytes: int, digest: str) -> None:
        """See Blobs."""
        with self._temporary_file() as (temporary, handle):
            for chunk in verified(chunks, size_bytes=size_bytes, digest=digest):
                handle.write(chunk)
            _sync(handle)
            self._move(temporary, self._path(key))

    def read(self, key: str, *, limit_bytes: int) -> bytes | None:
        """See Blobs."""
        with _disk_errors(self._root):
            try:
                with self._path(key).open("rb") as handle:
                    data = handle.read(limit_bytes + 1)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._must_be_there()
                return None
        if len(data) > limit_bytes:
            raise IntegrityError(f"{key} is larger than the {limit_bytes} bytes that it may have")
        return data

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See Blobs."""
        with _disk_errors(self._root):
            try:
                handle = self._path(key).open("rb", buffering=0)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._must_be_there()
                raise BlobNotFound(f"no object {key}") from None
            with handle:
                left = os.fstat(handle.fileno()).st_size - start if length is None else length
                handle.seek(start)
                while left > 0:
                    chunk = handle.read(min(CHUNK_BYTES, left))
                    if not chunk:
                        raise StoreUnavailable(f"{key} ended {left} bytes early")
                    left -= len(chunk)
                    yield chunk

    def stat(self, key: str) -> ObjectEntry | None:
        """See Blobs."""
        with _disk_errors(self._root):
            try:
                found = self._path(key).stat()
            except (FileNotFoundError, NotADirectoryError):
                self._must_be_there()
                return None
            return _entry(key, found)

    def entries(self, prefix: str, *, after: str = "") -> Iterator[ObjectEntry]:
        """See Blobs."""
        folder = prefix.rpartition("/")[0]
        with _disk_errors(self._root):
            for entry in self._walk(self._root / folder, f"{folder}/" if folder else "", after):
                if entry.key > after and entry.key.startswith(prefix):
                    yield entry

    def delete(self, key: str) -> None:
        """See Blobs."""
        path = self._path(key)
        with _disk_errors(self._root):
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                self._must_be_there()
            for folder in path.parents:
                if folder == self._root:
                    break
                try:
                    folder.rmdir()
                except OSError:  # not empty, or gone already
                    break

    def presign(self, method: str, key: str, *, expires_s: int) -> str | None:
        """See Blobs; a directory has no URLs."""
        del method, key, expires_s
        return None

    def close(self) -> None:
        """See Blobs."""

    def _path(self, key: str) -> Path:
        if not keys.is_key(key):
            raise StorageError(f"{key!r} is not a key of the store; this is a defect of the store service")
        return self._root / key

    def _walk(self, folder: Path, base: str, after: str) -> Iterator[ObjectEntry]:
        """Depth first in the order of whole keys, where `a-b` comes before `a/b`."""
        try:
            with os.scandir(folder) as scanned:
                names = sorted((found.name + "/" if found.is_dir() else found.name) for found in scanned)
        except (FileNotFoundError, NotADirectoryError):
            self._must_be_there()
            return
        for name in names:
            key = base + name
            if name.startswith("."):
                continue
            if not name.endswith("/"):
                with contextlib.suppress(FileNotFoundError):
                    yield _entry(key, (folder / name).stat())
            elif key > after or after.startswith(key):
                yield from self._walk(folder / name[:-1], key, after)

    def _must_be_there(self) -> None:
        """Tell an object that does not exist from a file system that is not mounted."""
        if not self._temporary.is_dir():
            raise StoreUnavailable(
                f"the store's directory {self._root} is not there: is its file system mounted?",
                retry_after_s=RETRY_AFTER_S,
            )

    @contextlib.contextmanager
    def _temporary_file(self) -> Iterator[tuple[Path, _Writer]]:
        path = self._temporary / secrets.token_hex(12)
        with _disk_errors(self._root):
            self._must_be_there()
            try:
                with path.open("xb", buffering=0) as raw:
                    yield path, _Writer(raw.fileno())
            finally:
                path.unlink(missing_ok=True)

    def _move(self, temporary: Path, target: Path) -> None:
        while True:
            _make_folder(target.parent)
            try:
                temporary.replace(target)
            except FileNotFoundError:
                if not temporary.exists():
                    raise
                continue  # a concurrent delete pruned the empty folder
            _sync_folder(target.parent)
            return

    def _sweep(self) -> None:
        """Remove what killed processes left behind."""
        oldest = _clock.wall_s() - STALE_TEMPORARY_S
        with contextlib.suppress(OSError):
            for path in self._temporary.iterdir():
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < oldest:
                        path.unlink()


class _Writer:
    """Writes all of its argument, which one `os.write` need not do."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self.descriptor, view) :]


def _sync(handle: _Writer) -> None:
    os.fsync(handle.descriptor)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, however often concurrent deletes prune them meanwhile."""
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:
            continue
        except FileExistsError:
            if folder.exists() and not folder.is_dir():
                raise
            continue
        return


def _sync_folder(folder: Path) -> None:
    """Make a new name durable; the folder may be gone again already."""
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _entry(key: str, found: os.stat_result) -> ObjectEntry:
    return ObjectEntry(key, found.st_size, f"{found.st_mtime_ns:x}-{found.st_ino:x}", found.st_mtime)


@contextlib.contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    """Say what the disk's refusal means."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace(
                f"no space left in the store's directory {root}: free some and try again"
            ) from error
        raise StorageError(f"the store's directory {root} refuses: {error.strerror or error}") from error
