"""The index as one object, so that a new replica need not read the record of every version.

Only a shortcut, which may be lost, old or damaged: what it says of a version counts only where key and ETag are those
of the listing, and everything else is read from the records.
"""

from __future__ import annotations

import hashlib
import json
import logging
import zlib
from collections.abc import Mapping
from typing import Final

from vtsserving.exceptions import IntegrityError, VtsServingException
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.registry.version_record import Summary

MAX_PACKED_BYTES: Final = 64 << 20
MAX_UNPACKED_BYTES: Final = 1 << 30
_SEAL_BYTES: Final = 32
_log = logging.getLogger(__name__)

Known = dict[str, tuple[str, Summary]]
"""Key of a version's record to its ETag and what it says."""


def load(objects: ObjectStore) -> Known:
    """What the snapshot says; nothing if there is none, or it cannot be used."""
    try:
        return read(objects)
    except VtsServingException as error:
        _log.warning("index_snapshot_ignored", extra={"code": error.code, "reason": error.message})
        return {}


def read(objects: ObjectStore) -> Known:
    """What the snapshot says; nothing if there is none.

    Raises:
        IntegrityError: it is damaged.
    """
    stored = objects.read(keys.SNAPSHOT, limit_bytes=MAX_PACKED_BYTES)
    if stored is None:
        return {}
    seal, packed = stored[:_SEAL_BYTES], stored[_SEAL_BYTES:]
    try:
        if hashlib.sha256(packed).digest() != seal:
            raise ValueError("its digest does not fit")
        rows = json.loads(zlib.decompressobj().decompress(packed, MAX_UNPACKED_BYTES))
        return {key: (etag, _summary(fields)) for key, etag, fields in rows}
    except (ValueError, TypeError, RecursionError, zlib.error) as error:
        raise IntegrityError(f"the store's index snapshot is damaged: {error}") from error


def save(objects: ObjectStore, known: Mapping[str, tuple[str, Summary]]) -> None:
    """Write the snapshot; a storage that refuses is no reason to fail."""
    rows = [[key, etag, summary] for key, (etag, summary) in sorted(known.items())]
    packed = zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)
    stored = hashlib.sha256(packed).digest() + packed
    if len(stored) > MAX_PACKED_BYTES:
        return
    digest = f"sha256:{hashlib.sha256(stored).hexdigest()}"
    try:
        objects.assemble(keys.SNAPSHOT, [stored], size_bytes=len(stored), digest=digest)
    except VtsServingException as error:
        _log.warning("index_snapshot_not_written", extra={"code": error.code, "reason": error.message})


def _summary(fields: list[object]) -> Summary:
    summary = Summary._make(fields)
    return summary._replace(labels=tuple((str(key), str(value)) for key, value in summary.labels))
