"""One process of a model as its batcher knows it: credits under an epoch, and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtsserving._wire import frames
from vtsserving._wire.limits import REPLICA_BITS
from vtsserving.exceptions import ModelLoadFailed
from vtsserving_runner.models.credits import Credits
from vtsserving_runner.process.launch import Launch
from vtsserving_runner.process.process import Answer, ModelProcess, ProcessState
from vtsserving_runner.process.work import Work

if TYPE_CHECKING:
    from vtsserving_runner.models.loaded_model import LoadedModel


class Replica:
    """One of a model's processes with its credits; implements process.Reports."""

    def __init__(
        self,
        model: LoadedModel,
        number: int,
        launch: Launch,
        load_timeout_s: float,
        replaces: Replica | None = None,
    ) -> None:
        """Number `number` of `model`; `replaces` works until this one is warm."""
        self.credits = Credits()
        self.number = number
        self.process = ModelProcess(launch, self, load_timeout_s=load_timeout_s)
        self._model = model
        self._replaces = replaces
        self.is_retired = False

    def grant(self, *, afresh: bool) -> None:
        """Tell the owner which credits are free; `afresh` under a new epoch."""
        model = self._model
        if not model.owner or self.is_retired or self.process.state is not ProcessState.WARM:
            return
        if afresh or self.credits.owner != model.owner:
            self.revoke()
            self.credits.open(model.owner, model.next_epoch() << REPLICA_BITS | self.number)
        model.publisher.event(
            model.owner, "credit", model.id, epoch=self.credits.epoch, credits=self.credits.free()
        )

    def revoke(self) -> None:
        """Void the credits and say so; batches that were taken are still answered."""
        owner, epoch = self.credits.owner, self.credits.epoch
        if owner:
            self.credits.close()
            self._model.publisher.event(owner, "gone", self._model.id, epoch=epoch)

    # --- process.Reports -------------------------------------------------------------------------------------------

    def answered(self, work: Work, answer: Answer) -> None:
        """Pass answers on to the gateways."""
        if isinstance(answer, frames.Fault):
            self._model.counters.faults[answer.code] += len(answer.index)
        self._model.publisher.answer(work, answer)

    def finished(self, work: Work) -> None:
        """Renew the credit of a batch."""
        self._model.finished(work)
        self._done(work, self.credits.give_back(work.batch))

    def refused(self, work: Work) -> None:
        """Give a batch back that was not begun."""
        self._model.wake()
        self._model.publisher.event(
            work.batch.batcher,
            "nack",
            self._model.id,
            epoch=work.batch.epoch,
            batch_id=work.batch.batch_id,
            code="model_restarting",
        )

    def warm(self, process: ModelProcess) -> None:
        """Grant credits to who owns the model."""
        if self._replaces is not None:
            old, self._replaces = self._replaces, None
            self._model.succeeded(old, self)
        self.grant(afresh=True)
        self._model.changed(self)

    def lost(self, process: ModelProcess, reason: str) -> None:
        """Void the credits until the next process is warm."""
        self._model.counters.restarts[str(self._model.id)] += 1
        self.revoke()
        self._model.changed(self)

    def failed(self, process: ModelProcess, reason: str) -> None:
        """The model does not load any more."""
        if self._replaces is not None:
            self._model.not_succeeded(self, reason)
        elif not self.is_retired:
            self._model.fail(ModelLoadFailed.of(self._model.id, reason))

    def _done(self, work: Work, credits: list[int]) -> None:
        self._model.publisher.event(
            work.batch.batcher,
            "done",
            self._model.id,
            epoch=work.batch.epoch,
            credits=credits,
            batch_id=work.batch.batch_id,
            compute_us=work.compute_us,
        )
