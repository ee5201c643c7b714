"""The clock of the timeouts: one timer for all connections of a server."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, Protocol

_log = logging.getLogger(__name__)

_WATCH_S: Final = 0.5
_SHORTEST_WATCH_S: Final = 0.01


class Watched(Protocol):
    """A connection with a deadline."""

    deadline_s: float

    def expire(self, now_s: float) -> None:
        """Called once the deadline has passed; sets a new one or ends."""

    def start_draining(self) -> None:
        """The server begins to leave."""


class Watch:
    """The open connections of one server. A timer for each would cost more than most of their requests."""

    def __init__(self, shortest_s: float) -> None:
        """Create it inside of a running event loop.

        Args:
            shortest_s: the shortest timeout of the connections; it ends at most an eighth of itself late, seconds.
        """
        self.connections: set[Watched] = set()
        self._loop = asyncio.get_running_loop()
        self.now_s = self._loop.time()
        """Loop time of the last look; cheap, and late by half a second at most."""
        self._period_s = max(min(_WATCH_S, shortest_s / 8), _SHORTEST_WATCH_S)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to check the connections' deadlines."""
        self._check()

    def close(self) -> None:
        """Check no more deadlines."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check(self) -> None:
        self.now_s = now_s = self._loop.time()
        self._timer = self._loop.call_later(self._period_s, self._check)
        for connection in [c for c in self.connections if c.deadline_s <= now_s]:
            _expire(connection, now_s)


def _expire(connection: Watched, now_s: float) -> None:
    try:
        connection.expire(now_s)
    except Exception:
        _log.exception("timeout_failed")
