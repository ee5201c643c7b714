"""Wait for the other side awake, as long as messages follow each other closely.

A process that sleeps is woken late and with cold caches: with one client at a time that was a third of the time from
request to answer. So after a short wait the next one is begun by looking again and again; the first wait that
turns out long ends that, and costs no more than its own limit.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from vtsserving import _clock

_CHUNK_BYTES: Final = 256 * 1024


class SpinPolicy:
    """Whether it pays to stay awake, learned from the last wait."""

    def __init__(self, limit_us: int) -> None:
        """Create it asleep.

        Args:
            limit_us: how long to stay awake at most, microseconds; 0: never. With one processor it is 0 too, for
                there whoever stays awake keeps the other side from working.
        """
        self._limit_ns = limit_us * 1_000 if _processors() > 1 else 0
        self._until_ns = 0
        self.awake = False

    def begin(self) -> None:
        """A wait begins."""
        self._until_ns = _clock.monotonic_ns() + self._limit_ns

    def look(self) -> bool:
        """Whether to go on awake; only while it is."""
        self.awake = _clock.monotonic_ns() < self._until_ns
        return self.awake

    def end(self) -> None:
        """The wait is over: another one as short is worth staying awake for."""
        self.awake = _clock.monotonic_ns() < self._until_ns


class Polling:
    """Reads from a socket, for a thread that may wait."""

    def __init__(self, limit_us: int) -> None:
        """See SpinPolicy."""
        self._spin_policy = SpinPolicy(limit_us)

    def receive(self, sock: socket.socket) -> bytes:
        """What the socket has to read, at least one byte; nothing when the other side has closed."""
        spin_policy = self._spin_policy
        spin_policy.begin()
        while spin_policy.awake:
            try:
                return sock.recv(_CHUNK_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                # Anybody else who has work on this processor goes first.
                os.sched_yield()
            spin_policy.look()
        data = sock.recv(_CHUNK_BYTES)
        spin_policy.end()
        return data


class BusyPollLoop:
    """Keeps an event loop from sleeping during a wait: it goes round and looks at its sockets each time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit_us: int) -> None:
        """See SpinPolicy."""
        self._loop = loop
        self._spin_policy = SpinPolicy(limit_us)
        self._is_waiting = False
        self._is_turning = False

    def begin(self) -> None:
        """A wait begins, unless one is going on."""
        if self._is_waiting:
            return
        self._is_waiting = True
        self._spin_policy.begin()
        if self._spin_policy.awake and not self._is_turning:
            self._is_turning = True
            self._loop.call_soon(self._turn)

    def end(self) -> None:
        """The wait is over."""
        if self._is_waiting:
            self._is_waiting = False
            self._spin_policy.end()

    def _turn(self) -> None:
        if self._is_waiting and self._spin_policy.look():
            self._loop.call_soon(self._turn)
        else:
            self._is_turning = False


def _processors() -> int:
    if hasattr(os, "sched_getaffinity") and hasattr(os, "sched_yield"):
        return len(os.sched_getaffinity(0))
    return 1
