"""Bounded first-in-first-out queues, one per method and group, counted in rows and bytes.

An entry whose deadline passed or whose caller left is dropped before any computation: by the sweep, or when it is
taken.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable

from vtsserving._wire.labels import EntryLabels
from vtsserving_batcher.policy import BatchLimits, Queued

_orders = itertools.count()


class Entry:
    """One request, or one part of a large request, that waits or is computed.

    Attributes:
        gateway: reply subject that its answer goes to.
        id: number of the request at that gateway.
        rows: items along the batch axis; 0 if it has none.
        body: its opaque bytes.
        size_bytes: their number, and about that of its labels.
        deadline_s: when it expires, loop time.
        arrived_s: when it came, loop time.
        attempt: how often it was dispatched before.
        labels: its request id, its trace and the kind of its body; None if it has none of them.
        abandoned: whether its caller left.
        was_lost: whether a runner was lost that held it.
        order: grows with each entry, so that those which come back find their place again.
    """

    __slots__ = (
        "abandoned",
        "arrived_s",
        "attempt",
        "body",
        "deadline_s",
        "gateway",
        "id",
        "labels",
        "order",
        "rows",
        "size_bytes",
        "was_lost",
    )

    def __init__(
        self,
        gateway: str,
        id: int,
        rows: int,
        body: memoryview,
        deadline_s: float,
        arrived_s: float,
        attempt: int,
        labels: EntryLabels | None = None,
    ) -> None:
        """Create an entry that is alive."""
        self.gateway = gateway
        self.id = id
        self.rows = rows
        self.body = body
        self.size_bytes = len(body) if labels is None else len(body) + labels.size_bytes
        self.labels = labels
        self.deadline_s = deadline_s
        self.arrived_s = arrived_s
        self.attempt = attempt
        self.abandoned = False
        self.was_lost = False
        self.order = next(_orders)

    def is_dead(self, now_s: float) -> bool:
        """Whether nobody waits for its answer any more."""
        return self.abandoned or self.deadline_s <= now_s


class Queue:
    """Entries that may share a batch, oldest first."""

    def __init__(self, method: str, head: bytes, limits: BatchLimits, hang_us: int) -> None:
        """Create an empty queue.

        Args:
            method: name of the signature.
            head: what the entries have in common; see wire/rows.py.
            limits: of one batch.
            hang_us: how long one call may take before the model process counts as hung, microseconds.

        `sizes`, the numbers of rows that batches are filled up to, come with each request, as the limits do.
        """
        self.method = method
        self.head = head
        self.limits = limits
        self.hang_us = hang_us
        self.sizes: tuple[int, ...] = ()
        self.rows = 0
        self.size_bytes = 0
        self._entries: deque[Entry] = deque()

    def __len__(self) -> int:
        """Entries that wait."""
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Append one entry; the caller checked the bounds."""
        self._entries.append(entry)
        self.rows += entry.rows
        self.size_bytes += entry.size_bytes

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Put entries that were taken to where they were: oldest first, also when two batches come back."""
        taken = list(entries)
        self._entries.extendleft(reversed(taken))
        if taken and len(self._entries) > len(taken) and self._entries[len(taken)].order < taken[-1].order:
            self._entries = deque(sorted(self._entries, key=lambda entry: entry.order))
        self.rows += sum(entry.rows for entry in taken)
        self.size_bytes += sum(entry.size_bytes for entry in taken)

    def queued(self) -> Queued:
        """The queue as the policy sees it; at least one entry waits."""
        return Queued(
            self._entries, len(self._entries), self.rows, self.size_bytes, self._entries[0].arrived_s
        )

    def take(self, count: int) -> list[Entry]:
        """Remove `count` entries from the front."""
        taken = [self._entries.popleft() for _ in range(count)]
        self.rows -= sum(entry.rows for entry in taken)
        self.size_bytes -= sum(entry.size_bytes for entry in taken)
        return taken

    def drop(self, is_dead: Callable[[Entry], bool]) -> list[Entry]:
        """Remove every entry for which `is_dead` holds; returns them."""
        dead = [entry for entry in self._entries if is_dead(entry)]
        if dead:
            kept = [entry for entry in self._entries if not is_dead(entry)]
            self._entries = deque(kept)
            self.rows = sum(entry.rows for entry in kept)
            self.size_bytes = sum(entry.size_bytes for entry in kept)
        return dead

    def clear(self) -> list[Entry]:
        """Remove and return everything."""
        return self.take(len(self._entries))
