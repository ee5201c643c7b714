"""The one reader of time: every other module asks here, or its event loop.

Waits and deadlines use the monotonic clock; the wall clock is for people and for records. A virtual clock takes the
place of the real one with `use`, for all threads of the process; event loops bring their own (`loop.time`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Protocol

monotonic_s: Callable[[], float] = time.monotonic
"""Seconds on a clock that never goes back; only differences mean something."""

monotonic_ns: Callable[[], int] = time.monotonic_ns
"""The same in nanoseconds."""

wall_s: Callable[[], float] = time.time
"""Seconds since 1970, which an operator may set back."""

sleep: Callable[[float], None] = time.sleep
"""Wait for some seconds, on a thread without an event loop."""


class Clock(Protocol):
    """A source of time."""

    def monotonic(self) -> float:
        """Seconds; never goes back."""

    def monotonic_ns(self) -> int:
        """Nanoseconds; never goes back."""

    def time(self) -> float:
        """Seconds since 1970."""

    def sleep(self, seconds: float, /) -> None:
        """Return after so many seconds."""


def use(clock: Clock) -> None:
    """Read time from another clock from now on; the module `time` is the real one.

    Args:
        clock: takes the place of the one in use.
    """
    global monotonic_s, monotonic_ns, wall_s, sleep
    monotonic_s, monotonic_ns = clock.monotonic, clock.monotonic_ns
    wall_s, sleep = clock.time, clock.sleep


def now_utc() -> datetime:
    """The wall clock's time, in UTC."""
    return datetime.fromtimestamp(wall_s(), timezone.utc)
