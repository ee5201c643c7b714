"""How the local store touches the disk: durable writes, atomic swaps, readable errors."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vtsserving.exceptions import StorageError

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn an OSError of the block into a StorageError that says what was attempted.

    Args:
        doing: what was attempted, for example `cannot save iris_clf`.

    Raises:
        StorageError: the disk is full, read-only, not permitted, or no directory.
    """
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise StorageError(f"{doing}: {error.strerror or error}{where}") from error


def write_durably(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a new file and wait until the disk has it.

    Args:
        path: the file.
        content: of the file.
        mode: its permissions, less what the process' umask takes away.
    """
    with open(path, "wb", opener=functools.partial(os.open, mode=mode)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_durably(path: Path, content: bytes, beside: Path, *, mode: int = 0o666) -> None:
    """Replace a file so that every reader sees the old or the new content, whole.

    Args:
        path: the file.
        content: its new content.
        beside: a private path on the same file system, to write to first.
        mode: its permissions, less what the process' umask takes away.
    """
    write_durably(beside, content, mode=mode)
    os.replace(beside, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Wait until the disk has the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Wait until the disk has every file and name below a directory."""
    for folder, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(folder))


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it; it need not exist."""
    # A model's author may have made its directories read-only, which stops rmtree for everyone but root.
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def swap(first: Path, second: Path) -> None:
    """Exchange two directories, atomically where the system can (Linux)."""
    if not _exchanged(first, second):
        aside = second.with_name(second.name + ".aside")
        os.rename(second, aside)
        os.rename(first, second)
        os.rename(aside, first)


def _exchanged(first: Path, second: Path) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    failed: int = rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return failed == 0
