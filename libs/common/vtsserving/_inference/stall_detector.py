"""Noticing that this process itself stood still, so that the silence of others says nothing about them."""

from __future__ import annotations

from typing import Final

from vtsserving._wire.limits import DEAD_AFTER_S, HEARTBEAT_S

STALLED_AFTER_S: Final = DEAD_AFTER_S - HEARTBEAT_S
"""Who looks every heartbeat and did not for this long was stopped or starved; what it should have heard meanwhile is
unread yet, or was not sent because the whole machine stood still."""


class StallDetector:
    """Tells, of somebody who looks regularly, whether the last look is too long ago."""

    def __init__(self) -> None:
        """Start with no look so far."""
        self._looked_s: float | None = None

    def touch(self, now_s: float) -> None:
        """Note a look (monotonic clock, seconds) whose answer does not matter."""
        self._looked_s = now_s

    def stalled(self, now_s: float) -> bool:
        """Look.

        Args:
            now_s: monotonic clock, seconds.

        Returns:
            Whether this process stood still since the last look; False at the first.
        """
        looked_s, self._looked_s = self._looked_s, now_s
        return looked_s is not None and now_s - looked_s > STALLED_AFTER_S
