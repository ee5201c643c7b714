"""Copies a whole storage into a directory and back, whatever kind of storage it is.

The order makes a backup of a running store consistent: records before the blobs that they name, so that every version
in the backup has its blobs; blobs are never changed, only added, as long as no `gc` runs meanwhile.
"""

from __future__ import annotations

import collections
import contextlib
import json
from dataclasses import dataclass
from typing import Final

from vtsserving._model.manifest_files import FileEntry
from vtsserving._record_format import check_format
from vtsserving.exceptions import BlobNotFound, Conflict, IntegrityError
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectEntry, ObjectStore, verified
from vtsserving_store.objects.probe import check_storage_format
from vtsserving_store.registry.version_record import MAX_VERSION_BYTES, VersionRecord

RECORDS: Final = (keys.LABELS, keys.SETTINGS, keys.ALIASES, keys.MODELS)
"""Restored in this order: a model becomes visible last."""


@dataclass
class Copied:
    """What was copied; each file counts once, however many versions share it."""

    versions: int = 0
    blobs: int = 0
    bytes: int = 0
    present: int = 0
    repaired: int = 0


def copy_store(source: ObjectStore, target: ObjectStore, *, repair: bool = False) -> Copied:
    """Copy everything that models consist of; what is there already is not copied again.

    Tokens are left out: a copy should not open doors.

    Args:
        source: a store, which may be in use.
        target: a store or an empty storage.
        repair: read the blobs that the target has, and replace those whose content is not what their digest says.

    Raises:
        Conflict: the target has a version with other content.
        IntegrityError: a record or blob of the source is damaged.
        NewerFormat: a later release wrote a record of either; nothing is copied then.
    """
    for storage in (source, target):
        check_storage_format(storage)
    done = Copied()
    records: dict[str, bytes] = {}
    for prefix in reversed(RECORDS):
        for entry in source.entries(prefix):
            body = source.read(entry.key, limit_bytes=MAX_VERSION_BYTES)
            if body is not None:
                _check_record(entry.key, body)
                records[entry.key] = body
    # All are read before anything is written: what a later release wrote cannot be copied without its blobs.
    versions = [
        VersionRecord.from_bytes(body, *keys.model_parts(key))
        for key, body in records.items()
        if key.startswith(keys.MODELS)
    ]
    copier = _BlobCopier(source, target, done, repair=repair)
    for version in versions:
        copier.copy(version)
    for prefix in RECORDS:
        for key in sorted(key for key in records if key.startswith(prefix)):
            _copy_record(target, key, records[key], done)
    done.versions = len(versions)
    return done


class _BlobCopier:
    """Copies the blobs of one version after the other, each blob once."""

    def __init__(self, source: ObjectStore, target: ObjectStore, done: Copied, *, repair: bool) -> None:
        self._source = source
        self._target = target
        self._done = done
        self._repair = repair
        self._seen: set[str] = set()

    def copy(self, version: VersionRecord) -> None:
        for file in version.manifest.files:
            if file.sha256 not in self._seen:
                self._seen.add(file.sha256)
                self._copy_file(version, file)

    def _copy_file(self, version: VersionRecord, file: FileEntry) -> None:
        digest = f"sha256:{file.sha256}"
        key = keys.blob(digest)
        found = self._target.stat(key)
        if found is not None and (not self._repair or self._is_whole(found, digest, file.size)):
            self._done.present += 1
            return
        try:
            self._target.assemble(key, self._source.stream(key), size_bytes=file.size, digest=digest)
        except BlobNotFound as error:
            raise IntegrityError(
                f"{version.manifest.tag} lacks its blob {digest}; run `vtsserving store fsck`"
            ) from error
        self._done.repaired += found is not None
        self._done.blobs += 1
        self._done.bytes += file.size

    def _is_whole(self, found: ObjectEntry, digest: str, size_bytes: int) -> bool:
        if found.size_bytes != size_bytes:
            return False
        chunks = verified(self._target.stream(found.key), size_bytes=size_bytes, digest=digest)
        try:
            collections.deque(chunks, maxlen=0)
        except (IntegrityError, BlobNotFound):
            return False
        return True


def _check_record(key: str, body: bytes) -> None:
    """Refuse a record that a later release wrote: what it refers to would be missing in the copy."""
    if key.startswith(keys.MODELS):
        return  # read as a whole later
    with contextlib.suppress(ValueError):  # a damaged one is copied as it is
        check_format(json.loads(body), f"the record {key} of the store")


def _copy_record(target: ObjectStore, key: str, body: bytes, done: Copied) -> None:
    if target.create(key, body):
        return
    present = target.read(key, limit_bytes=MAX_VERSION_BYTES)
    if present == body:
        done.present += 1
        return
    if key.startswith(keys.MODELS) and present is not None:
        name_version = keys.model_parts(key)
        if (
            VersionRecord.from_bytes(present, *name_version).digest
            == VersionRecord.from_bytes(body, *name_version).digest
        ):
            done.present += 1
            return
    raise Conflict(f"the target already has {key}, with other content; nothing in it was changed")
