"""One process of a model as its batcher knows it: credits under an epoch, and events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vtsserving._wire import frames
from vtsserving._wire.limits import REPLICA_BITS
from vtsserving_runner.metrics import RunnerCounters
from vtsserving_runner.models.credits import Credits
from vtsserving_runner.process.launch import Launch
from vtsserving_runner.process.process import Answer, ModelProcess, ProcessState
from vtsserving_runner.process.work import Work
from vtsserving_runner.publish.publisher import ModelId, Publisher


class ReplicaObserver(Protocol):
    """Receives what happens to a replica; each call is synchronous and must not raise."""

    def became_warm(self, replica: Replica) -> None:
        """The process takes batches now; after each start. Credits are granted by whoever observes."""

    def lost(self, replica: Replica) -> None:
        """The process ended by itself; its credits are void, and it is being started again."""

    def failed(self, replica: Replica, reason: str) -> None:
        """The model cannot be loaded; the replica is of no more use."""

    def finished(self, replica: Replica) -> None:
        """All entries of a batch have their answer."""

    def refused(self, replica: Replica) -> None:
        """A batch went back without being begun."""


class Replica:
    """One of a model's processes with its credits; implements process.Reports.

    Attributes:
        number: which of the model's processes it is; the lowest bits of its epochs.
        credits: those of its process.
        process: the process itself.
        is_retired: whether it gets no new batches, because another replica took its number.
    """

    def __init__(
        self,
        id: ModelId,
        number: int,
        launch: Launch,
        observer: ReplicaObserver,
        *,
        publisher: Publisher,
        counters: RunnerCounters,
        next_epoch: Callable[[], int],
        load_timeout_s: float,
    ) -> None:
        """Prepare it; `process.start` starts it.

        Args:
            id: of the model.
            number: which of the model's processes it is.
            launch: what to start.
            observer: receives what happens.
            publisher: where events and answers go.
            counters: what is counted.
            next_epoch: gives numbers that only grow.
            load_timeout_s: longest time for loading and warm-up, seconds.
        """
        self.number = number
        self.credits = Credits()
        self.process = ModelProcess(launch, self, load_timeout_s=load_timeout_s)
        self.is_retired = False
        self._id = id
        self._observer = observer
        self._publisher = publisher
        self._counters = counters
        self._next_epoch = next_epoch

    def grant(self, owner: str, *, afresh: bool, ask: int = 0) -> None:
        """Send the batcher `owner` the credits that are free, `afresh` under a new epoch, as the answer to `ask`.

        Nothing is sent while nobody owns the model, or while the process takes no batches.
        """
        if not owner or self.is_retired or self.process.state is not ProcessState.WARM:
            return
        if afresh or self.credits.owner != owner:
            self.revoke()
            self.credits.open(owner, self._next_epoch() << REPLICA_BITS | self.number)
        self._publisher.event(
            owner, "credit", self._id, epoch=self.credits.epoch, credits=self.credits.free(), ask=ask
        )

    def revoke(self) -> None:
        """Void the credits and say so; batches that were taken are still answered."""
        owner, epoch = self.credits.owner, self.credits.epoch
        if owner:
            self.credits.close()
            self._publisher.event(owner, "gone", self._id, epoch=epoch)

    def retire(self) -> None:
        """Take nothing new from now on; batches that were taken are still answered."""
        self.is_retired = True
        self.revoke()

    # --- process.Reports -------------------------------------------------------------------------------------------

    def answered(self, work: Work, answer: Answer) -> None:
        """Pass answers on to the gateways."""
        if isinstance(answer, frames.Fault):
            self._counters.faults[answer.code] += len(answer.index)
        self._publisher.answer(work, answer)

    def finished(self, work: Work) -> None:
        """Count a batch, and renew its credit."""
        counters = self._counters
        counters.batches += 1
        counters.entries += len(work.batch.ids)
        counters.rows += sum(work.batch.rows)
        counters.compute_us += work.compute_us
        self._observer.finished(self)
        self._publisher.event(
            work.batch.batcher,
            "done",
            self._id,
            epoch=work.batch.epoch,
            credits=self.credits.give_back(work.batch),
            batch_id=work.batch.batch_id,
            compute_us=work.compute_us,
        )

    def refused(self, work: Work) -> None:
        """Give a batch back that was not begun."""
        self._observer.refused(self)
        self._publisher.event(
            work.batch.batcher,
            "nack",
            self._id,
            epoch=work.batch.epoch,
            batch_id=work.batch.batch_id,
            code="model_restarting",
        )

    def warm(self, process: ModelProcess) -> None:
        """Report that batches are taken."""
        self._observer.became_warm(self)

    def lost(self, process: ModelProcess, reason: str) -> None:
        """Void the credits until the next process is warm."""
        self._counters.restarts[str(self._id)] += 1
        self.revoke()
        self._observer.lost(self)

    def failed(self, process: ModelProcess, reason: str) -> None:
        """Report that the model does not load any more."""
        self._observer.failed(self, reason)
