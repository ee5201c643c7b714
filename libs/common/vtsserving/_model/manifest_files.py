"""The files of a model: which names are allowed, and reading them for size and digest."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from vtsserving.exceptions import IntegrityError

MAX_FILES: Final = 50_000
MANIFEST_FILE: Final = "manifest.json"
MAX_PATH_CHARS: Final = 1_024
MAX_PATH_PART_BYTES: Final = 255
READ_BYTES: Final = 2**20
_BAD_CHARS: Final = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')

# Most paths, for which nothing else needs to be looked at; it must not fit the name of the manifest.
_PLAIN_PATH: Final = re.compile(r"(?!manifest\.)[a-z0-9][a-z0-9_]{0,50}(?:\.[a-z0-9_]{1,20})?")


class FileEntry(NamedTuple):
    """One file of a model.

    Attributes:
        path: relative, with `/` between its parts.
        size: bytes.
        sha256: of the content, 64 hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


def walk_files(directory: Path, prefix: str = "") -> Iterator[str]:
    """Relative paths of all regular files, in no particular order, the manifest itself left out.

    Raises:
        IntegrityError: something is neither a file nor a directory.
    """
    with os.scandir(directory) as children:
        for child in children:
            path = prefix + child.name
            mode = child.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                yield from walk_files(directory / child.name, path + "/")
            elif not stat.S_ISREG(mode):
                raise IntegrityError(
                    f"{path!a} is neither a regular file nor a directory; a model holds only those"
                )
            elif path != MANIFEST_FILE:
                yield path


def hash_files(directory: Path) -> tuple[FileEntry, ...]:
    """Read all files of a directory, the manifest left out.

    Returns:
        Their entries, sorted by path.

    Raises:
        IntegrityError: something is not a regular file, or has a name that cannot be stored everywhere.
    """
    return check_paths(hash_file(directory, path) for path in walk_files(directory))


def hash_file(directory: Path, path: str) -> FileEntry:
    """Read one file for its size and digest.

    Args:
        directory: the model's directory.
        path: relative, with `/`.
    """
    digest = hashlib.sha256()
    size = 0
    with open(directory / path, "rb", buffering=0) as file:
        buffer = memoryview(bytearray(READ_BYTES))
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            size += count
    return FileEntry(path, size, digest.hexdigest())


def check_file(directory: Path, entry: FileEntry, owner: str) -> None:
    """Compare one file with its entry.

    Raises:
        IntegrityError: size or content differ.
    """
    # The size alone catches truncation without reading gigabytes.
    if (directory / entry.path).stat().st_size != entry.size or hash_file(directory, entry.path) != entry:
        raise IntegrityError(
            f"{owner}: the file {entry.path!a} is damaged: its bytes do not match the manifest"
        )


def check_paths(entries: Iterable[FileEntry]) -> tuple[FileEntry, ...]:
    """Check that the paths are safe and distinct on every file system.

    Returns:
        The entries, sorted by path.

    Raises:
        IntegrityError: a path is unsafe, or two would meet in one file; the message names it.
    """
    ordered = tuple(sorted(entries))
    if len(ordered) > MAX_FILES:
        raise IntegrityError(f"a model has at most {MAX_FILES} files, not {len(ordered)}")
    files: set[str] = set()
    folders: set[str] = set()
    for entry in ordered:
        _check_path(entry.path)
        key = _folded(entry.path)
        parents = set(_parents(key)) if "/" in key else set()
        if key in files or key in folders or parents & files:
            raise IntegrityError(f"the path {entry.path!a} meets another one where case or form do not count")
        files.add(key)
        folders |= parents
    return ordered


def _parents(path: str) -> Iterator[str]:
    return (path[:at] for at, char in enumerate(path) if char == "/")


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def _check_path(path: str) -> None:
    if _PLAIN_PATH.fullmatch(path):
        return
    if not 0 < len(path) <= MAX_PATH_CHARS or _BAD_CHARS.search(path):
        raise IntegrityError(f"the path {path!a:.200} cannot be stored on every system")
    try:
        parts = path.encode().split(b"/")
    except UnicodeEncodeError as error:
        raise IntegrityError(f"the path {path!a:.200} is not Unicode text") from error
    bad = any(part in (b"", b".", b"..") or part.endswith((b" ", b".")) for part in parts)
    if bad or any(len(part) > MAX_PATH_PART_BYTES for part in parts) or _folded(path) == MANIFEST_FILE:
        raise IntegrityError(f"the path {path!a:.200} is not a plain relative path")
