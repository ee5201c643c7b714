"""Series of numbered records, created once and never changed: the newest counts, the others are history.

The only concurrency control is that of two writers of number n one loses; it then sees the winner and decides anew.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple, Protocol

from cachetools import LRUCache

from vtsserving import _clock
from vtsserving._record_format import check_format
from vtsserving.exceptions import IntegrityError, StoreUnavailable
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectEntry, ObjectStore

MAX_RECORD_BYTES: Final = 256 * 1024
MAX_REMEMBERED: Final = 20_000
_ATTEMPTS: Final = 50


class Record(NamedTuple):
    """One record.

    Attributes:
        number: from 1.
        at: when it was written, ISO 8601, UTC.
        by: who wrote it: a token's name, or empty.
        value: what it says.
    """

    number: int
    at: str
    by: str
    value: dict[str, Any]


class Each(Protocol):
    """`map`, or that of a thread pool."""

    def __call__(
        self, function: Callable[[ObjectEntry], Record | None], entries: Iterable[ObjectEntry], /
    ) -> Iterator[Record | None]:
        """The results, in order."""
        ...


def now() -> str:
    """The time as records have it."""
    return _clock.now_utc().isoformat(timespec="microseconds")


class RecordSeries:
    """Reads and extends series of records."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._read_before: LRUCache[tuple[str, str], Record] = LRUCache(MAX_REMEMBERED)
        self._lock = threading.Lock()  # for `_read_before`: requests run in threads

    def last(self, prefix: str) -> Record | None:
        """The newest record of a series; None if there is none."""
        newest = None
        for entry in self._objects.entries(prefix):
            newest = entry
        return None if newest is None else self._read(newest)

    def history(self, prefix: str) -> list[Record]:
        """All records of a series, newest first."""
        found = [self._read(entry) for entry in self._objects.entries(prefix)]
        return [record for record in reversed(found) if record is not None]

    def last_of_each(self, prefix: str, *, within: str = "", each: Each = map) -> dict[str, Record]:
        """The newest record of every series below `prefix`, by what follows `prefix`.

        Args:
            prefix: of all these series.
            within: only series whose rest begins so.
            each: reads the records; that of a thread pool reads many at once.
        """
        newest: dict[str, ObjectEntry] = {}
        for entry in self._objects.entries(prefix + within):
            newest[entry.key[len(prefix) :].rpartition("/")[0]] = entry
        read = each(self._read, newest.values())
        return {series: record for series, record in zip(newest, read, strict=True) if record is not None}

    def append(
        self, prefix: str, decide: Callable[[Record | None], dict[str, Any] | None], *, by: str
    ) -> Record | None:
        """Write the next record.

        Args:
            prefix: of the series.
            decide: gets the newest record and returns the next one's value, or None if nothing is to change; it is
                called again whenever another writer was faster, and may raise.
            by: who writes.

        Returns:
            The record that counts now.

        Raises:
            StoreUnavailable: too many others write the same series.
        """
        for _ in range(_ATTEMPTS):
            last = self.last(prefix)
            value = decide(last)
            if value is None:
                return last
            record = Record(last.number + 1 if last else 1, now(), by, value)
            # The nonce tells a repeated request of ours from another writer's equal record.
            body = {"at": record.at, "by": by, "value": value, "nonce": secrets.token_hex(8)}
            if self._objects.create(
                keys.numbered(prefix, record.number), json.dumps(body, sort_keys=True).encode()
            ):
                return record
        raise StoreUnavailable("too many writers change the same thing; try again", retry_after_s=1.0)

    def remove(self, prefix: str) -> None:
        """Remove a series."""
        for entry in list(self._objects.entries(prefix)):
            self._objects.delete(entry.key)

    def _read(self, entry: ObjectEntry) -> Record | None:
        with self._lock:
            known: Record | None = self._read_before.get((entry.key, entry.etag))
        if known is not None:
            return known
        body = self._objects.read(entry.key, limit_bytes=MAX_RECORD_BYTES)
        if body is None:
            return None
        try:
            fields = json.loads(body)
            check_format(fields, f"the record {entry.key} of the store")
            number = keys.record_number(entry.key)
            record = Record(number, str(fields["at"]), str(fields["by"]), dict(fields["value"]))
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"the record {entry.key} of the store is damaged") from error
        with self._lock:
            self._read_before[entry.key, entry.etag] = record
        return record
