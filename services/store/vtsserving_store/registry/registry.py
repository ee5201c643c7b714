"""Immutable versions: commit, resolve, delete. The storage is the only truth; nothing that matters is remembered.

A commit holds a lease on its blobs, checks that all of them are there, and creates the version's key: that is the
moment in which the model exists. Reads of one name list that name's keys, so they see every acknowledged commit of
every replica at once; only the summaries of objects that never change are kept in memory.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final

from vtsserving._model import yaml_file
from vtsserving._model.info import ModelInfo, read_time
from vtsserving._model.manifest import MODEL_FILE, Manifest
from vtsserving._model.tag import LATEST, RESERVED_NAMES, is_valid_part
from vtsserving.exceptions import (
    AlreadyExists,
    BlobUnknown,
    IntegrityError,
    InUse,
    InvalidManifest,
    InvalidTag,
    ModelNotFound,
    SizeMismatch,
    StoreUnavailable,
    TooLarge,
    VersionNotFound,
)
from vtsserving_store.blobs.blob_store import BlobStore
from vtsserving_store.blobs.leases import Leases
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.registry.aliases import Aliases
from vtsserving_store.registry.index import Index
from vtsserving_store.registry.labels import Labels
from vtsserving_store.registry.options import ModelOptionRecords
from vtsserving_store.registry.version_record import MAX_VERSION_BYTES, Summary, VersionRecord

MAX_MANIFEST_BYTES: Final = 8 << 20
"""Largest manifest that can be pushed: some 50,000 files."""

_COMMIT_ATTEMPTS: Final = 5
_SHOWN: Final = 5


def check_name(name: str) -> str:
    """Check a model's name; unlike the SDK, nothing is lowered or otherwise repaired.

    Returns:
        The name.

    Raises:
        InvalidTag: it breaks the grammar.
    """
    if not is_valid_part(name) or name in RESERVED_NAMES:
        raise InvalidTag(f"{name!a:.80} is not a valid model name")
    return name


def check_version(version: str) -> str:
    """Check an exact version or a reference to one; raises as `check_name` does."""
    if not is_valid_part(version):
        raise InvalidTag(f"{version!a:.80} is not a valid version")
    return version


class Registry:
    """The store's models."""

    def __init__(
        self,
        objects: ObjectStore,
        content: BlobStore,
        leases: Leases,
        index: Index,
        aliases: Aliases,
        labels: Labels,
        options: ModelOptionRecords,
    ) -> None:
        self._objects = objects
        self._blobs = content
        self._leases = leases
        self._index = index
        self._aliases = aliases
        self._labels = labels
        self._options = options

    def commit(
        self, name: str, version: str, raw_manifest: bytes, *, push: str = "", by: str = ""
    ) -> tuple[VersionRecord, bool]:
        """Make a version visible.

        Args:
            name: as in the URL; the manifest must agree.
            version: as in the URL; the manifest must agree.
            raw_manifest: canonical JSON, as in the model's manifest.json.
            push: id of the push's lease, given back when the version is there.
            by: name of the caller's token.

        Returns:
            The version, and whether it is new; the same manifest again is fine.

        Raises:
            TooLarge: the manifest is too large.
            InvalidManifest: it is malformed, or contradicts model.yaml or the URL.
            SizeMismatch: a file's blob has another size.
            BlobUnknown: a file's blob is not there.
            AlreadyExists: the version exists, with other content.
        """
        manifest = _read_manifest(check_name(name), check_version(version), raw_manifest)
        existing = self.find(name, version)
        if existing is None:
            existing, created = self._create(manifest, by)
        else:
            created = False
        if existing.digest != manifest.digest:
            raise AlreadyExists(
                f"{name}:{version} exists already with other content ({existing.digest}); versions never change: "
                "save the model again to get a new version"
            )
        if push:
            self._leases.drop(push)
        return existing, created

    def find(self, name: str, version: str) -> VersionRecord | None:
        """An exact version; None if there is none."""
        stored = self._objects.read(keys.model(name, version), limit_bytes=MAX_VERSION_BYTES)
        return None if stored is None else VersionRecord.from_bytes(stored, name, version)

    def get(self, name: str, ref: str) -> VersionRecord:
        """Find a version.

        Args:
            name: of the model.
            ref: an exact version, `latest`, an alias or a unique prefix.

        Raises:
            InvalidTag: a part breaks the grammar.
            ModelNotFound: there is no such name; the message has near ones.
            VersionNotFound: there is no such version, or a prefix fits several.
            NewerFormat: a later release wrote what it means, or may mean.
        """
        check_name(name)
        check_version(ref)
        if ref != LATEST:
            exact = self.find(name, ref)
            if exact is not None:
                return exact
        found = self.find(name, self.resolve(name, ref))
        if found is None:
            raise VersionNotFound(f"{name}:{ref} was deleted a moment ago")
        return found

    def resolve(self, name: str, ref: str) -> str:
        """The exact version that a reference means now; raises as `get` does."""
        versions = self.versions(name)
        known = [summary.version for summary in versions]
        if ref in known:
            return ref
        target = None if ref == LATEST else self._aliases.target(name, ref)
        if target not in known:
            # What a later release pushed may be the latest, what the alias means, or what fits a prefix, too.
            self._index.check_newer(name)
        if ref == LATEST:
            return known[0]
        if target is not None:
            if target not in known:
                raise VersionNotFound(
                    f"the alias {name}:{ref} points to {target}, which was deleted: move the alias"
                )
            return target
        fitting = [version for version in known if version.startswith(ref)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise VersionNotFound(
                f"{name}:{ref} fits {len(fitting)} versions: {_some(fitting)}; write more of it"
            )
        raise VersionNotFound(_no_version(name, ref, [*self._aliases.all(name), *known]))

    def versions(self, name: str) -> list[Summary]:
        """All versions of a name, newest first.

        Raises:
            InvalidTag: the name breaks the grammar.
            ModelNotFound: there is no such name.
        """
        found = self._index.of_name(check_name(name))
        if not found:
            self._index.check_newer(name)
            raise ModelNotFound(self._no_model(name))
        return found

    def delete(self, name: str, version: str, *, force: bool = False) -> Summary:
        """Remove a version; its blobs stay until `gc` finds that nothing needs them.

        Args:
            name: of the model.
            version: exact.
            force: remove it although aliases point to it; they are removed first.

        Raises:
            ModelNotFound: there is no such version.
            InUse: an alias points to it.
        """
        check_name(name)
        found = self.find(name, check_version(version))
        if found is None:
            raise VersionNotFound(f"there is no {name}:{version}")
        pointing = [alias for alias, target in self._aliases.all(name).items() if target == version]
        if pointing and not force:
            raise InUse(f"{name}:{version} has the alias {_some(pointing)}: move or remove it first")
        for alias in pointing:
            self._aliases.move(name, alias, None, by="")
        self._objects.delete(keys.model(name, version))
        self._labels.forget(name, version)
        self._options.forget(name, version)
        return found.summary()

    def _create(self, manifest: Manifest, by: str) -> tuple[VersionRecord, bool]:
        digests = list(dict.fromkeys(f"sha256:{entry.sha256}" for entry in manifest.files))
        with self._leases.held(digests) as missing:
            if missing:
                raise BlobUnknown(
                    f"{len(missing)} files of {manifest.tag} were not pushed, for example {missing[0]}"
                )
            self._check_sizes(manifest, digests)
            wanted = VersionRecord.new(manifest, self._read_info(manifest), by=by)
            key = keys.model(manifest.name, manifest.version)
            for _ in range(_COMMIT_ATTEMPTS):
                if self._objects.create(key, wanted.to_bytes()):
                    return wanted, True
                winner = self.find(manifest.name, manifest.version)
                if winner is not None:
                    return winner, False
        raise StoreUnavailable(f"{manifest.tag} was created and deleted by others meanwhile; try again")

    def _check_sizes(self, manifest: Manifest, digests: Iterable[str]) -> None:
        sizes = self._blobs.sizes(digests)
        for entry in manifest.files:
            actual = sizes[f"sha256:{entry.sha256}"]
            if actual != entry.size:
                raise SizeMismatch(
                    f"{entry.path!a:.200} has {entry.size} bytes in the manifest; its blob has {actual}"
                )

    def _read_info(self, manifest: Manifest) -> dict[str, Any]:
        """The values of model.yaml, which must tell of the same model as the manifest."""
        entry = manifest.entry(MODEL_FILE)
        assert entry is not None, "Manifest.from_bytes requires it"
        if entry.size > yaml_file.MAX_YAML_BYTES:
            raise InvalidManifest(
                f"{MODEL_FILE} has {entry.size} bytes; at most {yaml_file.MAX_YAML_BYTES} are allowed"
            )
        raw = self._objects.read(keys.blob(f"sha256:{entry.sha256}"), limit_bytes=yaml_file.MAX_YAML_BYTES)
        if raw is None or hashlib.sha256(raw).hexdigest() != entry.sha256:
            raise IntegrityError(f"the blob of {MODEL_FILE} is damaged in the store")
        try:
            info = ModelInfo.from_dict(yaml_file.parse(raw), manifest.extra)
        except IntegrityError as error:
            raise InvalidManifest(error.message) from error
        if info.tag != manifest.tag or info.creation_time != read_time(manifest.creation_time):
            raise InvalidManifest(
                f"{MODEL_FILE} describes {info.tag} of {info.creation_time}, not what the manifest says"
            )
        return info.to_json_dict()

    def _no_model(self, name: str) -> str:
        near = difflib.get_close_matches(name, self._index.known_names(), n=3)
        hint = (
            f"did you mean {' or '.join(near)}?"
            if near
            else "`vtsserving models list --remote` shows what it has"
        )
        return f"the store has no model {name!r}; {hint}"


def _read_manifest(name: str, version: str, raw: bytes) -> Manifest:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise TooLarge(
            f"the manifest has more than {MAX_MANIFEST_BYTES} bytes: put many small files into one archive"
        )
    try:
        manifest = Manifest.from_bytes(raw)
    except IntegrityError as error:
        raise InvalidManifest(error.message) from error
    if (manifest.name, manifest.version) != (name, version):
        raise InvalidManifest(f"the manifest describes {manifest.tag}, not {name}:{version}")
    return manifest


def _no_version(name: str, ref: str, candidates: Sequence[str]) -> str:
    near = difflib.get_close_matches(ref, candidates, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"it has {_some(candidates)}"
    return f"{name!r} has no version or alias {ref!r}; {hint}"


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more
