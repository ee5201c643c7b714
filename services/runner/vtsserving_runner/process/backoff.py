"""How long to wait before a crashed model process is started again: pure numbers."""

from __future__ import annotations

from collections import deque
from typing import Final

DELAYS_S: Final = (0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""By the number of crashes in a row. Two are free: a batch with one bad request costs two."""

WINDOW_S: Final = 60.0
MAX_IN_WINDOW: Final = 10
"""More crashes than this within the window wait at least a second each, even with good answers in between."""


class Backoff:
    """Counts the crashes of one model process."""

    def __init__(self) -> None:
        """Start without crashes."""
        self._in_row = 0
        self._times_s: deque[float] = deque(maxlen=MAX_IN_WINDOW + 1)

    def succeeded(self) -> None:
        """Note that a batch was computed."""
        self._in_row = 0

    def crashed(self, now_s: float) -> float:
        """Note a crash.

        Args:
            now_s: when, on a monotonic clock.

        Returns:
            Seconds to wait before the next start.
        """
        self._times_s.append(now_s)
        delay_s = DELAYS_S[min(self._in_row, len(DELAYS_S) - 1)]
        self._in_row += 1
        if len(self._times_s) > MAX_IN_WINDOW and now_s - self._times_s[0] < WINDOW_S:
            return max(delay_s, 1.0)
        return delay_s
