"""The models on this machine: whole or absent, never half.

    <root>/<name>/<version>/model.yaml, manifest.json, ...   a model; appears and disappears by one rename
    <root>/.state/<name>.json    last ordinal, aliases and settings with history; replaced by a rename
    <root>/.state/<name>.lock    held while a version of this name is added or removed
    <root>/.tmp/<pid>-<random>/  being put together or removed; <same>.lock is held while its owner lives

Nothing is indexed and reads never write, so a store may be read-only. Every command that writes first removes what
dead processes left in `.tmp`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vtsserving._local_store import lookup
from vtsserving._local_store.change import changing, state_path
from vtsserving._local_store.files import storage_errors, sync_tree
from vtsserving._local_store.home import home
from vtsserving._local_store.model import Model
from vtsserving._local_store.staging import staging, sweep
from vtsserving._local_store.state import AliasMove, NameState, SettingsRecord, read_state
from vtsserving._model.draft import Draft
from vtsserving._model.manifest import Manifest, hash_files
from vtsserving._model.manifest_files import FileEntry
from vtsserving._model.settings import of_version
from vtsserving._model.tag import Tag, check_alias, check_new_version, is_hidden
from vtsserving.exceptions import InvalidTag


class LocalStore:
    """The model store in a directory. Constructing it writes nothing.

    Attributes:
        root: the directory that holds one directory for each name.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else home() / "models"

    # --- reading ------------------------------------------------------------------------------------------------

    def get(self, tag: str | Tag) -> Model:
        """Find a model.

        Args:
            tag: `name`, or `name:` with an exact version, `latest`, an alias or a unique prefix of a version.

        Raises:
            InvalidTag: the tag breaks the grammar.
            ModelNotFound: there is no such name; the message has near ones.
            VersionNotFound: there is no such version; the message has near ones.
        """
        return self._model(self.resolve(tag))

    def resolve(self, tag: str | Tag) -> Tag:
        """Find the exact tag that a tag means; raises as `get` does."""
        wanted = Tag.parse(tag)
        if lookup.exists(self.root, wanted):
            return wanted
        known = lookup.versions(self.root, wanted.name)
        if not known:
            raise lookup.model_not_found(self.root, wanted)
        aliases = self.aliases(wanted.name)
        version = lookup.pick(wanted, known, aliases)
        if version is None or not lookup.exists(self.root, Tag(wanted.name, version)):
            raise lookup.version_not_found(wanted, known, aliases)
        return Tag(wanted.name, version)

    def names(self, *, hidden: bool = False) -> list[str]:
        """The names that have at least one version, sorted.

        Args:
            hidden: those of packed runners, too.
        """
        known = [name for name in lookup.names(self.root) if hidden or not is_hidden(name)]
        return [name for name in known if lookup.versions(self.root, name)]

    def list(self, name: str | None = None, *, limit: int | None = None, hidden: bool = False) -> list[Model]:
        """All models, newest first.

        Args:
            name: only the versions of this name; none is not an error.
            limit: at most so many.
            hidden: packed runners, too; they are always shown by their name.
        """
        known = lookup.names(self.root) if name is None else [Tag(name).name]
        wanted = [one for one in known if hidden or name is not None or not is_hidden(one)]
        found = [(*entry, one) for one in wanted for entry in lookup.versions(self.root, one)]
        newest = sorted(found, reverse=True)[:limit]
        return [self._model(Tag(one, version)) for _, version, one in newest]

    def manifest(self, tag: Tag) -> Manifest:
        """The manifest of an exact version."""
        return self.get(tag).manifest

    def verify(self, tag: Tag) -> None:
        """Compare a model's files with its manifest.

        Raises:
            IntegrityError: a file is damaged, missing or unknown; the message names it.
        """
        self.get(tag).verify()

    def aliases(self, name: str) -> dict[str, str]:
        """The aliases of a name and the versions they point to."""
        state = self._read_state(name)
        return state.current if state else {}

    def alias_history(self, name: str, alias: str) -> Sequence[AliasMove]:
        """Where an alias pointed, oldest first; empty if it never existed."""
        state = self._read_state(name)
        return tuple(state.aliases.get(alias, ())) if state else ()

    def settings(self, tag: Tag) -> dict[str, Any]:
        """Options that were changed since an exact version was saved; see model_settings."""
        history = self.settings_history(tag.name)
        return of_version(history[-1].value, str(tag.version)) if history else {}

    def settings_history(self, name: str) -> Sequence[SettingsRecord]:
        """All changes of a name's options, oldest first."""
        state = self._read_state(name)
        return tuple(state.settings) if state else ()

    # --- writing ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A private directory on the store's file system, for `save` and `adopt`.

        Yields:
            The directory; it is removed when the block ends, unless it became a model.

        Raises:
            StorageError: the store cannot be written to.
        """
        area = self.root / ".tmp"
        with storage_errors(f"the local model store {self.root} cannot be written to"):
            sweep(area)
        with staging(area) as path:
            yield path

    def save(self, staged: Path, draft: Draft, files: Sequence[FileEntry] | None = None) -> Model:
        """Make a model of staged files: assign version and time, write model.yaml and the manifest, rename.

        Args:
            staged: from `staging()`, with the framework's files.
            draft: what is known about the model.
            files: those of the directory, where they were read already.

        Raises:
            AlreadyExists: the draft names a version that exists.
            IntegrityError: the files have names that cannot be stored.
            StorageError: the disk refuses.
        """
        if draft.tag.version is not None:
            check_new_version(draft.tag.version)
        with storage_errors(f"cannot save {draft.tag}"):
            files = hash_files(staged) if files is None else files
            sync_tree(staged)
            with self.staging() as private, changing(self.root, draft.tag.name, private) as change:
                return self._model(change.commit(staged, draft, files))

    def adopt(self, staged: Path, *, force: bool = False) -> Model:
        """Take in a complete model that came from elsewhere, under its own version and time.

        Args:
            staged: from `staging()`, with model.yaml and manifest.json. Its bytes were compared with the manifest
                while they arrived, so that here only names, sizes and model.yaml are.
            force: whether a model with the same tag and other content is replaced.

        Returns:
            The model; the existing one if it is the same.

        Raises:
            AlreadyExists: the tag exists with another digest.
            IntegrityError: the directory is not what its manifest says.
            StorageError: the disk refuses.
        """
        with storage_errors(f"cannot add a model to {self.root}"):
            incoming = Model.staged(staged).manifest
            incoming.check_sizes(staged)
            sync_tree(staged)
            with self.staging() as private, changing(self.root, incoming.name, private) as change:
                change.adopt(staged, incoming, force=force)
        return self._model(incoming.tag)

    def delete(self, tag: str | Tag, *, force: bool = False) -> Tag:
        """Delete one version.

        Args:
            tag: with a version: exact, `latest`, an alias or a unique prefix.
            force: delete it although aliases point to it; they are removed.

        Returns:
            The exact tag that is gone.

        Raises:
            InvalidTag: the tag has no version.
            Conflict: an alias points to the version.
            ModelNotFound: it does not exist.
        """
        wanted = Tag.parse(tag)
        if wanted.version is None:
            raise InvalidTag(f"say which version to delete, for example {wanted.name}:latest")
        self.resolve(wanted)
        with self.staging() as private, storage_errors(f"cannot delete {wanted}"):
            with changing(self.root, wanted.name, private) as change:
                exact = self.resolve(wanted)
                change.remove(exact, private / "deleted", force=force)
            return exact

    def set_alias(self, tag: str | Tag, alias: str) -> Tag:
        """Let an alias point to a version, whether or not it exists already.

        Args:
            tag: anything that `get` accepts.
            alias: its name.

        Returns:
            The exact tag that it points to now.

        Raises:
            InvalidTag: the alias breaks the grammar.
            Conflict: a version has that name.
            ModelNotFound: there is no such model.
        """
        check_alias(alias)
        wanted = Tag.parse(tag)
        self.resolve(wanted)
        with self.staging() as private, storage_errors(f"cannot set the alias {alias}"):
            with changing(self.root, wanted.name, private) as change:
                exact = self.resolve(wanted)
                change.set_alias(alias, exact.version)
            return exact

    def remove_alias(self, name: str, alias: str) -> None:
        """Remove an alias; its history stays.

        Raises:
            VersionNotFound: there is no such alias.
        """
        known = Tag(name).name
        aliases = self.aliases(known)
        if alias not in aliases:
            raise lookup.alias_not_found(known, alias, aliases)
        with (
            self.staging() as private,
            storage_errors(f"cannot remove the alias {alias}"),
            changing(self.root, known, private) as change,
        ):
            change.set_alias(alias, None)

    def configure(self, tag: str | Tag, changes: Mapping[str, Any], reset: Iterable[str] = ()) -> Tag:
        """Change options of a model that is saved already; whoever serves it takes them up.

        Args:
            tag: a name, for all its versions, or anything with a version that `get` accepts, for that one.
            changes: option to value; an option of one method is `method.option`.
            reset: options that are to be the model's own again; `all` resets every one.

        Returns:
            The name, or the exact tag.

        Raises:
            InvalidArgument: an option is unknown, or its value impossible.
            ModelNotFound: there is no such model.
        """
        wanted = Tag.parse(tag)
        exact = self.resolve(wanted)
        version = None if wanted.version is None else exact.version
        with (
            self.staging() as private,
            storage_errors(f"cannot configure {wanted}"),
            changing(self.root, wanted.name, private) as change,
        ):
            change.configure(version, changes, reset)
        return Tag(exact.name, version)

    # --- inside -------------------------------------------------------------------------------------------------

    def _model(self, tag: Tag) -> Model:
        return Model(tag, self.root / tag.name / str(tag.version))

    def _read_state(self, name: str) -> NameState | None:
        return read_state(state_path(self.root, Tag(name).name))
