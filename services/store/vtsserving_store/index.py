"""Summaries of all versions, kept in memory and rebuilt from the storage whenever it is asked. [M5]

An object under `models/` never changes while it has the same ETag, so its summary is read once. One name is always
listed afresh; the list over all names may be a little old, and is refreshed by one caller while others wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from vtsserving.exceptions import IntegrityError
from vtsserving_store import keys
from vtsserving_store.blobs import Blobs, Entry
from vtsserving_store.labels import Labels
from vtsserving_store.version_record import MAX_VERSION_BYTES, Summary, Version

_READ_THREADS: Final = 16


class Index:
    """Finds versions by name, or all of them."""

    def __init__(self, blobs: Blobs, labels: Labels, *, max_age_s: float) -> None:
        """Create an empty index.

        Args:
            blobs: the storage.
            labels: edited labels, which listings show instead of those that a model was saved with.
            max_age_s: how old the list over all names may be, in seconds.
        """
        self._blobs = blobs
        self._labels = labels
        self._max_age_s = max_age_s
        self._known: dict[str, tuple[str, Summary]] = {}
        self._damaged: dict[str, str] = {}
        self._all: list[Summary] = []
        self._listed_s = float("-inf")
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="store-index")

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def invalidate(self) -> None:
        """Something changed: list anew at the next call."""
        self._listed_s = float("-inf")

    def of_name(self, name: str) -> list[Summary]:
        """All versions of a name as the storage has them now, newest first."""
        return sorted(self._summaries(self._blobs.entries(f"{keys.MODELS}{name}/")), reverse=True)

    def labelled(self, name: str) -> list[Summary]:
        """As `of_name`, with edited labels."""
        edited = self._labels.edited(name)
        return [_relabelled(summary, edited) for summary in self.of_name(name)]

    def all(self) -> list[Summary]:
        """All versions of all names, by name, newest first, with edited labels; at most `max_age_s` old."""
        with self._lock:
            if time.monotonic() - self._listed_s > self._max_age_s:
                started_s = time.monotonic()
                entries = list(self._blobs.entries(keys.MODELS))
                edited = self._labels.edited()
                found = (_relabelled(summary, edited) for summary in self._summaries(entries))
                newest_first = sorted(found, reverse=True)
                self._all = sorted(newest_first, key=lambda summary: summary.name)
                self._forget_others({entry.key for entry in entries})
                self._listed_s = started_s
            return self._all

    def names(self) -> list[str]:
        """All names, sorted."""
        return list(dict.fromkeys(summary.name for summary in self.all()))

    def _summaries(self, entries: Iterable[Entry]) -> list[Summary]:
        found = self._threads.map(self._summary, entries)
        return [summary for summary in found if summary is not None]

    def _summary(self, entry: Entry) -> Summary | None:
        known = self._known.get(entry.key)
        if known is not None and known[0] == entry.etag:
            return known[1]
        if self._damaged.get(entry.key) == entry.etag:
            return None
        stored = self._blobs.read(entry.key, limit_bytes=MAX_VERSION_BYTES)
        if stored is None:
            return None
        try:
            summary = Version.from_bytes(stored, *keys.model_parts(entry.key)).summary()
        except (IntegrityError, ValueError, KeyError, TypeError):
            # One damaged record must not hide the others; reading it by its tag says what is wrong with it.
            self._damaged[entry.key] = entry.etag
            return None
        self._known[entry.key] = (entry.etag, summary)
        return summary

    def _forget_others(self, present: set[str]) -> None:
        for key in [key for key in list(self._known) if key not in present]:
            self._known.pop(key, None)
        for key in [key for key in list(self._damaged) if key not in present]:
            self._damaged.pop(key, None)


def _relabelled(summary: Summary, edited: Mapping[tuple[str, str], Mapping[str, str]]) -> Summary:
    labels = edited.get((summary.name, summary.version))
    return summary if labels is None else summary._replace(labels=tuple(sorted(labels.items())))
