"""Fetching a model's blobs into a directory: what is at hand is copied, what was begun is continued.

A blob arrives in `<partial>/<digest>.part`, which survives a crash; it is verified from its first to its last byte
before it gets its name in the model's directory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vtsserving import _clock
from vtsserving._local_store.files import write_durably
from vtsserving._model.manifest import MANIFEST_FILE, FileEntry
from vtsserving._store_client.answers import RemoteVersion
from vtsserving._store_client.client import CHUNK_BYTES, RegistryClient
from vtsserving._store_client.progress import Progress
from vtsserving.exceptions import DigestMismatch, NoSpace, StorageError

STALE_PARTIAL_S: Final = 7 * 24 * 3600.0
"""What nobody continued for this long is removed."""


@dataclass(frozen=True)
class Downloads:
    """Where blobs arrive, and what is at hand already.

    Attributes:
        partial: directory for blobs on their way.
        at_hand: digest (hexadecimal) to local files that should have it; they are verified when copied.
    """

    partial: Path
    at_hand: Mapping[str, Sequence[str]] = field(default_factory=dict)


def download_model(
    client: RegistryClient,
    remote: RemoteVersion,
    into: Path,
    downloads: Downloads,
    *,
    threads: int,
    direct: bool,
    progress: Progress,
) -> None:
    """Fetch all files of a version; when this returns, every byte was verified.

    Args:
        client: of the store.
        remote: the version.
        into: an empty directory.
        downloads: where blobs arrive.
        threads: files at the same time.
        direct: whether to try the storage itself.
        progress: is told.

    Raises:
        DigestMismatch: a blob is not what its digest says.
        NoSpace: the disk is full.
        StoreUnavailable: the store stopped answering; the next call goes on.
    """
    with _disk_errors(into):
        downloads.partial.mkdir(parents=True, exist_ok=True)
        _sweep(downloads.partial)
        _check_space(into, remote.manifest.size_bytes)
        for entry in remote.manifest.files:
            (into / entry.path).parent.mkdir(parents=True, exist_ok=True)
    progress.begin({entry.path: entry.size for entry in remote.manifest.files})
    pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="pull")
    try:
        by_size = sorted(remote.manifest.files, key=lambda entry: -entry.size)
        tasks = [pool.submit(_fetch, client, entry, into, downloads, direct, progress) for entry in by_size]
        done, _ = wait(tasks, return_when=FIRST_EXCEPTION)
        for task in done:
            task.result()
    except Exception:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    except BaseException:
        # Ctrl-C: whoever interrupts does not want to wait; closing the client ends what is on its way.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
    with _disk_errors(into):
        write_durably(into / MANIFEST_FILE, remote.manifest.to_bytes())


def _fetch(
    client: RegistryClient,
    entry: FileEntry,
    into: Path,
    downloads: Downloads,
    direct: bool,
    progress: Progress,
) -> None:
    target = into / entry.path
    with _disk_errors(into):
        if any(_copied(Path(source), target, entry) for source in downloads.at_hand.get(entry.sha256, ())):
            progress.advance(entry.path, entry.size)
            return
        import filelock

        part = downloads.partial / f"{entry.sha256}.part"
        # Two pulls of one blob take turns; the second one begins anew, because the first one took the file away.
        with filelock.FileLock(f"{part}.lock"):
            resumed = part.exists() and part.stat().st_size > 0
            try:
                _receive(client, entry, part, direct, progress)
            except DigestMismatch:
                if not resumed:
                    raise
                # What lay there from the last time was damaged; it is gone now, and the whole file may be right.
                _receive(client, entry, part, direct, progress)
            _move(part, target)


def _receive(client: RegistryClient, entry: FileEntry, part: Path, direct: bool, progress: Progress) -> None:
    """Complete a partial file; removes it and says so if it came out wrong."""
    digest = hashlib.sha256()
    with part.open("a+b", buffering=0) as file:
        have = os.fstat(file.fileno()).st_size
        if have > entry.size:
            file.truncate(0)
            have = 0
        file.seek(0)
        for chunk in _read(file.fileno(), have):
            digest.update(chunk)
        progress.advance(entry.path, have)
        stream = client.download(f"sha256:{entry.sha256}", entry.size, start=have, direct=direct)
        for chunk in stream:
            _write(file.fileno(), chunk)
            digest.update(chunk)
            progress.advance(entry.path, len(chunk))
        os.fsync(file.fileno())
    if digest.hexdigest() != entry.sha256:
        part.unlink()
        progress.advance(entry.path, -entry.size)
        raise DigestMismatch(
            f"{entry.path!a:.200} arrived with other content than was pushed; nothing was changed here, try again"
        )


def _copied(source: Path, target: Path, entry: FileEntry) -> bool:
    """Copy a file that is at hand, if it is what it should be."""
    digest = hashlib.sha256()
    try:
        if source.stat().st_size != entry.size:
            return False
        with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
            for chunk in _read(reading.fileno(), entry.size):
                digest.update(chunk)
                _write(writing.fileno(), chunk)
            os.fsync(writing.fileno())
    except FileNotFoundError:
        return False
    if digest.hexdigest() == entry.sha256:
        return True
    target.unlink()
    return False


def _move(part: Path, target: Path) -> None:
    try:
        part.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(part, target)
        part.unlink()


def _read(descriptor: int, left: int) -> Iterator[bytes]:
    while left > 0:
        chunk = os.read(descriptor, min(CHUNK_BYTES, left))
        if not chunk:
            return
        left -= len(chunk)
        yield chunk


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _check_space(into: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(into).free
    if free < needed_bytes:
        raise NoSpace(f"the model has {needed_bytes} bytes; only {free} are free where {into.parent} lies")


def _sweep(partial: Path) -> None:
    """Remove what was given up long ago."""
    oldest = _clock.wall_s() - STALE_PARTIAL_S
    for path in partial.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


@contextlib.contextmanager
def _disk_errors(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise NoSpace(f"no space left where {where.parent} lies: free some and pull again") from error
        raise StorageError(f"{where.parent} refuses: {error.strerror or error}") from error
