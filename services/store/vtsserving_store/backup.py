"""Copies a whole storage into a directory and back, whatever kind of storage it is.

The order makes a backup of a running store consistent: records before the blobs that they name, so that every version
in the backup has its blobs; blobs are never changed, only added, as long as no `gc` runs meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vtsserving.exceptions import BlobNotFound, Conflict, IntegrityError
from vtsserving_store import keys
from vtsserving_store.blobs import Blobs
from vtsserving_store.version_record import MAX_VERSION_BYTES, Version

RECORDS: Final = (keys.LABELS, keys.SETTINGS, keys.ALIASES, keys.MODELS)
"""Restored in this order: a model becomes visible last."""


@dataclass
class Copied:
    """What was copied."""

    versions: int = 0
    blobs: int = 0
    bytes: int = 0
    present: int = 0


def copy_store(source: Blobs, target: Blobs) -> Copied:
    """Copy everything that models consist of; what is there already is not copied again.

    Tokens are left out: a copy should not open doors.

    Args:
        source: a store, which may be in use.
        target: a store or an empty storage.

    Raises:
        Conflict: the target has a version with other content.
        IntegrityError: a record or blob of the source is damaged.
    """
    done = Copied()
    records: dict[str, bytes] = {}
    for prefix in reversed(RECORDS):
        for entry in source.entries(prefix):
            body = source.read(entry.key, limit_bytes=MAX_VERSION_BYTES)
            if body is not None:
                records[entry.key] = body
    versions = {key: body for key, body in records.items() if key.startswith(keys.MODELS)}
    for key, body in versions.items():
        _copy_blobs(source, target, Version.from_bytes(body, *keys.model_parts(key)), done)
    for prefix in RECORDS:
        for key in sorted(key for key in records if key.startswith(prefix)):
            _copy_record(target, key, records[key], done)
    done.versions = len(versions)
    return done


def _copy_blobs(source: Blobs, target: Blobs, version: Version, done: Copied) -> None:
    for file in version.manifest.files:
        digest = f"sha256:{file.sha256}"
        key = keys.blob(digest)
        if target.stat(key) is not None:
            done.present += 1
            continue
        try:
            target.assemble(key, source.stream(key), size_bytes=file.size, digest=digest)
        except BlobNotFound as error:
            raise IntegrityError(
                f"{version.manifest.tag} lacks its blob {digest}; run `vtsserving store fsck`"
            ) from error
        done.blobs += 1
        done.bytes += file.size


def _copy_record(target: Blobs, key: str, body: bytes, done: Copied) -> None:
    if target.create(key, body):
        return
    present = target.read(key, limit_bytes=MAX_VERSION_BYTES)
    if present == body:
        done.present += 1
        return
    if key.startswith(keys.MODELS) and present is not None:
        name_version = keys.model_parts(key)
        if (
            Version.from_bytes(present, *name_version).digest
            == Version.from_bytes(body, *name_version).digest
        ):
            done.present += 1
            return
    raise Conflict(f"the target already has {key}, with other content; nothing in it was changed")
