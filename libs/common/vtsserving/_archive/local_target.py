"""Files and folders on this machine that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from vtsserving._archive.disk import path_errors
from vtsserving._archive.streams import Writable
from vtsserving.exceptions import AlreadyExists, InvalidArgument

_PARTIAL: Final = re.compile(r"\.(?P<name>.+)\.(?P<pid>[0-9]+)-[0-9a-f]{8}\.partial")
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_NO_TMPFILE: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})


@contextlib.contextmanager
def create_file(path: Path, *, force: bool) -> Iterator[Writable]:
    """Write a file that appears only when the block ends without an error.

    Where the file system can, the file has no name until it is whole, so that not even a killed process leaves
    anything; elsewhere it has a hidden one, which the next export to the same name removes.

    Args:
        path: the file.
        force: replace an existing one.

    Yields:
        Where the bytes go.

    Raises:
        AlreadyExists: the file exists and `force` is not set.
        InvalidArgument: the folder does not exist.
        StorageError: the disk refuses.
    """
    _check_target(path, force=force)
    _sweep(path)
    partial = _partial_of(path)
    with path_errors(path):
        nameless = _open_nameless(path.parent)
        fd = nameless if nameless is not None else os.open(partial, _NEW_FILE, 0o666)
    try:
        with os.fdopen(fd, "wb", buffering=0) as file:
            yield _Checked(file, path)
            with path_errors(path):
                os.fsync(fd)
                if nameless is not None:
                    _name(fd, partial if force else path)
        with path_errors(path):
            if force or nameless is None:
                _put_in_place(partial, path, force=force)
            _sync(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def create_folder(path: Path, *, force: bool) -> Iterator[Path]:
    """Fill a folder that appears only when the block ends without an error.

    Args:
        path: the folder.
        force: replace an existing one.

    Yields:
        An empty folder to fill.

    Raises:
        AlreadyExists: something exists at the path and `force` is not set.
        InvalidArgument: the folder above it does not exist.
        StorageError: the disk refuses.
    """
    _check_target(path, force=force)
    _sweep(path)
    partial = _partial_of(path)
    try:
        with path_errors(path):
            partial.mkdir()
        yield partial
        with path_errors(path):
            if force and path.is_dir() and not path.is_symlink():
                old = _partial_of(path)
                path.rename(old)
                partial.rename(path)
                shutil.rmtree(old)
            elif path.exists():
                raise AlreadyExists(f"{path} exists already; --force replaces it")
            else:
                partial.rename(path)
            _sync(path.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


class _Checked:
    """A local file whose errors are StorageErrors."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._path = path

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        while view:
            with path_errors(self._path):
                view = view[self._file.write(view) :]
        return len(data)


def _check_target(path: Path, *, force: bool) -> None:
    if not path.parent.is_dir():
        raise InvalidArgument(f"{path.parent} does not exist; create it first: mkdir -p {path.parent}")
    if not force and os.path.lexists(path):
        raise AlreadyExists(f"{path} exists already; --force replaces it")


def _open_nameless(folder: Path) -> int | None:
    if not hasattr(os, "O_TMPFILE") or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    except OSError as e:
        if e.errno in _NO_TMPFILE:
            return None
        raise


def _name(fd: int, path: Path) -> None:
    """Give a nameless file its name, which must be free."""
    # With a folder's descriptor Python calls linkat(AT_SYMLINK_FOLLOW), without one link(), which would link the link.
    fds = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(fd), path, src_dir_fd=fds, follow_symlinks=True)
    except FileExistsError as e:
        raise AlreadyExists(f"{path} exists already; --force replaces it") from e
    finally:
        os.close(fds)


def _put_in_place(partial: Path, path: Path, *, force: bool) -> None:
    if force:
        os.replace(partial, path)
    else:
        try:
            os.link(partial, path)
        except FileExistsError as e:
            raise AlreadyExists(f"{path} exists already; --force replaces it") from e
        except OSError:
            # No hard links here (FAT, some network mounts): a rename, after one more look.
            if os.path.lexists(path):
                raise AlreadyExists(f"{path} exists already; --force replaces it") from None
            os.replace(partial, path)
        else:
            partial.unlink()


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _partial_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")


def _sweep(path: Path) -> None:
    """Remove what dead processes left of exports to this name."""
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            match = _PARTIAL.fullmatch(entry.name)
            if match is None or match["name"] != path.name or _is_alive(int(match["pid"])):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                os.unlink(entry.path)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
