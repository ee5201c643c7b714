"""Private directories in which models are put together, and the removal of what dead processes left."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from vtsserving._local_store.files import remove_tree, storage_errors

_LOCK_SUFFIX: Final = ".lock"


@contextlib.contextmanager
def staging(area: Path) -> Iterator[Path]:
    """Make a private directory that lives as long as the block, at most as long as this process.

    Args:
        area: the store's temporary area, on the store's file system.

    Yields:
        The directory; if it is still there when the block ends, it is removed.

    Raises:
        StorageError: the directory cannot be made.
    """
    import filelock

    path = area / f"{os.getpid()}-{secrets.token_hex(8)}"
    with storage_errors("the local model store cannot be written to"):
        area.mkdir(parents=True, exist_ok=True)
        # The lock says that the owner lives; unlike a process id, it means the same in every container.
        alive = filelock.FileLock(_lock_path(path), thread_local=False)
        alive.acquire()
    try:
        with storage_errors("the local model store cannot be written to"):
            path.mkdir()
        yield path
    finally:
        remove_tree(path)
        _lock_path(path).unlink(missing_ok=True)
        alive.release()


def sweep(area: Path) -> None:
    """Remove what processes that no longer live left in the temporary area.

    Args:
        area: the store's temporary area; it need not exist.
    """
    if not area.is_dir():
        return
    for name in {entry.removesuffix(_LOCK_SUFFIX) for entry in os.listdir(area)}:
        _remove_if_dead(area / name)


def _remove_if_dead(path: Path) -> None:
    import filelock

    lock = filelock.FileLock(_lock_path(path), thread_local=False)
    # The owner removes its files before it releases the lock, so who gets the lock finds only a dead one's.
    with contextlib.suppress(OSError):
        lock.acquire(blocking=False)
        try:
            remove_tree(path)
            _lock_path(path).unlink(missing_ok=True)
        finally:
            lock.release()


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + _LOCK_SUFFIX)
