"""Adding and removing versions of one name, one process at a time.

State is written before the rename that makes a version appear: a process that dies between the two leaves a gap in
the ordinals, never a number that is given twice.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from vtsserving import _clock
from vtsserving._local_store import lookup
from vtsserving._local_store.files import swap, sync_directory, write_durably
from vtsserving._local_store.model import Model
from vtsserving._local_store.state import NameState, read_state, write_state
from vtsserving._model import settings
from vtsserving._model.draft import Draft
from vtsserving._model.info import DOCUMENT, ModelInfo, pack_document, read_time, write_time
from vtsserving._model.manifest import MANIFEST_FILE, MODEL_FILE, FileEntry, Manifest, hash_file
from vtsserving._model.tag import Tag, new_version
from vtsserving._record_format import newer
from vtsserving.exceptions import AlreadyExists, Conflict, IntegrityError, StorageError

LOCK_TIMEOUT_S: Final = 120.0
"""Longest wait for another process that changes the same name; holders only rename and write small files."""

_LOCK_POLL_S: Final = 0.01
PROVISIONAL: Final = "provisional"
"""The version of a model that is not one yet."""

_STEP: Final = timedelta(milliseconds=1)


class NameChange:
    """What may be done to a name while its lock is held.

    Attributes:
        state: ordinals and aliases; `record` writes it.
    """

    def __init__(self, root: Path, name: str, private: Path) -> None:
        self._root = root
        self._name = name
        self._private = private
        self._state_path = state_path(root, name)
        known = read_state(self._state_path)
        self.state = known if known is not None else NameState(ordinal=self._highest_ordinal())

    def commit(self, staged: Path, draft: Draft, files: Sequence[FileEntry]) -> Tag:
        """Give staged files a version and a time, and make them a model.

        Args:
            staged: the framework's files, on disk durably.
            draft: what is known about the model.
            files: their entries.

        Raises:
            AlreadyExists: the draft names a version that exists.
        """
        if draft.tag.version is not None:
            self._check_free(draft.tag)
        created = self._next_time()
        version = draft.tag.version or new_version(int(created.timestamp() * 1_000))
        info = draft.info(version, created)
        self.state.ordinal += 1
        _write_record(staged, info, files, {"ordinal": self.state.ordinal}, write_durably)
        sync_directory(staged)
        self.record()
        self._place(staged, info.tag)
        return info.tag

    def adopt(self, staged: Path, incoming: Manifest, *, force: bool) -> None:
        """Make a complete staged model one of this store.

        Raises:
            AlreadyExists: the tag exists with another digest, or an alias has the version's name.
        """
        tag = incoming.tag
        ordinal = incoming.extra.get("ordinal", 0)
        self.state.ordinal = max(self.state.ordinal, ordinal if isinstance(ordinal, int) else 0)
        if not lookup.exists(self._root, tag):
            self._check_free(tag)
            self.record()
            self._place(staged, tag)
        elif force or Model(tag, self.path(tag)).digest != incoming.digest:
            # Forced, even equal content is replaced: that repairs files which were damaged since.
            if not force:
                raise AlreadyExists(f"{tag} exists already, with other content; delete it first, or force it")
            self.record()
            swap(staged, self.path(tag))
            sync_directory(self.path(tag).parent)

    def remove(self, tag: Tag, trash: Path, *, force: bool) -> None:
        """Move one version away.

        Args:
            tag: exact.
            trash: a path to rename it to.
            force: remove aliases that point to it.

        Raises:
            Conflict: an alias points to it.
        """
        pointing = self.state.aliases_of(str(tag.version))
        if pointing and not force:
            raise Conflict(
                f"the alias {pointing[0]!r} points to {tag}; move or remove the alias first, or force it"
            )
        for alias in pointing:
            self.state.move(alias, None, write_time(_now()))
        last = self.state.settings[-1].value if self.state.settings else {}
        has_options = str(tag.version) in last.get("versions", {})
        if has_options:
            after = settings.edited(last, str(tag.version), {}, ["all"])
            self.state.configure(after, write_time(_now()))
        if pointing or has_options:
            self.record()
        os.rename(self.path(tag), trash)
        folder = self._root / tag.name
        sync_directory(folder)
        with contextlib.suppress(OSError):
            folder.rmdir()

    def set_alias(self, alias: str, version: str | None) -> None:
        """Point an alias to a version; None removes it.

        Raises:
            Conflict: a version has that name.
        """
        if lookup.exists(self._root, Tag(self._name, alias)):
            raise Conflict(f"{self._name}:{alias} is a version; an alias needs another name")
        self.state.move(alias, version, write_time(_now()))
        self.record()

    def configure(self, version: str | None, changes: Mapping[str, Any], reset: Iterable[str]) -> None:
        """Change options of one version, or of all with None; see model_settings."""
        last = self.state.settings[-1].value if self.state.settings else None
        self.state.configure(settings.edited(last, version, changes, reset), write_time(_now()))
        self.record()

    def record(self) -> None:
        """Write the state."""
        self._private.mkdir(exist_ok=True)
        write_state(self._state_path, self.state, self._private / "state")

    def path(self, tag: Tag) -> Path:
        """Where a version is or will be."""
        return self._root / tag.name / str(tag.version)

    def _check_free(self, tag: Tag) -> None:
        if lookup.exists(self._root, tag):
            raise AlreadyExists(f"{tag} exists already; versions never change, so choose another one")
        if tag.version in self.state.current:
            raise AlreadyExists(f"{tag.version!r} is an alias of {tag.name}; a version needs another name")

    def _place(self, staged: Path, tag: Tag) -> None:
        target = self.path(tag)
        folder = target.parent
        is_new = not folder.exists()
        folder.mkdir(exist_ok=True)
        if target.exists():
            # Not a model, or it would have been found: what a user copied here by hand, without a manifest.
            raise AlreadyExists(
                f"{target} is in the way: it is not a model, having no {MANIFEST_FILE}; move it away"
            )
        os.rename(staged, target)
        sync_directory(folder)
        if is_new:
            sync_directory(folder.parent)

    def _next_time(self) -> datetime:
        known = lookup.versions(self._root, self._name)
        newest = known[-1].creation_time if known else ""
        if newest == lookup.LATER:
            # A new version must sort behind all others, and when that one was made cannot be read.
            raise newer(f"{self._name}:{known[-1].version} has a manifest of another version")
        # Later saves sort later even where the clock was set back or another machine's was ahead.
        return max(_now(), read_time(newest) + _STEP) if newest else _now()

    def _highest_ordinal(self) -> int:
        highest = 0
        for entry in lookup.versions(self._root, self._name):
            tag = Tag(self._name, entry.version)
            with contextlib.suppress(IntegrityError):
                ordinal = Model(tag, self.path(tag)).manifest.extra.get("ordinal", 0)
                highest = max(highest, ordinal if isinstance(ordinal, int) else 0)
        return highest


@contextlib.contextmanager
def changing(root: Path, name: str, private: Path) -> Iterator[NameChange]:
    """Hold the lock of a name.

    Args:
        root: the store's.
        name: the model's.
        private: a path of this process's own, on the store's file system, for small files.

    Raises:
        StorageError: another process holds the lock for too long.
    """
    import filelock

    path = state_path(root, name).with_name(f"{name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=LOCK_TIMEOUT_S, poll_interval=_LOCK_POLL_S)
    except filelock.Timeout as error:
        raise StorageError(f"another process has been changing {name!r} for {LOCK_TIMEOUT_S:g} s") from error
    try:
        yield NameChange(root, name, private)
    finally:
        lock.release()


def state_path(root: Path, name: str) -> Path:
    """The file with the state of a name."""
    return root / ".state" / f"{name}.json"


def write_provisional(staged: Path, draft: Draft, files: Sequence[FileEntry]) -> None:
    """Write the record that makes staged files loadable before they are a model; `commit` writes another one over it.

    Args:
        staged: the framework's files.
        draft: what is known about the model.
        files: their entries.
    """
    _write_record(staged, draft.info(PROVISIONAL, _now()), files, {}, Path.write_bytes)


def _write_record(
    staged: Path,
    info: ModelInfo,
    files: Sequence[FileEntry],
    more: Mapping[str, Any],
    write: Callable[[Path, bytes], object],
) -> None:
    write(staged / MODEL_FILE, info.to_yaml().encode())
    manifest = Manifest.of_entries(
        (*files, hash_file(staged, MODEL_FILE)),
        tag=info.tag,
        creation_time=write_time(info.creation_time),
        extra={**info.extra, **_document(info), **more},
    )
    write(staged / MANIFEST_FILE, manifest.to_bytes())


def _document(info: ModelInfo) -> dict[str, Any]:
    try:
        return {DOCUMENT: pack_document(info.to_dict())}
    except TypeError:
        return {}  # dates in the metadata


def _now() -> datetime:
    return _clock.now_utc()
