"""Supervises one model process: ready, crashed, hung, started again; a bad request fails alone.

A batch that was running when its process ended is suspected: its entries run one by one in the next process, and the
one that ends a process again, alone, is answered with an error. So n bad requests cost at most n + 1 processes, and
no request is computed after it crashed twice. Batches that had not begun run as they are.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from enum import Enum
from typing import Final, Protocol

from vtsserving._runtime.child_process import describe_exit
from vtsserving._wire import frames
from vtsserving.exceptions import BadFrame, ModelCrashed, ModelLoadFailed, ModelTimeout
from vtsserving_runner.process.backoff import Backoff
from vtsserving_runner.process.launch import Launch
from vtsserving_runner.process.link import Link
from vtsserving_runner.process.usage import Usage, usage_of
from vtsserving_runner.process.watchdog import Watchdog
from vtsserving_runner.process.work import Work

_log = logging.getLogger(__name__)

Answer = frames.Result | frames.Fault


MAX_KILLED_LOADING: Final = 2
"""How often loading is begun again after somebody killed the process: that says nothing about the model."""


FEW_ENTRIES: Final = 4
"""A batch of more has so many callers that the event loop hardly sleeps anyway."""


class Reports(Protocol):
    """What a model process tells its owner; each call is synchronous and must not raise."""

    def answered(self, work: Work, answer: Answer) -> None:
        """Some entries of a batch have their answer."""

    def finished(self, work: Work) -> None:
        """All entries of a batch have their answer."""

    def refused(self, work: Work) -> None:
        """A batch was not begun and will not be: it is better off elsewhere."""

    def warm(self, process: ModelProcess) -> None:
        """The process takes batches now; after each start."""

    def lost(self, process: ModelProcess, reason: str) -> None:
        """The process ended by itself; it is being started again."""

    def failed(self, process: ModelProcess, reason: str) -> None:
        """The model cannot be loaded; this object is of no more use."""


class ProcessState(Enum):
    """Where a model process stands."""

    STARTING = "starting"
    WARM = "warm"
    WAITING = "waiting"
    STOPPED = "stopped"


class ModelProcess:
    """One model process, started again whenever it ends by itself.

    Attributes:
        state: where it stands.
        warm_usage: what it took when it was warm.
        batches: how many it computed since.
    """

    def __init__(self, launch: Launch, reports: Reports, *, load_timeout_s: float) -> None:
        """Prepare it; `start` starts it.

        Args:
            launch: what to start.
            reports: told what happens.
            load_timeout_s: longest time for loading and warm-up, seconds.
        """
        self.state = ProcessState.STARTING
        self._launch = launch
        self._reports = reports
        self._load_timeout_s: Final = load_timeout_s
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff()
        self._queue: deque[Work] = deque()
        self._link: Link | None = None
        self._starting: asyncio.Task[None] | None = None
        self._watchdog = Watchdog(self._on_silence)
        self._restart: asyncio.TimerHandle | None = None
        self._killed_because: str | None = None
        self._killed_loading = 0
        self.warm_usage = Usage()
        self.batches = 0

    @property
    def pid(self) -> int | None:
        """Process id while one runs."""
        return self._link.child.pid if self._link else None

    def usage(self) -> Usage:
        """What the process takes now; zeros while there is none."""
        return usage_of(self._link.child.pid) if self._link else Usage()

    @property
    def holds(self) -> int:
        """Batches that are not finished."""
        return len(self._queue)

    def start(self) -> None:
        """Start the process; `warm` or `failed` follows."""
        self.state = ProcessState.STARTING
        self._starting = self._loop.create_task(self._start())

    def submit(self, work: Work) -> None:
        """Compute a batch after those that were submitted before."""
        self._queue.append(work)
        if self.state is not ProcessState.WARM:
            return
        head = self._queue[0]
        if head.singles is None:
            self._send(work)
            if head is work:
                self._watch(work)

    async def stop(self) -> None:
        """End the process at once; batches that are not finished get no answer."""
        self.state = ProcessState.STOPPED
        self._queue.clear()
        self._watchdog.stop()
        if self._restart is not None:
            self._restart.cancel()
        if self._starting is not None:
            # Not cancelled: half a connection could not be closed, and a whole one is made in no time.
            await asyncio.gather(self._starting, return_exceptions=True)
        if self._link is not None:
            self._link.kill()
            await asyncio.shield(self._link.ended)

    # --- start -------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        if self.state is ProcessState.STOPPED:
            return
        try:
            self._link = Link(self._launch, self._on_frame, self._on_end)
            self._watchdog.expect(self._load_timeout_s)
            await self._link.connect()
        except OSError as error:
            self._fail(f"the model process cannot be started: {error.strerror or error}")

    def _on_loaded(self, loaded: frames.Loaded) -> None:
        if self.state is ProcessState.WARM:  # a sign of life between the calls of one batch
            if self._queue:
                self._watch(self._queue[0])
            return
        if loaded.code:
            self._killed_because = loaded.message
            return  # it ends now by itself; the timer sees to it otherwise
        self._watchdog.rest()
        self.state = ProcessState.WARM
        self._killed_loading = 0
        self.warm_usage, self.batches = self.usage(), 0
        _log.info("model_process_warm", extra={"model": str(self._launch.tag), "pid": self.pid})
        # First what waits already: who hears that it is warm may submit at once.
        self._send_from_head()
        if not self._queue or self._queue[0].singles is None:
            self._reports.warm(self)

    def _fail(self, reason: str) -> None:
        self.state = ProcessState.STOPPED
        self._watchdog.rest()
        while self._queue:
            work = self._queue[0]
            left = work.unanswered()
            if left:
                self._settle(work, work.fault(left, ModelLoadFailed.code, reason))
            self._reports.finished(self._queue.popleft())
        self._reports.failed(self, reason)

    # --- batches -----------------------------------------------------------------------------------------------------

    def _send(self, work: Work) -> None:
        if self._link is not None:
            hurry = len(work.batch.ids) <= FEW_ENTRIES
            self._link.send(work.arrived_us, work.message(), hurry=hurry)

    def _send_from_head(self) -> None:
        """Give a process that is idle its work: everything, or one single entry of a suspected batch."""
        if not self._queue:
            self._watchdog.rest()
            return
        self._watch(self._queue[0])
        if self._queue[0].singles is not None:
            self._send(self._queue[0])
            return
        for work in self._queue:
            self._send(work)

    def _on_frame(self, stamp_us: int, frame: frames.Frame) -> None:
        if isinstance(frame, frames.Loaded):
            self._on_loaded(frame)
            return
        if not isinstance(frame, (frames.Result, frames.Fault)) or not self._queue:
            raise BadFrame(f"a model process sent an unexpected {type(frame).__name__}")
        work = self._queue[0]
        if frame.batch_id != work.batch.batch_id or max(frame.index) >= len(work.batch.ids):
            raise BadFrame("a model process answered what it was not asked")
        if isinstance(frame, frames.Result):
            self._backoff.succeeded()
        work.started_us = stamp_us
        self._settle(work, work.place(frame))
        if not frame.last:
            self._watch(work)
        elif work.singles is None:
            self._finish()
        else:
            work.singles.popleft()
            if work.singles:
                self._send_from_head()
            else:
                self._finish()

    def _settle(self, work: Work, answer: Answer) -> None:
        work.compute_us = max(work.compute_us, answer.compute_us)
        if not answer.last or work.answered or work.singles is not None:
            work.note(answer.index)
        self._reports.answered(work, answer)

    def _finish(self) -> None:
        """The head is through. The process gets on with the next before anybody hears of it and submits more."""
        work = self._queue.popleft()
        self.batches += 1
        if self.state is ProcessState.WARM:
            if work.singles is not None:
                self._send_from_head()
            elif self._queue:
                self._watch(self._queue[0])
            else:
                self._watchdog.rest()
        self._reports.finished(work)
        # A process that runs a suspected batch may not live long: only now it counts as warm.
        if work.singles is not None and self.state is ProcessState.WARM:
            self._reports.warm(self)

    # --- ends --------------------------------------------------------------------------------------------------------

    def _on_end(self, status: int) -> None:
        self._link = None
        self._watchdog.rest()
        reason, self._killed_because = self._killed_because, None
        was, how = self.state, describe_exit(status)
        if was is ProcessState.STOPPED:
            return
        if was is ProcessState.STARTING:
            if status == -signal.SIGKILL and reason is None and self._killed_loading < MAX_KILLED_LOADING:
                self._killed_loading += 1
                self.start()
            else:
                self._fail(reason or f"the model process ended while loading: {how}")
            return
        self.state = ProcessState.WAITING
        _log.error("model_process_lost", extra={"model": str(self._launch.tag), "how": reason or how})
        self._reports.lost(self, reason or how)
        if self._queue:
            self._suspect(self._queue[0], how, hung=reason is not None)
        delay_s = self._backoff.crashed(self._loop.time())
        if delay_s:
            self._give_up_unbegun()
            _log.warning(
                "model_process_backs_off", extra={"model": str(self._launch.tag), "delay_s": delay_s}
            )
        self._restart = self._loop.call_later(delay_s, self._start_again)

    def _start_again(self) -> None:
        self._restart = None
        if self.state is ProcessState.WAITING:
            self.start()

    def _suspect(self, work: Work, how: str, *, hung: bool) -> None:
        """Decide what becomes of the batch during which the process ended."""
        first_time = work.singles is None
        if work.singles is None:
            work.singles = deque(work.unanswered())
        # What hung alone would hang again; what crashed alone may have met an accident, so it gets one more try.
        if work.singles and (not first_time or (hung and len(work.singles) == 1)):
            i = work.singles.popleft()
            if hung:
                code, message = (
                    ModelTimeout.code,
                    f"the model did not return within {work.batch.hang_us / 1e6:g} s",
                )
            else:
                code, message = (
                    ModelCrashed.code,
                    f"the model's process ended ({how}) while it computed this request",
                )
            self._settle(work, work.fault([i], code, message))
        if not work.singles:
            self._finish()

    def _give_up_unbegun(self) -> None:
        """The next start is some time away: batches that had not begun go back."""
        unbegun = [work for work in self._queue if work.singles is None]
        for work in unbegun:
            self._queue.remove(work)
            self._reports.refused(work)

    # --- hangs -------------------------------------------------------------------------------------------------------

    def _watch(self, work: Work) -> None:
        self._watchdog.expect(work.batch.hang_us / 1e6)

    def _on_silence(self) -> None:
        if self._link is not None:
            self._killed_because = (
                "took too long to load"
                if self.state is ProcessState.STARTING
                else "took too long to compute a batch"
            )
            self._link.kill()
