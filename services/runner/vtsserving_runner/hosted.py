"""One model on this runner: its processes, who owns their credits, and what their batcher hears of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from vtsserving.exceptions import ModelLoadFailed, VtsServingException
from vtsserving.wire import frames
from vtsserving.wire.limits import REPLICA_BITS
from vtsserving_runner.credits import Credits
from vtsserving_runner.launch import Launch
from vtsserving_runner.metrics import Counters, ProcessFigures
from vtsserving_runner.outlet import ModelId, Outlet
from vtsserving_runner.process import Answer, ModelProcess, State
from vtsserving_runner.work import Work

_log = logging.getLogger(__name__)

MAX_REPLICAS: Final = 1 << REPLICA_BITS


class Replica:
    """One of a model's processes with its credits; implements process.Reports."""

    def __init__(self, model: HostedModel, number: int, launch: Launch, load_timeout_s: float) -> None:
        """Number `number` of `model`."""
        self.credits = Credits()
        self.number = number
        self.process = ModelProcess(launch, self, load_timeout_s=load_timeout_s)
        self._model = model

    def grant(self, *, afresh: bool) -> None:
        """Tell the owner which credits are free; `afresh` under a new epoch."""
        model = self._model
        if not model.owner or self.process.state is not State.WARM:
            return
        if afresh or self.credits.owner != model.owner:
            self.revoke()
            self.credits.open(model.owner, model.next_epoch() << REPLICA_BITS | self.number)
        model.outlet.event(
            model.owner, "credit", model.id, epoch=self.credits.epoch, credits=self.credits.free()
        )

    def revoke(self) -> None:
        """Void the credits and say so; batches that were taken are still answered."""
        owner, epoch = self.credits.owner, self.credits.epoch
        if owner:
            self.credits.close()
            self._model.outlet.event(owner, "gone", self._model.id, epoch=epoch)

    # --- process.Reports -------------------------------------------------------------------------------------------

    def answered(self, work: Work, answer: Answer) -> None:
        """Pass answers on to the gateways."""
        if isinstance(answer, frames.Fault):
            self._model.counters.faults[answer.code] += len(answer.index)
        self._model.outlet.answer(work, answer)

    def finished(self, work: Work) -> None:
        """Renew the credit of a batch."""
        self._model.finished(work)
        self._done(work, self.credits.give_back(work.batch))

    def refused(self, work: Work) -> None:
        """Give a batch back that was not begun."""
        self._model.wake()
        self._model.outlet.event(
            work.batch.batcher,
            "nack",
            self._model.id,
            epoch=work.batch.epoch,
            batch_id=work.batch.batch_id,
            code="model_restarting",
        )

    def warm(self, process: ModelProcess) -> None:
        """Grant credits to who owns the model."""
        self.grant(afresh=True)
        self._model.changed(self)

    def lost(self, process: ModelProcess, reason: str) -> None:
        """Void the credits until the next process is warm."""
        self._model.counters.restarts[str(self._model.id)] += 1
        self.revoke()
        self._model.changed(self)

    def failed(self, process: ModelProcess, reason: str) -> None:
        """The model does not load any more."""
        self._model.fail(ModelLoadFailed(f"{self._model.id}: {reason}"))

    def _done(self, work: Work, credits: list[int]) -> None:
        self._model.outlet.event(
            work.batch.batcher,
            "done",
            self._model.id,
            epoch=work.batch.epoch,
            credits=credits,
            batch_id=work.batch.batch_id,
            compute_us=work.compute_us,
        )


class HostedModel:
    """One version of a model with one or more processes.

    Attributes:
        id: name, version, digest.
        owner: the batcher that sends batches; empty while none asked.
        loaded: done when all processes are warm, or with ModelLoadFailed.
        used_s: loop time of the last batch that ended.
    """

    def __init__(
        self,
        id: ModelId,
        outlet: Outlet,
        counters: Counters,
        next_epoch: Callable[[], int],
        on_change: Callable[[HostedModel, VtsServingException | None], None],
    ) -> None:
        """Describe a model that is not loaded yet.

        Args:
            id: name, version, digest.
            outlet: where events and answers go.
            counters: what is counted.
            next_epoch: gives numbers that only grow.
            on_change: called with (model, None) when it becomes warm or ceases to be, (model, error) when it failed.
        """
        self.id = id
        self.owner = ""
        self.outlet = outlet
        self.counters = counters
        self.next_epoch = next_epoch
        self.replicas: list[Replica] = []
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self.loaded: asyncio.Future[None] = self._loop.create_future()
        self.used_s = self._loop.time()
        self._was_warm = False
        self._idle: asyncio.Future[None] | None = None

    @property
    def warm(self) -> bool:
        """Whether it computes batches now."""
        return any(replica.process.state is State.WARM for replica in self.replicas)

    @property
    def busy(self) -> bool:
        """Whether it holds batches that are not finished."""
        return any(replica.process.holds for replica in self.replicas)

    @property
    def rss_bytes(self) -> int:
        """Memory of all its processes, in bytes."""
        return sum(replica.process.rss_bytes for replica in self.replicas)

    def start(self, launches: list[Launch], load_timeout_s: float) -> None:
        """Start one process per launch."""
        self.replicas = [Replica(self, i, launch, load_timeout_s) for i, launch in enumerate(launches)]
        for replica in self.replicas:
            replica.process.start()

    def give_to(self, batcher: str) -> None:
        """Make `batcher` the owner: a new one gets all credits under a new epoch, the same one what is free."""
        if self.owner and self.owner != batcher:
            _log.info("taken_over", extra={"model": str(self.id), "batcher": batcher})
        self.owner = batcher
        for replica in self.replicas:
            replica.grant(afresh=False)

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

    def finished(self, work: Work) -> None:
        """Count a batch that ended."""
        counters = self.counters
        counters.batches += 1
        counters.entries += len(work.batch.ids)
        counters.rows += sum(work.batch.rows)
        counters.compute_us += work.compute_us
        self.used_s = self._loop.time()
        self.wake()

    def wake(self) -> None:
        """Let those who wait for `idle` look again."""
        if self._idle is not None and not self.busy:
            self._idle.set_result(None)
            self._idle = None

    def changed(self, replica: Replica) -> None:
        """A process became warm, or ceased to be."""
        if not self.loaded.done() and all(r.process.state is State.WARM for r in self.replicas):
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
            self._idle = self._idle or self._loop.create_future()
            await asyncio.shield(self._idle)

    async def stop(self) -> None:
        """End all processes at once."""
        await asyncio.gather(*(replica.process.stop() for replica in self.replicas))

    def figures(self) -> Iterator[ProcessFigures]:
        """Its processes, for the metrics."""
        for replica in self.replicas:
            process = replica.process
            yield ProcessFigures(
                str(self.id),
                replica.number,
                process.pid or 0,
                process.rss_bytes,
                process.holds,
                process.state is State.WARM,
            )
