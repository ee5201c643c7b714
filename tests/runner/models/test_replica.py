"""One real model process with its credits: what it sends to its batcher, and what it reports to its observer."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.replica_observer import RecordingObserver
from support.runner_models import SEGFAULT, save, trouble
from support.scripted_batcher import Error, ScriptedBatcher
from support.waiting import eventually
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._local_store.model import Model
from vtsserving._wire import frames, subjects
from vtsserving._wire.limits import REPLICA_BITS
from vtsserving_runner.metrics import RunnerCounters
from vtsserving_runner.models.replica import Replica
from vtsserving_runner.process.framing import now_us
from vtsserving_runner.process.launch import Launch
from vtsserving_runner.process.work import Work
from vtsserving_runner.publish.publisher import ModelId, Publisher

NUMBER = 3
FIRST_EPOCH = 70
ONE = (np.array([[1.0]]),)


@dataclass
class Rig:
    """One replica, the batcher that it sends to, and everything that was injected into it."""

    model: Model
    batcher: ScriptedBatcher
    observer: RecordingObserver
    counters: RunnerCounters
    replica: Replica

    async def warm(self) -> None:
        self.replica.process.start()
        await self.until("became_warm")

    async def until(self, name: str, count: int = 1) -> None:
        await eventually(lambda: self.observer.seen.count(name) >= count, what=f"{count} {name}")

    async def granted(self, **how: bool) -> frames.Event:
        """The credit event that a grant to the batcher sends."""
        before = len(self.batcher.events)
        self.replica.grant(self.batcher.id, **how)
        return await self.batcher.event("credit", after=before)

    def submit(self, grant: frames.Event, call: tuple[Any, ...]) -> frames.Batch:
        """Take a batch with a granted credit and compute it."""
        batch = self.batcher.frame(self.model, grant, [call])
        assert self.replica.credits.take(batch)
        self.replica.process.submit(self.work(batch))
        return batch

    def work(self, batch: frames.Batch) -> Work:
        return Work(batch, frames.encode(batch), now_us())


@asynccontextmanager
async def rig_of(model: Model) -> AsyncIterator[Rig]:
    bus = InProcessBus(max_payload=1 << 20)
    counters, observer = RunnerCounters(), RecordingObserver()
    replica = Replica(
        ModelId(model.tag.name, str(model.tag.version), model.digest),
        NUMBER,
        Launch(model.tag, model.path),
        observer,
        publisher=Publisher(bus, subjects.new_id(), counters),
        counters=counters,
        next_epoch=itertools.count(FIRST_EPOCH).__next__,
        load_timeout_s=60,
    )
    batcher = await ScriptedBatcher(bus, "runner").start()
    try:
        yield Rig(model, batcher, observer, counters, replica)
    finally:
        await replica.process.stop()
        await bus.close()


def with_replica(model: Model, scenario: Callable[[Rig], Awaitable[None]]) -> None:
    async def main() -> None:
        async with rig_of(model) as rig:
            await scenario(rig)

    asyncio.run(main())


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return save("trouble", trouble(tmp_path))


def test_it_grants_what_is_free_and_a_new_epoch_only_where_one_is_due(model):
    async def scenario(rig):
        rig.replica.grant(rig.batcher.id, afresh=True)
        await rig.warm()
        rig.replica.grant("", afresh=True)
        assert rig.batcher.events == [], "neither before it is warm, nor while nobody owns the model"

        first = await rig.granted(afresh=False)
        assert (first.epoch, first.credits) == (FIRST_EPOCH << REPLICA_BITS | NUMBER, [0, 1])
        rig.replica.credits.take(rig.batcher.frame(model, first, [ONE], credit=1))
        again = await rig.granted(afresh=False)
        assert (again.epoch, again.credits) == (first.epoch, [0])
        fresh = await rig.granted(afresh=True)
        assert (fresh.epoch >> REPLICA_BITS, fresh.credits) == (FIRST_EPOCH + 1, [0, 1])
        assert [event.event for event in rig.batcher.events] == ["credit", "credit", "gone", "credit"]
        assert rig.batcher.events[2].epoch == first.epoch

    with_replica(model, scenario)


def test_another_owner_voids_the_credits_of_the_one_before(model):
    async def scenario(rig):
        await rig.warm()
        first = await rig.granted(afresh=False)
        another = await ScriptedBatcher(rig.batcher.bus, "runner").start()
        rig.replica.grant(another.id, afresh=False)
        credit = await another.event("credit")
        gone = await rig.batcher.event("gone")
        assert gone.epoch == first.epoch != credit.epoch

    with_replica(model, scenario)


def test_a_retired_one_voids_its_credits_and_grants_none(model):
    async def scenario(rig):
        await rig.warm()
        grant = await rig.granted(afresh=True)
        batch = rig.submit(grant, ONE)
        rig.replica.retire()
        rig.replica.grant(rig.batcher.id, afresh=True)
        await rig.until("finished")
        done = await rig.batcher.event("done")
        assert (done.batch_id, done.credits) == (batch.batch_id, [])
        assert rig.batcher.answers[batch.ids[0]].tolist() == [[2.0]]
        assert [event.event for event in rig.batcher.events] == ["credit", "gone", "done"]

    with_replica(model, scenario)


def test_a_batch_is_answered_counted_and_reported_and_its_credit_renewed(model):
    async def scenario(rig):
        await rig.warm()
        batch = rig.submit(await rig.granted(afresh=True), ONE)
        done = await rig.batcher.event("done")
        assert (done.epoch, done.credits, done.batch_id) == (batch.epoch, [0], batch.batch_id)
        assert done.compute_us > 0
        assert rig.batcher.answers[batch.ids[0]].tolist() == [[2.0]]
        assert rig.observer.seen == ["became_warm", "finished"]
        assert rig.observer.holding[-1] == 0, "the batch is let go of before that is reported"
        counters = rig.counters
        assert (counters.batches, counters.entries, counters.rows) == (1, 1, 1)
        assert counters.compute_us == done.compute_us

    with_replica(model, scenario)


def test_a_process_that_ends_takes_its_credits_along_and_is_reported_again_when_it_is_back(model):
    async def scenario(rig):
        await rig.warm()
        grant = await rig.granted(afresh=True)
        os.kill(rig.replica.process.pid, signal.SIGKILL)
        await rig.until("became_warm", 2)
        assert rig.observer.seen == ["became_warm", "lost", "became_warm"]
        assert rig.counters.restarts == {str(model.tag): 1}
        gone = await rig.batcher.event("gone")
        assert gone.epoch == grant.epoch
        assert len(rig.batcher.events) == 2, "credits are for the observer to grant"

    with_replica(model, scenario)


def test_an_error_of_a_request_is_counted_by_its_code(model):
    async def scenario(rig):
        await rig.warm()
        batch = rig.submit(await rig.granted(afresh=True), (np.array([[SEGFAULT]]),))
        await rig.until("finished")
        await rig.batcher.event("done")
        error = rig.batcher.answers[batch.ids[0]]
        assert isinstance(error, Error)
        assert error.code == "model_crashed"
        assert rig.counters.faults == {"model_crashed": 1}

    with_replica(model, scenario)


def test_a_batch_that_was_not_begun_goes_back_to_the_batcher_that_sent_it(model):
    async def scenario(rig):
        await rig.warm()
        batch = rig.batcher.frame(model, await rig.granted(afresh=True), [ONE])
        rig.replica.refused(rig.work(batch))
        nack = await rig.batcher.event("nack")
        assert (nack.batch_id, nack.epoch, nack.code) == (batch.batch_id, batch.epoch, "model_restarting")
        assert rig.observer.seen[-1] == "refused"
        assert rig.counters.batches == 0

    with_replica(model, scenario)


def test_a_model_that_cannot_be_loaded_is_reported_with_its_reason():
    class NeverLoads:
        def __getstate__(self) -> Any:
            return {"some": "state"}

        def __setstate__(self, state: Any) -> None:
            raise RuntimeError("no licence")

        def predict(self, x: Any) -> Any:
            return x

    async def scenario(rig):
        rig.replica.process.start()
        await rig.until("failed")
        assert rig.observer.seen == ["failed"]
        (reason,) = rig.observer.reasons
        assert "no licence" in reason
        assert rig.batcher.events == []

    with_replica(save("never", NeverLoads(), check=False), scenario)
