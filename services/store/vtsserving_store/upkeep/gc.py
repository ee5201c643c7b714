"""Garbage collection: removes blobs that no version and no live push needs, old uploads and expired leases.

The order of its steps is what makes it safe beside pushes on any replica; see `leases.py`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from vtsserving import _clock
from vtsserving.exceptions import IntegrityError
from vtsserving_store.blobs.leases import CONDEMNED_EXPIRES_S, Leases
from vtsserving_store.objects import clock, keys
from vtsserving_store.objects.object_store import ObjectEntry, ObjectStore
from vtsserving_store.registry.version_record import MAX_VERSION_BYTES, VersionRecord

BATCH_BLOBS: Final = 500
"""Blobs that are condemned together; pushes that need one of them wait for the batch."""

MAX_DECISION_AGE_S: Final = 60.0
"""A blob is deleted only this long after leases and manifests were read; a collector that was paused starts over."""

UPLOAD_GRACE_S: Final = 24 * 3600.0
"""Upload sessions that nobody touched for this long are given up."""


@dataclass
class Collected:
    """What a collection did, or would do."""

    dry_run: bool
    blobs: int = 0
    bytes: int = 0
    uploads: int = 0
    leases: int = 0
    spared: int = 0
    examples: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As the API shows it."""
        return dict(vars(self))


class GarbageCollector:
    """Collects garbage; any number may run at once, on any replica."""

    def __init__(self, objects: ObjectStore, leases: Leases, *, grace_s: float) -> None:
        """Create it.

        Args:
            objects: the storage.
            leases: of live pushes.
            grace_s: blobs younger than this are never touched.
        """
        self._objects = objects
        self._leases = leases
        self._grace_s = grace_s
        self._known: dict[tuple[str, str], list[str]] = {}

    def run(self, *, dry_run: bool = False, grace_s: float | None = None) -> Collected:
        """Collect once.

        Args:
            dry_run: change nothing, only say what would go.
            grace_s: instead of the configured one.

        Raises:
            IntegrityError: a version's record is damaged, so what it needs is unknown; nothing more is deleted.
        """
        done = Collected(dry_run)
        now_s = clock.now_s(self._objects)
        oldest = now_s - (self._grace_s if grace_s is None else grace_s)
        needed = self._needed()
        unneeded = (
            entry
            for entry in self._objects.entries(keys.BLOBS)
            if entry.modified_s <= oldest and keys.blob_digest(entry.key) not in needed
        )
        for batch in _batches(unneeded, BATCH_BLOBS):
            if dry_run:
                _count(done, batch)
            else:
                self._delete(batch, done)
        if not dry_run:
            done.uploads = self._remove_old_uploads(now_s)
            done.leases = self._leases.remove_expired()
            self._remove_old_condemned(now_s)
        return done

    def _delete(self, batch: list[ObjectEntry], done: Collected) -> None:
        """Condemn, look again, delete what is still not needed, acquit."""
        condemned = [keys.condemned(keys.blob_digest(entry.key)) for entry in batch]
        mine = json.dumps({"by": secrets.token_hex(8)}).encode()
        # Another collector may have condemned the same blob; its record protects pushes as well as ours would.
        own = [key for key in condemned if self._objects.create(key, mine)]
        try:
            needed = self._needed()
            decided_s = _clock.monotonic_s()
            owned = set(own)
            for entry, key in zip(batch, condemned, strict=True):
                late = _clock.monotonic_s() - decided_s > MAX_DECISION_AGE_S
                if late or key not in owned or keys.blob_digest(entry.key) in needed:
                    done.spared += 1
                    continue
                self._objects.delete(entry.key)
                _count(done, [entry])
        finally:
            for key in own:
                self._objects.delete(key)

    def _needed(self) -> set[str]:
        """Digests that leases or versions name; leases first, because a push ends with its version there."""
        needed = self._leases.protected()
        known = {}
        for entry in self._objects.entries(keys.MODELS):
            digests = self._known.get((entry.key, entry.etag))
            known[entry.key, entry.etag] = self._digests(entry) if digests is None else digests
            needed.update(known[entry.key, entry.etag])
        self._known = known
        return needed

    def _digests(self, entry: ObjectEntry) -> list[str]:
        stored = self._objects.read(entry.key, limit_bytes=MAX_VERSION_BYTES)
        if stored is None:
            return []
        try:
            return VersionRecord.from_bytes(stored, *keys.model_parts(entry.key)).blob_digests()
        except (ValueError, KeyError, TypeError, IntegrityError) as error:
            raise IntegrityError(f"the record {entry.key} is damaged, so nothing is deleted") from error

    def _remove_old_uploads(self, now_s: float) -> int:
        oldest = now_s - UPLOAD_GRACE_S
        touched: dict[str, float] = {}
        for entry in self._objects.entries(keys.STAGING):
            upload = entry.key.split("/")[1]
            touched[upload] = max(touched.get(upload, 0.0), entry.modified_s)
        old = [upload for upload, at in touched.items() if at < oldest]
        for upload in old:
            for entry in list(self._objects.entries(f"{keys.STAGING}{upload}/")):
                self._objects.delete(entry.key)
        return len(old)

    def _remove_old_condemned(self, now_s: float) -> None:
        oldest = now_s - CONDEMNED_EXPIRES_S
        for entry in list(self._objects.entries(keys.CONDEMNED)):
            if entry.modified_s < oldest:
                self._objects.delete(entry.key)


def _count(done: Collected, entries: Iterable[ObjectEntry]) -> None:
    for entry in entries:
        done.blobs += 1
        done.bytes += entry.size_bytes
        if len(done.examples) < 10:
            done.examples.append(keys.blob_digest(entry.key))


def _batches(entries: Iterator[ObjectEntry], size: int) -> Iterator[list[ObjectEntry]]:
    while batch := list(islice(entries, size)):
        yield batch
