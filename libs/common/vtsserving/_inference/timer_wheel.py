"""Deadlines of many calls with one timer: they are sorted into slots of 10 ms, and almost all leave before theirs ends.

A heap or a timer per call would keep hundreds of thousands of settled calls alive until their deadlines pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

Waiter = TypeVar("Waiter")

SLOT_S: Final = 0.01


class TimerWheel(Generic[Waiter]):
    """Calls `expired(ticket)` at most 20 ms after a ticket's deadline, unless it is discarded before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[Waiter], None]) -> None:
        """Create it without tickets."""
        self._loop = loop
        self._expired = expired
        self._slots: dict[int, dict[int, Waiter]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, ticket: Waiter, deadline_s: float) -> None:
        """Watch a ticket until `deadline_s`, loop time."""
        slot = int(deadline_s / SLOT_S) + 1
        tickets = self._slots.get(slot)
        if tickets is None:
            tickets = self._slots[slot] = {}
            self._arm()
        tickets[id(ticket)] = ticket

    def discard(self, ticket: Waiter, deadline_s: float) -> None:
        """Stop watching a ticket, which may be unknown."""
        slot = int(deadline_s / SLOT_S) + 1
        tickets = self._slots.get(slot)
        if tickets is not None and tickets.pop(id(ticket), None) is not None and not tickets:
            del self._slots[slot]

    def close(self) -> None:
        """Watch nothing any more."""
        self._slots.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(SLOT_S, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        due = int(self._loop.time() / SLOT_S)
        for slot in [slot for slot in self._slots if slot <= due]:
            for ticket in self._slots.pop(slot, {}).values():
                self._expired(ticket)
        if self._slots:
            self._arm()
