"""Names every inconsistency of the storage: what a reader would stumble over, and what is merely left over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from vtsserving._record_format import check_format
from vtsserving.exceptions import NewerFormat, VtsServingException
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectEntry, ObjectStore
from vtsserving_store.registry import snapshot
from vtsserving_store.registry.records import MAX_RECORD_BYTES
from vtsserving_store.registry.version_record import MAX_VERSION_BYTES, VersionRecord

_MEND_BLOB: Final = "restore a backup, or remove the object and push its models again"


class Finding(NamedTuple):
    """One inconsistency.

    Attributes:
        severity: `damage` (a model cannot be used), `newer` (a later release wrote it), `warning` (nothing is lost) or
            `leftover` (`gc` removes it).
        key: where.
        text: what is wrong, and what to do.
    """

    severity: str
    key: str
    text: str


class Checker:
    """Looks at a whole storage and changes nothing; a store may run meanwhile."""

    def __init__(self, objects: ObjectStore, *, deep: bool = False) -> None:
        """Create it.

        Args:
            objects: the storage.
            deep: read every blob and compare it with its digest.
        """
        self._objects = objects
        self._deep = deep
        self._sizes: dict[str, int] = {}
        self._damaged: set[str] = set()
        self._needed: set[str] = set()
        self._tags: set[tuple[str, str]] = set()
        self._has_newer = False

    def findings(self) -> Iterator[Finding]:
        """Everything that is wrong, as it is found."""
        for check in _CHECKS:
            yield from check(self)

    def blobs(self) -> Iterator[Finding]:
        """Blobs: right key, and with `deep`, right content."""
        for entry in self._objects.entries(keys.BLOBS):
            digest = keys.blob_digest(entry.key)
            if not keys.is_digest(digest) or keys.blob(digest) != entry.key:
                yield Finding("warning", entry.key, "is no key of a blob; the store does not use it")
                continue
            self._sizes[digest] = entry.size_bytes
            if self._deep:
                yield from self._blobs(entry, digest)

    def versions(self) -> Iterator[Finding]:
        """Versions: readable, and all blobs there in the right size."""
        for entry in self._objects.entries(keys.MODELS):
            try:
                name, text = keys.model_parts(entry.key)
                stored = self._objects.read(entry.key, limit_bytes=MAX_VERSION_BYTES)
                if stored is None:
                    continue  # deleted meanwhile
                version = VersionRecord.from_bytes(stored, name, text)
            except NewerFormat as error:
                yield self._newer(entry, error)
                self._tags.add((name, text))
                continue
            except (VtsServingException, ValueError, KeyError, TypeError) as error:
                yield Finding(
                    "damage", entry.key, f"cannot be read ({error}): delete it and push the model again"
                )
                continue
            self._tags.add((name, text))
            for file in version.manifest.files:
                digest = f"sha256:{file.sha256}"
                self._needed.add(digest)
                size = self._size(digest)
                if size is None:
                    yield Finding(
                        "damage", entry.key, f"its file {file.path!a} has no blob {digest}: push it again"
                    )
                elif size != file.size and digest not in self._damaged:
                    self._damaged.add(digest)
                    yield Finding(
                        "damage", keys.blob(digest), f"has {size} bytes instead of {file.size}: {_MEND_BLOB}"
                    )

    def series(self) -> Iterator[Finding]:
        """Aliases, labels and options: readable, and of versions that exist."""
        for prefix in (keys.ALIASES, keys.LABELS, keys.SETTINGS):
            for entry in self._objects.entries(prefix):
                try:
                    keys.record_number(entry.key)
                    body = self._objects.read(entry.key, limit_bytes=MAX_RECORD_BYTES)
                    fields = json.loads(body) if body is not None else {"value": {}}
                    check_format(fields, f"the record {entry.key}")
                    value = fields["value"]
                except NewerFormat as error:
                    yield self._newer(entry, error)
                except (VtsServingException, ValueError, KeyError, TypeError) as error:
                    yield Finding("damage", entry.key, f"cannot be read ({error}): remove the object")
                else:
                    yield from self._dangling(prefix, entry, value)

    def leftovers(self) -> Iterator[Finding]:
        """What `gc` will remove in time, and what is none of ours."""
        # Versions of a later release may need any of them; `gc` removes none either.
        for digest in sorted(set(self._sizes) - self._needed) if not self._has_newer else ():
            yield Finding("leftover", keys.blob(digest), "is needed by no version")
        for prefix in (keys.STAGING, keys.LEASES, keys.CONDEMNED, keys.PROBES):
            for entry in self._objects.entries(prefix):
                if prefix == keys.STAGING and entry.key.endswith("/session"):
                    continue  # a line about an upload that may be over; its parts are what takes room
                yield Finding("leftover", entry.key, "belongs to a transfer or a collection, running or dead")
        for entry in self._objects.entries(""):
            if not entry.key.startswith(keys.ALL_PREFIXES):
                yield Finding("warning", entry.key, "is not an object of the store")

    def snapshot(self) -> Iterator[Finding]:
        """The index snapshot: readable, or replicas do without."""
        try:
            snapshot.read(self._objects)
        except VtsServingException as error:
            text = f"cannot be read ({error}): replicas do without it, and write a new one"
            yield Finding("warning", keys.SNAPSHOT, text)

    def _newer(self, entry: ObjectEntry, error: NewerFormat) -> Finding:
        self._has_newer = True
        return Finding("newer", entry.key, error.message)

    def _dangling(self, prefix: str, entry: ObjectEntry, value: dict[str, object]) -> Iterator[Finding]:
        parts = entry.key.split("/")
        if prefix == keys.LABELS and (parts[1], parts[2]) not in self._tags:
            yield Finding("warning", entry.key, "labels a version that does not exist")
        elif prefix == keys.ALIASES:
            target = value.get("version")
            last = max(e.key for e in self._objects.entries(keys.alias(parts[1], parts[2])))
            if entry.key == last and target and (parts[1], str(target)) not in self._tags:
                yield Finding("warning", entry.key, f"points to {parts[1]}:{target}, which does not exist")

    def _size(self, digest: str) -> int | None:
        known = self._sizes.get(digest)
        if known is None:
            # It may have been pushed after the blobs were listed.
            entry = self._objects.stat(keys.blob(digest))
            known = None if entry is None else entry.size_bytes
        return known

    def _blobs(self, entry: ObjectEntry, digest: str) -> Iterator[Finding]:
        actual = hashlib.sha256()
        try:
            for chunk in self._objects.stream(entry.key):
                actual.update(chunk)
        except VtsServingException as error:
            yield Finding("damage", entry.key, f"cannot be read: {error}")
            return
        if "sha256:" + actual.hexdigest() != digest:
            self._damaged.add(digest)
            yield Finding("damage", entry.key, f"has other content than its digest says: {_MEND_BLOB}")


_CHECKS: Final[tuple[Callable[[Checker], Iterator[Finding]], ...]] = (
    Checker.blobs,
    Checker.versions,
    Checker.series,
    Checker.leftovers,
    Checker.snapshot,
)
