"""When to send which entries as one batch, and what to refuse: pure functions of numbers, no clock, no I/O.

The policy is work-conserving: an idle model process gets what waits at once; while all are busy the queue grows into
the next batch. A process also holds one prefetched batch, so that it never waits for the bus; a batch is prefetched
only when it would be at least as large as the one that runs, else it would leave small what could still grow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from vtsserving._wire.limits import MAX_ENTRIES

MIN_SAMPLES: Final = 8
"""Batches to see before costs are believed: loading and first calls are slow."""

_SMOOTHING: Final = 0.2
"""Weight of a new sample in the moving averages."""


@dataclass(frozen=True)
class BatchLimits:
    """What one batch of a method may hold.

    Attributes:
        max_rows: most rows; 0 means that requests of the method are never merged.
        max_bytes: most bytes of bodies.
        max_wait_s: how long the oldest entry may wait for company, seconds; 0 never waits.
    """

    max_rows: int
    max_bytes: int
    max_wait_s: float = 0.0


class Take(NamedTuple):
    """Send this many entries, from the front, now."""

    entries: int


class WaitUntil(NamedTuple):
    """Send nothing before this time (seconds, the caller's clock); None: until something else changes."""

    time_s: float | None


class Sized(Protocol):
    """One queued entry as the policy sees it."""

    @property
    def rows(self) -> int:
        """Items along the batch axis; 0 if it has none."""

    @property
    def size_bytes(self) -> int:
        """Bytes of its body."""


@dataclass(frozen=True, slots=True)
class Queued:
    """A queue as the policy sees it.

    Attributes:
        entries: from the front; iterated only when they do not all fit into one batch.
        count: how many, at least one.
        rows: their sum of rows.
        size_bytes: their sum of bytes.
        oldest_s: when the entry at the front arrived, the caller's clock.
    """

    entries: Iterable[Sized]
    count: int
    rows: int
    size_bytes: int
    oldest_s: float


def decide(queued: Queued, now_s: float, limits: BatchLimits, running_rows: int) -> Take | WaitUntil:
    """Decide on the next batch of one queue, for a model process with a free credit.

    Args:
        queued: the queue.
        now_s: now, on the clock of `queued.oldest_s`.
        limits: of the method.
        running_rows: rows that the process computes already; 0 when it is idle.

    Returns:
        Take(n), n >= 1, or WaitUntil. An entry above the limits is taken alone.
    """
    count, rows, full = fill(queued, limits)
    if full:
        return Take(count)
    if running_rows and rows < running_rows:
        return WaitUntil(None)
    if limits.max_wait_s and now_s < queued.oldest_s + limits.max_wait_s:
        return WaitUntil(queued.oldest_s + limits.max_wait_s)
    return Take(count)


def fill(queued: Queued, limits: BatchLimits) -> tuple[int, int, bool]:
    """How many entries from the front fit into one batch.

    Returns:
        (entries, rows, full): at least one entry; full when the batch can take no further row or the next entry
        does not fit.
    """
    fits = queued.rows < limits.max_rows and queued.size_bytes < limits.max_bytes
    if fits and queued.count < MAX_ENTRIES:
        return queued.count, queued.rows, False
    count = rows = size_bytes = 0
    for entry in queued.entries:
        too_much = rows + entry.rows > limits.max_rows or size_bytes + entry.size_bytes > limits.max_bytes
        if count and (too_much or entry.rows == 0):
            return count, rows, True
        count += 1
        rows += entry.rows
        size_bytes += entry.size_bytes
        is_full = rows >= limits.max_rows or size_bytes >= limits.max_bytes or count >= MAX_ENTRIES
        if is_full or entry.rows == 0:
            return count, rows, True
    return count, rows, False


class Cost:
    """What batches of one method cost, learned while serving: time = fixed + per_row * rows.

    Moving averages of time, rows, rows squared and their product give the least-squares line; with batches of one
    size only, everything counts as fixed. Used to refuse what cannot finish in time, never to delay.
    """

    def __init__(self) -> None:
        """Start without an opinion."""
        self._samples = 0
        self._rows = self._time = self._rows_rows = self._rows_time = 0.0

    def learn(self, rows: int, time_s: float) -> None:
        """Take in one finished batch.

        Args:
            rows: its rows.
            time_s: from the start of the computation to its end, seconds.
        """
        weight = max(_SMOOTHING, 1.0 / (self._samples + 1))
        self._samples += 1
        self._rows += weight * (rows - self._rows)
        self._time += weight * (time_s - self._time)
        self._rows_rows += weight * (rows * rows - self._rows_rows)
        self._rows_time += weight * (rows * time_s - self._rows_time)

    @property
    def known(self) -> bool:
        """Whether enough batches were seen."""
        return self._samples >= MIN_SAMPLES

    def estimate_s(self, rows: int) -> float:
        """Expected time of a batch of `rows` rows, seconds; 0 while not `known`."""
        if not self.known:
            return 0.0
        spread = self._rows_rows - self._rows * self._rows
        slope = (
            (self._rows_time - self._rows * self._time) / spread if spread > 1e-9 * self._rows_rows else 0.0
        )
        slope = max(0.0, slope)
        return max(0.0, self._time - slope * self._rows) + slope * rows


def finish_s(
    ahead_rows: int, ahead_entries: int, rows: int, limits: BatchLimits, cost: Cost, processes: int
) -> float:
    """Expected seconds until a new entry is answered, if it queues behind `ahead_rows`.

    Args:
        ahead_rows: rows queued and running before it.
        ahead_entries: entries queued and running before it.
        rows: its own rows.
        limits: of the method.
        cost: of the method.
        processes: model processes that share the queue, at least 1.

    Returns:
        Seconds, 0 while the cost is not known.
    """
    if not cost.known:
        return 0.0
    if not limits.max_rows:
        return cost.estimate_s(0) * (ahead_entries / processes + 1)
    full_batches, rest = divmod(ahead_rows + rows, limits.max_rows)
    return (full_batches * cost.estimate_s(limits.max_rows) + cost.estimate_s(rest)) / processes
