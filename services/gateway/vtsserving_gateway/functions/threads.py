"""Threads for the sync functions of a service: few hand-overs, and as few wake-ups of the event loop as there can be.

Each change between the event loop and a thread costs more than the rest of a small request, so what several threads
have finished is delivered in one turn of the loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple


class _Job(NamedTuple):
    work: Callable[[], Any]
    on_done: Callable[[Any, BaseException | None], None]
    context: contextvars.Context


class FunctionThreads:
    """A pool whose threads start when they are needed. Use it from the event loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        """Prepare.

        Args:
            loop: where results are delivered.
            most: threads at most; what comes while all are busy waits.
        """
        self._loop = loop
        self._most = most
        self._threads = 0
        self._unfinished = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._finished: deque[tuple[_Job, Any, BaseException | None]] = deque()
        self._is_delivering = False

    def submit(self, work: Callable[[], Any], on_done: Callable[[Any, BaseException | None], None]) -> None:
        """Run something in a thread, in the caller's context.

        Args:
            work: may block.
            on_done: called on the loop with the result, or with what was raised, of any kind.
        """
        self._unfinished += 1
        if self._unfinished > self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._run, name=f"function-{self._threads}", daemon=True).start()
        self._jobs.put(_Job(work, on_done, contextvars.copy_context()))

    def run(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """The same, as something to await; cancelling it leaves the thread to its work."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error if isinstance(error, Exception) else RuntimeError(repr(error)))

        self.submit(work, done)
        return future

    def close(self) -> None:
        """Let the threads end after their work."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                result, error = job.context.run(job.work), None
            except BaseException as raised:
                result, error = None, raised
            self._finished.append((job, result, error))
            if not self._is_delivering:
                self._is_delivering = True
                try:
                    self._loop.call_soon_threadsafe(self._deliver)
                except RuntimeError:
                    return  # the loop is closed: nobody waits
            del job, result, error

    def _deliver(self) -> None:
        # First the flag: whoever finishes from here on sees to another delivery.
        self._is_delivering = False
        while self._finished:
            job, result, error = self._finished.popleft()
            self._unfinished -= 1
            job.on_done(result, error)
