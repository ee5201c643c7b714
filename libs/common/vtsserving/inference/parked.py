"""Parts that wait for a batcher while none is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from vtsserving.inference.request import Part

BATCHER_WAIT_S: Final = 5.0
"""How long a request waits for a batcher when none is alive, before it is refused."""


class Parked:
    """Keeps parts until a batcher comes, or until they have waited long enough."""

    def __init__(self, give_up: Callable[[Part], None]) -> None:
        """Start empty, inside of a running event loop.

        Args:
            give_up: called with each part that has waited for BATCHER_WAIT_S.
        """
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._parts: list[Part] = []

    def add(self, parts: Sequence[Part]) -> None:
        """Keep parts for a while."""
        self._parts.extend(parts)
        self._loop.call_later(BATCHER_WAIT_S, self._expire, frozenset(part.id for part in parts))

    def take(self) -> list[Part]:
        """All parts that wait; they wait no more."""
        parts, self._parts = self._parts, []
        return parts

    def _expire(self, ids: frozenset[int]) -> None:
        expired = [part for part in self._parts if part.id in ids]
        self._parts = [part for part in self._parts if part.id not in ids]
        for part in expired:
            self._give_up(part)
