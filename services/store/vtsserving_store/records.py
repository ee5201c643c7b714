"""Series of numbered records that are created once and never changed: the newest one counts, the others are history. [M5]

The only concurrency control is that of two writers of number n one loses; it then sees the winner and decides anew.
"""

from __future__ import annotations

import datetime
import json
import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from vtsserving.exceptions import IntegrityError, StoreUnavailable
from vtsserving_store import keys
from vtsserving_store.blobs import Blobs

MAX_RECORD_BYTES: Final = 256 * 1024
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


def now() -> str:
    """The time as records have it."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds")


class Series:
    """Reads and extends series of records."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def last(self, prefix: str) -> Record | None:
        """The newest record of a series; None if there is none."""
        key = ""
        for entry in self._blobs.entries(prefix):
            key = entry.key
        return self._read(key) if key else None

    def history(self, prefix: str) -> list[Record]:
        """All records of a series, newest first."""
        found = [self._read(entry.key) for entry in self._blobs.entries(prefix)]
        return [record for record in reversed(found) if record is not None]

    def last_of_each(self, prefix: str) -> dict[str, Record]:
        """The newest record of every series below `prefix`, by what follows `prefix`."""
        newest: dict[str, str] = {}
        for entry in self._blobs.entries(prefix):
            newest[entry.key[len(prefix) :].rpartition("/")[0]] = entry.key
        read = {name: self._read(key) for name, key in newest.items()}
        return {name: record for name, record in read.items() if record is not None}

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
            if self._blobs.create(
                keys.numbered(prefix, record.number), json.dumps(body, sort_keys=True).encode()
            ):
                return record
        raise StoreUnavailable("too many writers change the same thing; try again", retry_after_s=1.0)

    def remove(self, prefix: str) -> None:
        """Remove a series."""
        for entry in list(self._blobs.entries(prefix)):
            self._blobs.delete(entry.key)

    def _read(self, key: str) -> Record | None:
        body = self._blobs.read(key, limit_bytes=MAX_RECORD_BYTES)
        if body is None:
            return None
        try:
            fields = json.loads(body)
            return Record(
                keys.record_number(key), str(fields["at"]), str(fields["by"]), dict(fields["value"])
            )
        except (ValueError, KeyError, TypeError) as error:
            raise IntegrityError(f"the record {key} of the store is damaged") from error
