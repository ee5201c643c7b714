"""A model out of the local store: to a file, a folder or a URL."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtsserving._archive.formats import DEFAULT_FORMAT, EXTENSIONS, format_of_name, parse_format
from vtsserving._archive.local_target import create_file, create_folder
from vtsserving._archive.locations import HTTP_SCHEMES, Location, parse_location
from vtsserving._archive.pack import Contents, files_of, write_archive
from vtsserving._model.manifest import MANIFEST_FILE
from vtsserving.exceptions import AlreadyExists, InvalidArgument, StorageError, VersionNotFound

if TYPE_CHECKING:
    from vtsserving._archive.remote import Remote
    from vtsserving._local_store.model import Model
    from vtsserving._local_store.store import LocalStore
    from vtsserving._model.tag import Tag


def export_model(
    tag: str | Tag,
    path: str | os.PathLike[str],
    output_format: str | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    force: bool = False,
    on_progress: Callable[[int], None] | None = None,
    store: LocalStore | None = None,
) -> str:
    """Export a model to an archive or a folder, which then is whole or absent.

    Each file is compared with its recorded digest on the way, and equal models give equal archives, byte for byte.

    Args:
        tag: the model.
        path: a folder (an existing one, or with a slash at the end), which gets a file `<name>-<version>.<ext>`; or a
            file name; or a URL of either. A name without a known extension gets `.vtsmodel`.
        output_format: vtsmodel, tar, gz, xz, bz2, zip or folder; told by the file name if None.
        options: credentials, endpoint_url and so on, for the file system of a URL.
        force: replace what exists.
        on_progress: told how many bytes of the model were packed, each time.
        store: the local store to take it from; if None, wherever this process finds models.

    Returns:
        Where it was exported to, without password.

    Raises:
        ModelNotFound: there is no such model.
        AlreadyExists: the target exists and `force` is not set.
        IntegrityError: the stored model is damaged.
        InvalidArgument: unknown format, or a folder that does not exist.
        Unavailable: the remote side cannot be reached.
        StorageError: the disk refuses.
    """
    from vtsserving._local_store.resolver import current_resolver

    model = (store or current_resolver()).get(tag)
    wanted = parse_format(output_format) if output_format is not None else None
    location = parse_location(path)
    if location.scheme in HTTP_SCHEMES:
        raise InvalidArgument("models can be imported from http, but not exported to it")
    export = _Export(model, force, on_progress)
    try:
        if location.is_local:
            return export.to_path(location, wanted)
        return export.to_url(location, wanted, options or {})
    except (OSError, StorageError) as error:
        if model.path.is_dir():
            raise
        raise VersionNotFound(f"{model.tag} is not there any more: it was deleted meanwhile") from error


@dataclass(frozen=True)
class _Export:
    """One export, wherever it goes."""

    model: Model
    force: bool
    on_progress: Callable[[int], None] | None

    def to_path(self, location: Location, wanted: str | None) -> str:
        into_folder = location.address.endswith(os.sep) or location.path.is_dir()
        target, archive_format = self._target(location, wanted, into_folder)
        if archive_format == "folder":
            with create_folder(target.path, force=self.force) as folder:
                contents = self._contents()
                for file in files_of(self.model.path):
                    copy = folder / file.name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    with create_file(copy, force=False) as out:
                        for data in contents(file):
                            out.write(data)
        else:
            with create_file(target.path, force=self.force) as out:
                self._write(out, archive_format)
        return target.shown

    def to_url(self, location: Location, wanted: str | None, options: Mapping[str, Any]) -> str:
        from vtsserving._archive.remote import connect, create_remote

        # An object store has no folders to ask for, so there a slash at the end says that it is one.
        target, archive_format = self._target(location, wanted, into_folder=not location.file_name)
        remote = connect(target, options)
        if archive_format == "folder":
            self._to_remote_folder(remote)
        else:
            with create_remote(remote, force=self.force) as out:
                self._write(out, archive_format)
        return target.shown

    def _to_remote_folder(self, remote: Remote) -> None:
        from vtsserving._archive.remote import create_remote, remote_errors

        base = remote.path.rstrip("/")
        manifest_at = posixpath.join(base, MANIFEST_FILE)
        with remote_errors(remote.location):
            if not self.force and remote.fs.exists(manifest_at):
                raise AlreadyExists(f"{remote.location.shown} exists already; --force replaces it")
        contents = self._contents()
        # The manifest comes last: a folder without one is no model, so a half-finished export is never imported.
        for file in sorted(files_of(self.model.path), key=lambda file: file.name == MANIFEST_FILE):
            path = posixpath.join(base, file.name)
            with remote_errors(remote.location):
                remote.fs.makedirs(posixpath.dirname(path), exist_ok=True)
            with create_remote(remote, force=True, path=path) as out:
                for data in contents(file):
                    out.write(data)

    def _target(self, location: Location, wanted: str | None, into_folder: bool) -> tuple[Location, str]:
        if into_folder:
            archive_format = wanted or DEFAULT_FORMAT
            name = f"{self.model.tag.name}-{self.model.tag.version}{EXTENSIONS[archive_format]}"
            return location.child(name), archive_format
        by_name = format_of_name(location.file_name)
        if wanted is not None or by_name is not None:
            return location, wanted or by_name or DEFAULT_FORMAT
        return location.with_suffix(EXTENSIONS[DEFAULT_FORMAT]), DEFAULT_FORMAT

    def _digests(self) -> dict[str, str]:
        digests = {entry.path: entry.sha256 for entry in self.model.manifest.files}
        return {**digests, MANIFEST_FILE: self.model.digest.removeprefix("sha256:")}

    def _contents(self) -> Contents:
        return Contents(self._digests(), self.on_progress)

    def _write(self, out: Any, archive_format: str) -> None:
        write_archive(
            self.model.path, out, archive_format, digests=self._digests(), on_progress=self.on_progress
        )
