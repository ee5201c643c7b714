"""The files of a model that lies in a plain folder, here or behind a URL."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vtsserving._archive.extract import SourceFile
from vtsserving._archive.limits import CHUNK_BYTES
from vtsserving._archive.pack import Contents, files_of
from vtsserving.exceptions import NotFound, UnsafeArchive

if TYPE_CHECKING:
    from vtsserving._archive.remote import Remote


def local_files(directory: Path, on_progress: Callable[[int], None] | None) -> Iterator[SourceFile]:
    """The files of a folder on this machine.

    Args:
        directory: a model's folder.
        on_progress: told how many bytes were read, each time.

    Yields:
        Each regular file.

    Raises:
        UnsafeArchive: a link or a special file.
    """
    contents = Contents({}, on_progress)
    for file in files_of(directory):
        yield SourceFile(file.name, contents(file))


def remote_files(remote: Remote, on_progress: Callable[[int], None] | None) -> Iterator[SourceFile]:
    """The files of a folder behind a URL.

    Args:
        remote: the folder.
        on_progress: told how many bytes were read, each time.

    Yields:
        Each file that the folder lists.

    Raises:
        NotFound: there is no such folder, or it is empty.
    """
    from vtsserving._archive.remote import open_remote, remote_errors

    location = remote.location
    base = remote.path.rstrip("/")
    with remote_errors(location):
        paths = sorted(remote.fs.find(base))
    if not paths:
        raise NotFound(f"{location.shown}: there is no such folder")

    def chunks(path: str) -> Iterator[bytes]:
        with open_remote(remote, path) as file:
            while data := file.read(CHUNK_BYTES):
                if on_progress is not None:
                    on_progress(len(data))
                yield data

    for path in paths:
        name = posixpath.relpath("/" + path.lstrip("/"), "/" + base.lstrip("/"))
        if name.startswith(".."):
            raise UnsafeArchive(f"{location.shown} lists a file outside of it")
        yield SourceFile(name, chunks(path))
