"""One model on this runner: its processes, who owns their credits, and what their batcher hears of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from vtsserving import _clock
from vtsserving._wire import frames
from vtsserving._wire.limits import REPLICA_BITS
from vtsserving._wire.model_reports import ModelReport
from vtsserving.exceptions import ModelLoadFailed, VtsServingException
from vtsserving_runner.metrics import ProcessFigures, RunnerCounters
from vtsserving_runner.models.replica import Replica
from vtsserving_runner.process.launch import Launch
from vtsserving_runner.process.process import ModelProcess, ProcessState
from vtsserving_runner.process.usage import Allowance
from vtsserving_runner.publish.publisher import ModelId, Publisher

_log = logging.getLogger(__name__)

MAX_REPLICAS: Final = 1 << REPLICA_BITS

REPLACE_AGAIN_S: Final = 60.0
"""When it is tried again to replace a process whose successor could not be loaded."""


class LoadedModel:
    """One version of a model with one or more processes; implements replica.ReplicaObserver.

    Attributes:
        id: name, version, digest.
        owner: the batcher that sends batches; empty while none asked.
        loaded: done when all processes are warm, or with ModelLoadFailed.
        used_s: when the last batch ended, on the monotonic clock. A loop's own time is too coarse to order models by:
            uvloop counts whole milliseconds and looks once per turn, and several models may be used within one.
    """

    def __init__(
        self,
        id: ModelId,
        publisher: Publisher,
        counters: RunnerCounters,
        next_epoch: Callable[[], int],
        on_change: Callable[[LoadedModel, VtsServingException | None], None],
    ) -> None:
        """Describe a model that is not loaded yet.

        Args:
            id: name, version, digest.
            publisher: where events and answers go.
            counters: what is counted.
            next_epoch: gives numbers that only grow.
            on_change: called with (model, None) when it becomes warm or ceases to be, (model, error) when it failed.
        """
        self.id = id
        self.owner = ""
        self.replicas: list[Replica] = []
        self._publisher = publisher
        self._counters = counters
        self._next_epoch = next_epoch
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self.loaded: asyncio.Future[None] = self._loop.create_future()
        self.used_s = _clock.monotonic_s()
        self._was_warm = False
        self._idle: asyncio.Future[None] | None = None
        self._load_timeout_s = 0.0
        self._launches: list[Launch] = []
        self._successors: dict[int, Replica] = {}
        self._retiring: set[Replica] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._replace_again_s = 0.0

    @property
    def warm(self) -> bool:
        """Whether it computes batches now."""
        return any(replica.process.state is ProcessState.WARM for replica in self.replicas)

    @property
    def busy(self) -> bool:
        """Whether it holds batches that are not finished."""
        return any(replica.process.holds for replica in (*self.replicas, *self._retiring))

    @property
    def rss_bytes(self) -> int:
        """Memory of all its processes, in bytes."""
        return sum(replica.process.usage().rss_bytes for replica in self.replicas)

    def start(self, launches: list[Launch], load_timeout_s: float) -> None:
        """Start one process per launch."""
        self._launches = launches
        self._load_timeout_s = load_timeout_s
        self.replicas = [self._replica(number) for number in range(len(launches))]
        for replica in self.replicas:
            replica.process.start()

    def _replica(self, number: int) -> Replica:
        return Replica(
            self.id,
            number,
            self._launches[number],
            self,
            publisher=self._publisher,
            counters=self._counters,
            next_epoch=self._next_epoch,
            load_timeout_s=self._load_timeout_s,
        )

    # --- replacing ---------------------------------------------------------------------------------------------------

    def replace_exceeding(self, allowance: Allowance) -> None:
        """Replace processes that have gone too far, by ones that are warm before they leave."""
        if self._loop.time() < self._replace_again_s:
            return
        for replica in self.replicas:
            process = replica.process
            if process.state is not ProcessState.WARM or replica.number in self._successors:
                continue
            reason = allowance.exceeded(process.warm_usage, process.usage(), process.batches)
            if reason:
                _log.info("process_replaced", extra={"model": str(self.id), "reason": reason})
                successor = self._successors[replica.number] = self._replica(replica.number)
                successor.process.start()

    def _succeed(self, new: Replica) -> None:
        """A successor is warm: the old process gets nothing new, finishes what it has, and ends."""
        del self._successors[new.number]
        old, self.replicas[new.number] = self.replicas[new.number], new
        self._retiring.add(old)
        old.retire()
        task = self._loop.create_task(self._retire(old))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _keep_old(self, new: Replica, reason: str) -> None:
        """A successor could not be loaded: the old process goes on, and is looked at again later."""
        _log.warning("process_not_replaced", extra={"model": str(self.id), "reason": reason})
        del self._successors[new.number]
        self._replace_again_s = self._loop.time() + REPLACE_AGAIN_S

    async def _retire(self, old: Replica) -> None:
        while old.process.holds:
            await self._look_again()
        await old.process.stop()
        self._retiring.discard(old)
        self._wake()

    # --- batches -----------------------------------------------------------------------------------------------------

    def give_to(self, batcher: str, ask: int) -> None:
        """Make `batcher` the owner: a new one gets all credits under a new epoch, the same one what is free.

        Args:
            batcher: its id.
            ask: number of its question, which the grants answer.
        """
        if self.owner and self.owner != batcher:
            _log.info("taken_over", extra={"model": str(self.id), "batcher": batcher})
        self.owner = batcher
        for replica in self.replicas:
            replica.grant(batcher, afresh=False, ask=ask)

    def take(self, batch: frames.Batch) -> ModelProcess | None:
        """The process for a batch, whose credit is used from now on; None when it is not valid.

        Raises:
            Duplicate: the batch was taken already.
        """
        number = batch.epoch & (MAX_REPLICAS - 1)
        if number < len(self.replicas) and self.replicas[number].credits.take(batch):
            return self.replicas[number].process
        return None

    def revoke(self) -> None:
        """Void all credits; what was taken is still answered."""
        self.owner = ""
        for replica in self.replicas:
            replica.revoke()

    # --- replica.ReplicaObserver -------------------------------------------------------------------------------------

    def became_warm(self, replica: Replica) -> None:
        """Grant credits to the owner; a successor takes the place of the replica before it."""
        if self._is_successor(replica):
            self._succeed(replica)
        replica.grant(self.owner, afresh=True)
        self._changed()

    def lost(self, replica: Replica) -> None:
        """See whether the model ceased to be warm."""
        self._changed()

    def failed(self, replica: Replica, reason: str) -> None:
        """Fail as a whole, unless the replica is one that the model can do without."""
        if self._is_successor(replica):
            self._keep_old(replica, reason)
        elif not replica.is_retired:
            self.fail(ModelLoadFailed.of(self.id, reason))

    def finished(self, replica: Replica) -> None:
        """Note that the model was used."""
        self.used_s = _clock.monotonic_s()
        self._wake()

    def refused(self, replica: Replica) -> None:
        """See whether the replica still holds batches."""
        self._wake()

    def _is_successor(self, replica: Replica) -> bool:
        return self._successors.get(replica.number) is replica

    # --- life --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Let those who wait for batches to end look again."""
        if self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    def _changed(self) -> None:
        """A process became warm, or ceased to be."""
        if not self.loaded.done() and all(r.process.state is ProcessState.WARM for r in self.replicas):
            self.loaded.set_result(None)
        if self.warm is not self._was_warm:
            self._was_warm = self.warm
            self._on_change(self, None)

    def fail(self, error: VtsServingException) -> None:
        """The model could not be loaded, or a process of it: the others are of no use either."""
        if not self.loaded.done():
            self.loaded.set_exception(error)
            self.loaded.exception()  # whoever waits sees it; without anybody it is no mistake
        self._on_change(self, error)

    async def idle(self) -> None:
        """Return when no batch is held."""
        while self.busy:
            await self._look_again()

    async def _look_again(self) -> None:
        """Return when a batch has ended."""
        self._idle = self._idle or self._loop.create_future()
        await asyncio.shield(self._idle)

    async def stop(self) -> None:
        """End all processes at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        replicas = (*self.replicas, *self._successors.values(), *self._retiring)
        await asyncio.gather(*(replica.process.stop() for replica in replicas))

    def report(self) -> ModelReport:
        """What its runner's heartbeat says of it."""
        warm = sum(replica.process.state is ProcessState.WARM for replica in self.replicas)
        held = sum(replica.process.holds for replica in self.replicas)
        return ModelReport(
            str(self.id), "ready" if warm else "loading", replicas=warm, counters={"batches_held": held}
        )

    def figures(self) -> Iterator[ProcessFigures]:
        """Its processes, for the metrics."""
        for replica in self.replicas:
            process = replica.process
            yield ProcessFigures(
                str(self.id),
                replica.number,
                process.pid or 0,
                process.usage().rss_bytes,
                process.holds,
                process.state is ProcessState.WARM,
            )
