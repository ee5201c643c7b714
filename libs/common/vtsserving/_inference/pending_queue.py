"""Parts that cannot be sent now, and wait for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from vtsserving._inference.request import Part
from vtsserving.exceptions import BusUnavailable, NoBatcher

BATCHER_WAIT_S: Final = 5.0
"""How long a request waits for a batcher when none is alive, before it is refused."""

BUS_WAIT_S: Final = 0.8
"""How long the bus may be away before requests are refused.

Longer than a restart of nats-server, or a change to another one, takes; whoever asks in the gap is answered within a
second all the same.
"""


class PendingQueue:
    """Keeps parts until they can be sent, or until they have waited long enough."""

    def __init__(self, wait_s: float, give_up: Callable[[Part], None]) -> None:
        """Start empty, inside of a running event loop.

        Args:
            wait_s: how long a part is kept, seconds.
            give_up: called with each part that has waited for so long.
        """
        self._wait_s = wait_s
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._parts: list[Part] = []

    def add(self, parts: Sequence[Part]) -> None:
        """Keep parts for a while."""
        self._parts.extend(parts)
        self._loop.call_later(self._wait_s, self._expire, frozenset(part.id for part in parts))

    def take(self) -> list[Part]:
        """All parts that wait; they wait no more."""
        parts, self._parts = self._parts, []
        return parts

    def _expire(self, ids: frozenset[int]) -> None:
        expired = [part for part in self._parts if part.id in ids]
        self._parts = [part for part in self._parts if part.id not in ids]
        for part in expired:
            self._give_up(part)


def bus_away() -> BusUnavailable:
    """How a request ends that waited for the bus, or that need not wait for it any more."""
    return BusUnavailable("the message bus is not connected; try again", retry_after_s=1.0)


def no_batcher() -> NoBatcher:
    """How a request ends that has waited for a batcher."""
    return NoBatcher("no batcher is alive; start one", retry_after_s=1.0)
