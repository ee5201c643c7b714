"""A model's folder into an archive, byte for byte the same each time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from vtsserving._archive import tar_format
from vtsserving._archive.compression import compressed
from vtsserving._archive.disk import path_errors
from vtsserving._archive.limits import CHUNK_BYTES
from vtsserving._archive.names import Names
from vtsserving._archive.streams import Writable
from vtsserving._archive.zip_format import ZipWriter
from vtsserving.exceptions import IntegrityError, UnsafeArchive

FIRST: Final = ("manifest.json", "model.yaml")
"""Written first, so that a reader knows the model before its weights arrive."""


class PackedFile(NamedTuple):
    """One file to pack: its `name` in the archive and where it lies."""

    name: str
    path: Path
    size_bytes: int


def files_of(directory: Path) -> list[PackedFile]:
    """The files of a model in the order of the archive.

    Args:
        directory: a model's folder.

    Returns:
        manifest.json and model.yaml, then the others sorted by name.

    Raises:
        UnsafeArchive: a link, a special file, or names that an import would refuse.
    """
    found = sorted(_walk(directory, ""), key=lambda file: (file.name not in FIRST, file.name.encode()))
    names = Names()
    for file in found:
        names.file(file.name)
    return found


def write_archive(
    directory: Path,
    stream: Writable,
    archive_format: str,
    *,
    digests: Mapping[str, str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> None:
    """Pack a model's folder; memory does not grow with the model.

    Args:
        directory: a model's folder.
        stream: where the archive goes, forwards only; it stays open.
        archive_format: a key of `formats.EXTENSIONS` other than `folder`.
        digests: sha256 in hex by file name; each file listed here is checked while it is packed.
        on_progress: told how many bytes of files were packed, each time.

    Raises:
        IntegrityError: a file is not what its digest says; what was written must be thrown away.
        UnsafeArchive: the folder holds what an import would refuse.
    """
    read = Contents(digests or {}, on_progress)
    files = files_of(directory)
    if archive_format == "zip":
        _write_zip(files, stream, read)
        return
    with compressed(stream, archive_format) as tar:
        for file in files:
            tar.write(tar_format.header(file.name, file.size_bytes))
            for data in read(file):
                tar.write(data)
            tar.write(tar_format.padding(file.size_bytes))
        tar.write(tar_format.END)


class Contents:
    """Reads files in pieces and compares them with what they should be."""

    def __init__(self, digests: Mapping[str, str], on_progress: Callable[[int], None] | None) -> None:
        """Check against `digests` (sha256 in hex by name); tell `on_progress` each time how much was read."""
        self._digests = digests
        self._on_progress = on_progress

    def __call__(self, file: PackedFile) -> Iterator[bytes]:
        """The bytes of one file.

        Args:
            file: what to read.

        Yields:
            CHUNK_BYTES at most each time, `size_bytes` in all.

        Raises:
            IntegrityError: other bytes than expected, or another number of them.
        """
        expected = self._digests.get(file.name)
        digest = hashlib.sha256()
        left_bytes = file.size_bytes
        with path_errors(file.path), file.path.open("rb", buffering=0) as opened:
            while data := opened.read(CHUNK_BYTES):
                left_bytes -= len(data)
                if left_bytes < 0:
                    break
                if expected is not None:
                    digest.update(data)
                if self._on_progress is not None:
                    self._on_progress(len(data))
                yield data
        if left_bytes or (expected is not None and digest.hexdigest() != expected):
            raise IntegrityError(
                f"{file.path} is not what was saved; the model is damaged, pull or import it again"
            )


def _write_zip(files: list[PackedFile], stream: Writable, read: Contents) -> None:
    archive = ZipWriter(stream)
    try:
        for file in files:
            with archive.add(file.name, file.size_bytes) as member:
                for data in read(file):
                    member.write(data)
        archive.close()
    except BaseException:
        archive.abandon()
        raise


def _walk(directory: Path, prefix: str) -> Iterator[PackedFile]:
    with os.scandir(directory) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path), name + "/")
            elif entry.is_file(follow_symlinks=False):
                yield PackedFile(name, Path(entry.path), entry.stat(follow_symlinks=False).st_size)
            else:
                raise UnsafeArchive(f"{entry.path} is not a regular file; a model holds regular files only")
