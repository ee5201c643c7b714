"""Summaries of all versions, kept in memory and rebuilt from the storage whenever it is asked.

An object under `models/` never changes while it has the same ETag, so its summary is read once. One name is always
listed afresh; in the list over all names, the work of other replicas may show a little later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from vtsserving import _clock
from vtsserving._model.tag import is_hidden
from vtsserving.exceptions import IntegrityError, NewerFormat, VtsServingException
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectEntry, ObjectStore
from vtsserving_store.registry import snapshot
from vtsserving_store.registry.labels import Labels
from vtsserving_store.registry.version_record import MAX_VERSION_BYTES, Summary, VersionRecord

SLOW_LIST_S: Final = 0.5
"""Where listing everything takes longer than this, callers get the list of before while it is renewed."""

PATIENCE: Final = 5.0
"""Such a list is renewed when it is this many times as old as listing takes."""

SNAPSHOT_AFTER: Final = 100
"""A list for which so many records had to be read is worth a snapshot for the next replica."""

_READ_THREADS: Final = 16
_log = logging.getLogger(__name__)


class Index:
    """Finds versions by name, or all of them."""

    def __init__(self, objects: ObjectStore, labels: Labels, *, max_age_s: float) -> None:
        """Create an empty index.

        Args:
            objects: the storage.
            labels: edited labels, which listings show instead of those that a model was saved with.
            max_age_s: how old the list over all names may be, in seconds, while listing is quick.
        """
        self._objects = objects
        self._labels = labels
        self._max_age_s = max_age_s
        self._known: dict[str, tuple[str, Summary]] = {}
        self._damaged: dict[str, str] = {}
        self._newer: dict[str, tuple[str, NewerFormat]] = {}
        self._is_new = True
        self._by_name: dict[str, list[Summary]] = {}
        self._changed: set[str] = set()
        self._changed_while_listing: set[str] = set()
        self._listed_s = float("-inf")
        self._took_s = 0.0
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        # Two pools: a rebuild over all names must not hold up those who ask for one.
        self._name_threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="store-name")
        self._list_threads = ThreadPoolExecutor(_READ_THREADS, thread_name_prefix="store-list")
        self._background = ThreadPoolExecutor(1, thread_name_prefix="store-index")

    def close(self) -> None:
        """Stop the threads."""
        for threads in (self._background, self._list_threads, self._name_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def warm_up(self) -> None:
        """Begin to read all names, in the background."""
        self._background.submit(self._refresh_quietly)

    def invalidate(self, name: str = "") -> None:
        """A name changed (or who knows what): the next list shows it as the storage has it then."""
        with self._lock:
            if name:
                self._changed.add(name)
                self._changed_while_listing.add(name)
            else:
                self._listed_s = float("-inf")

    def of_name(self, name: str) -> list[Summary]:
        """All versions of a name as the storage has them now, newest first; those that cannot be read are left out."""
        entries = list(self._objects.entries(f"{keys.MODELS}{name}/"))
        self._forget_deleted(name, {entry.key for entry in entries})
        found = self._summaries(entries, self._name_threads)
        return sorted(found, reverse=True)

    def check_newer(self, name: str) -> None:
        """Refuse to speak of all versions of a name while `of_name` leaves some out that a later release wrote.

        Raises:
            NewerFormat: there are such versions.
        """
        prefix = f"{keys.MODELS}{name}/"
        for key, (_, error) in list(self._newer.items()):
            if key.startswith(prefix):
                raise NewerFormat(error.message)

    def labelled(self, name: str) -> list[Summary]:
        """As `of_name`, with edited labels."""
        edited = self._labels.edited(name)
        return [_relabelled(summary, edited) for summary in self.of_name(name)]

    def all(self) -> list[Summary]:
        """All versions of all names, by name, newest first, with edited labels.

        What this replica changed, or was told of, is always shown; what others did may be missing for a while, a
        few times as long as it takes to list the storage.
        """
        age_s = _clock.monotonic_s() - self._listed_s
        if age_s > self._max_age_s:
            if self._took_s < SLOW_LIST_S or age_s == float("inf"):
                self._refresh()
            elif age_s > max(self._max_age_s, PATIENCE * self._took_s):
                self._background.submit(self._refresh_quietly)
        self._refresh_changed()
        with self._lock:
            return [summary for _, versions in sorted(self._by_name.items()) for summary in versions]

    def fitting(
        self, q: str, labels: Iterable[str], module: str = "", *, hidden: bool = False
    ) -> Iterator[Summary]:
        """Those of all versions that fit a search, in the order of `all`.

        Args:
            q: part of the name or description, in any case; empty fits all.
            labels: `key=value` or `key`; all of them must fit.
            module: the framework module, with or without `vtsserving.`; empty fits all.
            hidden: packed runners, too.
        """
        wanted = [label.partition("=") for label in labels]
        needle = q.lower()
        for summary in self.all():
            have = dict(summary.labels)
            if is_hidden(summary.name) and not hidden:
                continue
            if module and summary.module not in (module, f"vtsserving.{module}"):
                continue
            if needle and needle not in summary.name and needle not in summary.description.lower():
                continue
            if all(key in have and (not equals or have[key] == value) for key, equals, value in wanted):
                yield summary

    def _refresh_changed(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        try:
            while changed:
                name = next(iter(changed))
                versions = self.labelled(name)
                with self._lock:
                    self._by_name[name] = versions
                changed.discard(name)
        finally:
            with self._lock:
                self._changed |= changed

    def known_names(self) -> list[str]:
        """Names that are remembered, for hints; looks at nothing."""
        with self._lock:
            return sorted(name for name in self._by_name if not is_hidden(name))

    def _refresh(self) -> None:
        """List everything anew; of many callers one works and the others wait for it."""
        asked_s = _clock.monotonic_s()
        with self._refreshing:
            if self._listed_s >= asked_s:
                return
            began_s = _clock.monotonic_s()
            with self._lock:
                self._changed_while_listing = set()
            entries = list(self._objects.entries(keys.MODELS))
            if self._is_new:
                self._known = {**snapshot.load(self._objects), **self._known}
                self._is_new = False
            unread = sum(1 for entry in entries if self._etag_of(entry.key) != entry.etag)
            edited = self._labels.edited(each=self._list_threads.map)
            found = sorted(self._summaries(entries, self._list_threads), reverse=True)
            by_name: dict[str, list[Summary]] = {}
            for summary in found:
                by_name.setdefault(summary.name, []).append(_relabelled(summary, edited))
            self._forget_others({entry.key for entry in entries})
            if unread >= SNAPSHOT_AFTER:
                self._background.submit(snapshot.save, self._objects, dict(self._known))
            with self._lock:
                self._by_name = by_name
                # The listing may have missed them.
                self._changed |= self._changed_while_listing
                self._listed_s = began_s
                self._took_s = _clock.monotonic_s() - began_s

    def _refresh_quietly(self) -> None:
        try:
            if _clock.monotonic_s() - self._listed_s > self._max_age_s:
                self._refresh()
        except VtsServingException as error:
            _log.warning("index_not_refreshed", extra={"code": error.code, "reason": error.message})

    def _summaries(self, entries: Iterable[ObjectEntry], threads: ThreadPoolExecutor) -> list[Summary]:
        found = threads.map(self._summary, entries)
        return [summary for summary in found if summary is not None]

    def _summary(self, entry: ObjectEntry) -> Summary | None:
        known = self._known.get(entry.key)
        if known is not None and known[0] == entry.etag:
            return known[1]
        if self._damaged.get(entry.key) == entry.etag:
            return None
        if self._newer.get(entry.key, ("",))[0] == entry.etag:
            return None
        stored = self._objects.read(entry.key, limit_bytes=MAX_VERSION_BYTES)
        if stored is None:
            return None
        try:
            summary = VersionRecord.from_bytes(stored, *keys.model_parts(entry.key)).summary()
        except (IntegrityError, ValueError, KeyError, TypeError):
            # One damaged record must not hide the others; reading it by its tag says what is wrong with it.
            self._damaged[entry.key] = entry.etag
            return None
        except NewerFormat as error:
            _log.warning("record_of_a_later_release", extra={"key": entry.key, "reason": error.message})
            self._newer[entry.key] = (entry.etag, error)
            return None
        self._known[entry.key] = (entry.etag, summary)
        return summary

    def _etag_of(self, key: str) -> str:
        known = self._known.get(key)
        return "" if known is None else known[0]

    def _forget_others(self, present: set[str]) -> None:
        for key in [key for key in list(self._known) if key not in present]:
            self._known.pop(key, None)
        for key in [key for key in list(self._damaged) if key not in present]:
            self._damaged.pop(key, None)
        self._forget_deleted("", present)

    def _forget_deleted(self, name: str, present: set[str]) -> None:
        """Forget records of a later release that are gone, of one name or of all."""
        prefix = f"{keys.MODELS}{name}/" if name else keys.MODELS
        for key in [key for key in list(self._newer) if key.startswith(prefix) and key not in present]:
            self._newer.pop(key, None)


def _relabelled(summary: Summary, edited: Mapping[tuple[str, str], Mapping[str, str]]) -> Summary:
    labels = edited.get((summary.name, summary.version))
    return summary if labels is None else summary._replace(labels=tuple(sorted(labels.items())))
