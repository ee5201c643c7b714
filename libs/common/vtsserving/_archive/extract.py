"""An archive's files into a private folder; nothing that is not a plain, checked file ever reaches the disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, cast

from vtsserving._archive import tar_format, zip_format
from vtsserving._archive.compression import decompressed
from vtsserving._archive.disk import path_errors
from vtsserving._archive.formats import SNIFF_BYTES, sniff
from vtsserving._archive.limits import CHUNK_BYTES, ArchiveLimits, Budget
from vtsserving._archive.names import Names
from vtsserving._archive.streams import ByteSource, Readable
from vtsserving.exceptions import ArchiveTooLarge

_FILE_FLAGS: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)


class SourceFile(NamedTuple):
    """A file to copy: `name` with `/` between parts, and its bytes, read when they are asked for."""

    name: str
    chunks: Iterable[bytes]


class ExtractedFile(NamedTuple):
    """What was written: `path` with `/` between parts, its size and the sha256 of its bytes, in hex."""

    path: str
    size_bytes: int
    sha256: str


def extract_archive(
    stream: Readable,
    staged: Path,
    limits: ArchiveLimits | None = None,
    *,
    on_progress: Callable[[int], None] | None = None,
) -> list[ExtractedFile]:
    """Unpack an archive of any known format, told by its first bytes.

    Memory does not grow with the archive. Files get mode 0600, folders 0700, and this process's owner, whatever the
    archive says; empty folders are not made.

    Args:
        stream: the archive; it need not seek (a zip is then spooled beside `staged`).
        staged: an existing, empty folder that nobody else writes to; on an error the caller removes it.
        limits: what the archive may unpack to.
        on_progress: told how many packed bytes were read, each time.

    Returns:
        The files, with the digests of what was written.

    Raises:
        CorruptArchive: damaged, cut off, or not an archive.
        UnsafeArchive: links, devices, names that climb or collide.
        ArchiveTooLarge: more bytes, members or expansion than allowed.
    """
    limits = limits or ArchiveLimits()
    source = ByteSource(stream, on_progress)
    archive_format = sniff(source.peek(SNIFF_BYTES))
    target = _Target(staged, Budget(limits, lambda: source.count_bytes))
    if archive_format == "zip":
        _extract_zip(source, stream, target, limits)
    else:
        _extract_tar(decompressed(source, archive_format), target, limits)
    return target.files


def extract_files(
    files: Iterable[SourceFile], staged: Path, limits: ArchiveLimits | None = None
) -> list[ExtractedFile]:
    """Copy the files of a folder, under the same rules as an archive's.

    Args:
        files: what to copy; their number and sizes are not trusted.
        staged: an existing, empty folder that nobody else writes to; on an error the caller removes it.
        limits: how much there may be.

    Returns:
        The files, with the digests of what was written.

    Raises:
        UnsafeArchive: names that climb or collide.
        ArchiveTooLarge: more bytes or files than allowed.
    """
    limits = limits or ArchiveLimits()
    # Plain copies do not expand, so they are their own measure.
    target = _Target(staged, Budget(limits, lambda: target.budget.unpacked_bytes))
    for file in files:
        target.budget.member(0)
        target.write(file.name, file.chunks)
    return target.files


class _Target:
    """The folder that is filled, and what may go into it."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        self.folder = folder
        self.budget = budget
        self.names = Names()
        self.files: list[ExtractedFile] = []

    def write(self, name: str, chunks: Iterable[bytes]) -> None:
        parts = self.names.file(name)
        digest = hashlib.sha256()
        size_bytes = 0
        with self._create(parts) as file:
            for data in chunks:
                self.budget.spend(len(data))
                digest.update(data)
                size_bytes += len(data)
                with path_errors(self.folder):
                    _write_all(file, data)
        self.files.append(ExtractedFile("/".join(parts), size_bytes, digest.hexdigest()))

    def _create(self, parts: tuple[str, ...]) -> IO[bytes]:
        with path_errors(self.folder):
            parent = self.folder
            for part in parts[:-1]:
                parent /= part
                parent.mkdir(mode=0o700, exist_ok=True)
            return os.fdopen(os.open(parent / parts[-1], _FILE_FLAGS, 0o600), "wb", buffering=0)


def _write_all(file: Any, data: bytes) -> None:
    written = file.write(data)
    while written < len(data):
        data = data[written:]
        written = file.write(data)


def _extract_tar(tar: Readable, target: _Target, limits: ArchiveLimits) -> None:
    reader = tar_format.TarReader(tar, limits)
    for member in reader:
        target.budget.member(member.size_bytes)
        if member.is_folder:
            target.names.folder(member.name)
        else:
            target.write(member.name, reader.chunks())


def _extract_zip(source: ByteSource, stream: Readable, target: _Target, limits: ArchiveLimits) -> None:
    if _is_seekable(stream):
        source.count_bytes = cast(IO[bytes], stream).seek(0, os.SEEK_END)
        _extract_zip_file(cast(IO[bytes], stream), target, limits)
        return
    with tempfile.TemporaryFile(dir=target.folder.parent) as spool:
        while data := source.read(CHUNK_BYTES):
            with path_errors(target.folder.parent):
                spool.write(data)
            if source.count_bytes > limits.total_bytes:
                raise ArchiveTooLarge(f"the archive has more than {limits.total_bytes} bytes")
        _extract_zip_file(spool, target, limits)


def _extract_zip_file(file: IO[bytes], target: _Target, limits: ArchiveLimits) -> None:
    for member in zip_format.read_directory(file, limits):
        target.budget.member(member.size_bytes)
        if member.is_folder:
            target.names.folder(member.name)
        else:
            target.write(member.name, zip_format.chunks(file, member))


def _is_seekable(stream: Any) -> bool:
    seekable = getattr(stream, "seekable", None)
    return bool(seekable is not None and seekable())
