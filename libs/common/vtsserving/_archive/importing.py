"""A model into the local store: from a file, a folder or a URL."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vtsserving._archive.disk import path_errors
from vtsserving._archive.extract import ExtractedFile, extract_archive, extract_files
from vtsserving._archive.folder import local_files, remote_files
from vtsserving._archive.limits import ArchiveLimits
from vtsserving._archive.locations import HTTP_SCHEMES, Location, parse_location
from vtsserving._archive.streams import Readable
from vtsserving._model.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, Manifest
from vtsserving.exceptions import CorruptArchive, IntegrityError, InvalidArgument, NotFound

if TYPE_CHECKING:
    from vtsserving._local_store.model import Model
    from vtsserving._local_store.store import LocalStore


def import_model(
    path: str | os.PathLike[str],
    *,
    options: Mapping[str, Any] | None = None,
    skip_existing: bool = False,
    force: bool = False,
    limits: ArchiveLimits | None = None,
    on_progress: Callable[[int], None] | None = None,
    store: LocalStore | None = None,
) -> Model:
    """Import a model under the tag that it was saved with.

    Nothing is executed or unpickled. Every byte is compared with the manifest, and the model appears whole or not at
    all. Importing what is there already, byte for byte, succeeds; if files of it were damaged since, it repairs them.

    Args:
        path: an archive, told by its first bytes, or a folder; a path or a URL.
        options: credentials, endpoint_url and so on, for the file system of a URL.
        skip_existing: where the tag exists, with whatever content, keep that model and return it.
        force: where the tag exists with other content, replace it.
        limits: what an archive may unpack to.
        on_progress: told how many bytes were read, each time.
        store: the local store; the user's own if None.

    Returns:
        The model in the local store.

    Raises:
        NotFound: there is nothing at the path.
        CorruptArchive: damaged, cut off, or not a model archive.
        UnsafeArchive: it holds links, devices, or names that climb or collide.
        ArchiveTooLarge: it unpacks to more than `limits` allow.
        IntegrityError: its files are not what its manifest says.
        AlreadyExists: the tag exists with other content.
        ForbiddenSource: the address must not be fetched from.
        Unavailable: the remote side cannot be reached.
        StorageError: the disk refuses.
    """
    from vtsserving._local_store.store import LocalStore

    location = parse_location(path)
    store = store or LocalStore()
    limits = limits or ArchiveLimits()
    with contextlib.ExitStack() as stack:
        # The source comes first: a wrong address then fails before the store is touched.
        fill = stack.enter_context(_source(location, options or {}, limits, on_progress))
        staged = stack.enter_context(store.staging())
        manifest = check_files(staged, fill(staged))
        if skip_existing:
            with contextlib.suppress(NotFound):
                existing = store.get(manifest.tag)
                if existing.tag == manifest.tag:
                    return existing
        return store.adopt(staged, force=force or _is_damaged(store, manifest))


def check_files(staged: Path, files: list[ExtractedFile]) -> Manifest:
    """Compare what was written with the manifest among it.

    Args:
        staged: the folder.
        files: what was written there, with the digests of the bytes as they were written.

    Returns:
        The manifest.

    Raises:
        CorruptArchive: there is no manifest at the root.
        IntegrityError: files are missing, unknown or changed; the message names one.
    """
    found = {file.path: (file.size_bytes, file.sha256) for file in files}
    if MANIFEST_FILE not in found:
        raise CorruptArchive(f"this is not a model: it has no {MANIFEST_FILE} at its root")
    if found.pop(MANIFEST_FILE)[0] > MAX_MANIFEST_BYTES:
        raise IntegrityError(f"the manifest has more than {MAX_MANIFEST_BYTES} bytes")
    manifest = Manifest.from_bytes((staged / MANIFEST_FILE).read_bytes())
    for entry in manifest.files:
        if entry.path not in found:
            raise IntegrityError(f"{manifest.tag}: the file {entry.path!a} is missing")
        if found.pop(entry.path) != (entry.size, entry.sha256):
            raise IntegrityError(
                f"{manifest.tag}: the file {entry.path!a} is damaged: its bytes do not match the manifest"
            )
    if found:
        raise IntegrityError(f"{manifest.tag}: the file {min(found)!a} does not belong to the model")
    return manifest


def _is_damaged(store: LocalStore, incoming: Manifest) -> bool:
    """Whether the store has this very model, but with files that are not what its manifest says."""
    try:
        existing = store.get(incoming.tag)
        if existing.tag == incoming.tag and existing.digest == incoming.digest:
            existing.verify()
    except NotFound:
        return False
    except IntegrityError:
        return True
    return False


_Fill = Callable[[Path], list[ExtractedFile]]


@contextlib.contextmanager
def _source(
    location: Location,
    options: Mapping[str, Any],
    limits: ArchiveLimits,
    on_progress: Callable[[int], None] | None,
) -> Iterator[_Fill]:
    """Open the source; yields what fills a folder from it."""
    if location.is_local and location.path.is_dir():
        files = local_files(location.path, on_progress)
        yield lambda staged: extract_files(files, staged, limits)
    elif location.is_local or location.scheme in HTTP_SCHEMES:
        with _open_archive(location) as stream:
            yield lambda staged: extract_archive(stream, staged, limits, on_progress=on_progress)
    else:
        from vtsserving._archive.remote import connect, is_folder, open_remote

        remote = connect(location, options)
        if is_folder(remote):
            files = remote_files(remote, on_progress)
            yield lambda staged: extract_files(files, staged, limits)
        else:
            with open_remote(remote) as stream:
                yield lambda staged: extract_archive(stream, staged, limits, on_progress=on_progress)


@contextlib.contextmanager
def _open_archive(location: Location) -> Iterator[Readable]:
    if location.is_local:
        if not location.path.exists():
            raise NotFound(f"{location.shown} does not exist; give the path or URL of an archive or a folder")
        if not location.path.is_file():
            raise InvalidArgument(f"{location.shown} is neither a file nor a folder")
        with path_errors(location.path):
            file = location.path.open("rb", buffering=0)
        with file:
            yield file
    else:
        from vtsserving._archive.http_source import open_http

        with open_http(location) as body:
            yield body
