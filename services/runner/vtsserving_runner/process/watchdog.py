"""Notices that a model process gives no sign of life, cheaply enough to be told of every batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

NEVER_S: Final = 30 * 86_400.0
"""A limit beyond this is none."""

STALL_S: Final = 0.25
"""A timer that is so late means that this process, or the machine, was suspended or starved."""

STALL_GRACE_S: Final = 5.0
"""Most time that is added then, for what came meanwhile to be read."""


class Watchdog:
    """One deadline that moves. The timer is not set anew with it: when it fires it looks where the deadline is."""

    def __init__(self, on_silence: Callable[[], None]) -> None:
        """Call `on_silence` when a deadline passes."""
        self._on_silence = on_silence
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._fires_s = 0.0
        self._deadline_s: float | None = None

    def expect(self, limit_s: float) -> None:
        """Move the deadline.

        Args:
            limit_s: how long the next sign of life may take from now on; not positive or beyond NEVER_S: for ever.
        """
        if not 0 < limit_s < NEVER_S:
            self._deadline_s = None
            return
        self._deadline_s = self._loop.time() + limit_s
        if self._timer is None or self._fires_s > self._deadline_s:
            self.stop()
            self._set(self._loop.time() + limit_s)

    def rest(self) -> None:
        """Expect nothing until the next `expect`."""
        self._deadline_s = None

    def stop(self) -> None:
        """Expect nothing and let go of the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, time_s: float) -> None:
        # Remembered apart: what uvloop returns for an instant that is now does not tell when it fires.
        self._deadline_s = self._fires_s = time_s
        self._timer = self._loop.call_at(time_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._deadline_s is None:
            return
        now_s = self._loop.time()
        late_s = now_s - self._fires_s
        if late_s > STALL_S:
            # This process stood still, so that it heard nothing proves nothing.
            self._deadline_s = max(self._deadline_s, now_s + min(late_s, STALL_GRACE_S))
        if now_s < self._deadline_s:
            self._set(self._deadline_s)
            return
        self._deadline_s = None
        self._on_silence()
