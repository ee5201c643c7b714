"""What the batcher knows of one model: its queues, the model processes that compute it, and their credits."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from vtsserving._wire.frames import Event, Request
from vtsserving._wire.limits import REPLICA_BITS
from vtsserving_batcher.policy import BatchLimits, Cost
from vtsserving_batcher.queue import Entry, Queue


@dataclass(eq=False)
class InFlight:
    """A batch that was sent and not reported as done."""

    batch_id: int
    model: ModelState
    process: Process
    queue: Queue
    entries: list[Entry]
    rows: int
    credit: int
    sent_s: float
    asks: int
    """How often runners had been asked for credits when it left; see Control.ask."""

    def was_lost(self, grant: Event) -> bool:
        """Whether it left before its runner was asked what the grant answers, and its own credit is free.

        Several questions may be under way at once, and the answer to an earlier one may cross the batch.
        """
        return self.asks < grant.ask and self.credit in grant.credits

    def is_orphan(self, since_s: float) -> bool:
        """Whether its process is gone and nobody has waited for any of it since `since_s`."""
        process = self.process
        return self.model.processes.get((process.runner, process.epoch)) is not process and all(
            entry.deadline_s < since_s for entry in self.entries
        )


@dataclass(eq=False)
class Process:
    """One model process of a runner, under the epoch of its credits."""

    runner: str
    epoch: int
    free: list[int] = field(default_factory=list)
    batches: dict[int, InFlight] = field(default_factory=dict)

    def is_replaced_by(self, grant: Event) -> bool:
        """Whether a grant is for what took this process's place on its runner."""
        is_same_place = not (self.epoch ^ grant.epoch) & ((1 << REPLICA_BITS) - 1)
        return self.runner == grant.runner and is_same_place and self.epoch < grant.epoch

    @property
    def running_rows(self) -> int:
        """Rows sent to the process and not done, at least one per batch; 0 when it is idle."""
        return sum(max(1, batch.rows) for batch in self.batches.values())


@dataclass
class Unloading:
    """A model that is being unloaded.

    Attributes:
        callers: reply subjects that want to know when it is over.
        last_sent_s: when each runner was last told.
        ended: runners that have said that their processes ended.
        over_s: since when it is unloaded; None before.
    """

    callers: set[str] = field(default_factory=set)
    last_sent_s: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    over_s: float | None = None


@dataclass
class ModelRefusal:
    """Why the model cannot be served until `until_s`; it ends what arrived by `arrived_by_s`."""

    code: str
    message: str
    until_s: float
    arrived_by_s: float = math.inf


class LoadFailure(NamedTuple):
    """Why a model could not be loaded, and until when that is worth telling."""

    message: str
    until_s: float


def unloading(model: ModelState) -> str:
    """What those hear who want a model that is leaving."""
    return f"{model.tag} is being unloaded, or was a moment ago; a later request loads it again"


@dataclass(eq=False)
class ModelState:
    """One version of a model."""

    model: str
    version: str
    digest: str
    queues: dict[tuple[str, bytes], Queue] = field(default_factory=dict)
    ready_queues: deque[Queue] = field(default_factory=deque)
    processes: dict[tuple[str, int], Process] = field(default_factory=dict)
    asked_s: dict[str, float] = field(default_factory=dict)
    failed: dict[str, ModelRefusal] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    wake_s: float | None = None
    wanting_s: float | None = None
    """Since when it has no process though something waits."""
    callers: dict[str, float] = field(default_factory=dict)
    """Who ordered it to be loaded and waits for that: reply subject, since when."""
    unloading_state: Unloading | None = None
    failure: LoadFailure | None = None
    """Why it could not be loaded the last time, unless it was since."""
    saturated_s: float | None = None
    """Since when something has waited and no process was idle."""

    @property
    def tag(self) -> str:
        """`name:version`."""
        return f"{self.model}:{self.version}"

    def void_credits(self) -> None:
        """Let its processes get nothing until their runners say again which credits are free.

        A runner may not be back on the bus yet, and a batch that is sent into the void has two attempts only.
        """
        for process in self.processes.values():
            process.free = []

    def queue_for(self, request: Request, room_bytes: int) -> Queue:
        """The queue of the request's method and group, made when it is the first.

        Limits come with each request, so a change of them holds from the next request on.

        Args:
            request: names the method and the group.
            room_bytes: what one message of the bus can hold.
        """
        key = (request.method, request.head)
        # Without a head there is no batch axis: such requests are never merged.
        max_rows = request.max_rows if request.head else 0
        limits = BatchLimits(max_rows, min(request.max_bytes, room_bytes), request.max_wait_us / 1e6)
        queue = self.queues.get(key)
        if queue is None:
            queue = self.queues[key] = Queue(request.method, request.head, limits, request.hang_us)
            self.costs.setdefault(request.method, Cost())
        queue.limits = limits
        queue.hang_us = request.hang_us
        queue.sizes = request.sizes
        return queue

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for it: with a request, or for it to be loaded."""
        return bool(self.waiting_entries or self.callers)

    def wanted_since_s(self, now_s: float) -> float:
        """Since when the first of those waits; `now_s` if nobody does."""
        oldest_s = min((queue.queued().oldest_s for queue in self.waiting()), default=now_s)
        return min(oldest_s, *self.callers.values(), now_s)

    def enqueue_ready(self, queue: Queue) -> None:
        """Give a queue that has entries again its turn, after the others."""
        if queue not in self.ready_queues:
            self.ready_queues.append(queue)

    def waiting(self) -> Iterator[Queue]:
        """Queues with entries, in the order of their turns."""
        return (queue for queue in tuple(self.ready_queues) if len(queue))

    @property
    def waiting_entries(self) -> int:
        """Entries in all queues."""
        return sum(len(queue) for queue in self.ready_queues)

    @property
    def waiting_bytes(self) -> int:
        """Bytes in all queues."""
        return sum(queue.size_bytes for queue in self.ready_queues)

    @property
    def running_rows(self) -> int:
        """Rows in all batches that are not done."""
        return sum(process.running_rows for process in self.processes.values())

    def counters(self) -> dict[str, int]:
        """The numbers that a heartbeat carries of it."""
        in_flight = sum(len(process.batches) for process in self.processes.values())
        return {"waiting": self.waiting_entries, "in_flight": in_flight, "processes": len(self.processes)}

    def is_forgettable(self, now_s: float) -> bool:
        """Whether nothing is known of it that would be missed."""
        has_failed = any(refusal.until_s > now_s for refusal in self.failed.values())
        has_failed = has_failed or (self.failure is not None and self.failure.until_s > now_s)
        return not (self.processes or self.asked_s or has_failed or self.is_wanted or self.unloading_state)

    @property
    def runners(self) -> set[str]:
        """Ids of the runners whose processes compute it."""
        return {process.runner for process in self.processes.values()}

    def idle(self) -> bool:
        """Whether a model process has nothing to do."""
        return any(not process.batches for process in self.processes.values())

    def free_process(self) -> Process | None:
        """The process with a free credit that has least to do; None when all are busy."""
        free = [process for process in self.processes.values() if process.free]
        return min(free, key=lambda process: process.running_rows) if free else None

    def forget_empty_queues(self) -> None:
        """Drop queues without entries, so that callers with ever new groups cannot fill the memory."""
        self.ready_queues = deque(queue for queue in self.ready_queues if len(queue))
        if not self.ready_queues:
            self.queues.clear()
        else:
            self.queues = {key: queue for key, queue in self.queues.items() if len(queue)}
