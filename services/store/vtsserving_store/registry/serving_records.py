"""All that serving needs to know of versions, many at once: what model.yaml says, and the options that were changed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final, NamedTuple

from cachetools import LRUCache

from vtsserving._model import settings
from vtsserving.exceptions import IntegrityError, NewerFormat
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.registry.options import ModelOptionRecords
from vtsserving_store.registry.version_record import MAX_VERSION_BYTES, Summary, VersionRecord

MAX_REMEMBERED_BYTES: Final = 32 << 20
"""Most bytes of records that are kept in memory; they never change while they have the same digest."""

_READ_THREADS: Final = 16
_READ_AHEAD: Final = 4 * _READ_THREADS


class ServingRecord(NamedTuple):
    """What serving needs of one version.

    Attributes:
        summary: of the version.
        values: `name`, `version`, `digest`, `info` (the values of model.yaml), `extra` (what the manifest says beside
            its files) and `settings` (options that were changed since it was saved).
        size_bytes: about how many bytes these have as JSON.
    """

    summary: Summary
    values: dict[str, Any]
    size_bytes: int


class ServingRecords:
    """Reads the records of many versions."""

    def __init__(self, objects: ObjectStore, options: ModelOptionRecords) -> None:
        self._objects = objects
        self._options = options
        self._known: LRUCache[tuple[str, str], ServingRecord] = LRUCache(
            MAX_REMEMBERED_BYTES, getsizeof=lambda record: record.size_bytes
        )
        self._lock = threading.Lock()  # for `_known`: requests run in threads
        self._threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="store-records")

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def of(self, summaries: Iterable[Summary], name: str = "") -> Iterator[ServingRecord]:
        """The records of versions, in order; those that were deleted meanwhile are left out.

        Args:
            summaries: of the versions.
            name: of all of them, if they have one; else the options of all names are read.
        """
        changed = self._options.of_all(name)
        left = iter(summaries)
        while part := list(islice(left, _READ_AHEAD)):
            for found in self._threads.map(self._read, part):
                if found is not None:
                    values = {**found.values, "settings": _of_version(changed, found.summary)}
                    yield found._replace(values=values)

    def _read(self, summary: Summary) -> ServingRecord | None:
        key = (summary.tag, summary.digest)
        with self._lock:
            known: ServingRecord | None = self._known.get(key)
        if known is not None:
            return known
        stored = self._objects.read(keys.model(summary.name, summary.version), limit_bytes=MAX_VERSION_BYTES)
        if stored is None:
            return None
        try:
            version = VersionRecord.from_bytes(stored, summary.name, summary.version)
        except (IntegrityError, NewerFormat):
            return None  # as in every listing; asked for by its tag, it says what is wrong with it
        values = {
            "name": summary.name,
            "version": summary.version,
            "digest": version.digest,
            "info": version.info,
            "extra": version.manifest.extra,
        }
        record = ServingRecord(summary, values, len(stored))
        if record.size_bytes <= MAX_REMEMBERED_BYTES:
            with self._lock:
                self._known[key] = record
        return record


def _of_version(changed: Mapping[str, Any], summary: Summary) -> dict[str, Any]:
    values = changed.get(summary.name)
    return settings.of_version(values, summary.version) if values else {}
