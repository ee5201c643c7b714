"""Client, batcher and runner together, on both buses: every caller gets its own answer, whatever a process does."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.buses import BusWorld
from support.runner_models import EXIT, RAISE, save, trouble
from support.waiting import eventually
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._inference.client import InferenceClient
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings

pytestmark = pytest.mark.slow


class Stack:
    """One client, one batcher, some runners."""

    def __init__(self, client: InferenceClient, runners: list[RunnerApp]) -> None:
        self.client = client
        self.runners = runners

    async def call(self, model: Model, first: float, timeout_s: float = 30.0) -> Any:
        """The doubled first value, or the code of the error."""
        entry = CatalogEntry.of(model.info, model.digest)
        x = np.array([[first, 1.0]])
        outcome = await self.client.call(entry, "predict", [x], {}, timeout_s=timeout_s)
        if outcome.error is not None:
            print(f"{first}: {outcome.error.code}: {outcome.error.message}")  # shown when a test fails
            return outcome.error.code
        return outcome.value()[0, 0] / 2

    def pids(self) -> list[int]:
        return [f.pid for runner in self.runners for f in runner._models.figures() if f.pid]


@asynccontextmanager
async def stack(world: BusWorld, runners: int = 1, **settings: Any) -> AsyncIterator[Stack]:
    apps: list[Any] = []
    client = InferenceClient(await world.bus())
    batcher = BatcherApp(await world.bus(), BatcherSettings())
    for _ in range(runners):
        bus = await world.bus()
        apps.append(RunnerApp(bus, LocalSource(LocalStore()), RunnerSettings(**settings)))
    try:
        await client.start()
        await batcher.start()
        for app in apps:
            await app.start()
        await eventually(lambda: client.ready)
        yield Stack(client, apps)
    finally:
        await client.close()
        await batcher.close()
        for app in apps:
            await app.close()


@pytest.fixture(params=["inprocess", "nats-uvloop"])
def on_bus(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    def run(scenario: Callable[[Stack], Awaitable[None]], **options: Any) -> None:
        async def main(world: BusWorld) -> None:
            async with stack(world, **options) as made:
                await scenario(made)

        BusWorld(request.param, tmp_path).run(main)

    return run


def test_every_caller_gets_its_answer_while_requests_raise_and_crash(on_bus, tmp_path):
    model = save("trouble", trouble(tmp_path))
    chance = random.Random(20_260)
    firsts = [chance.choice([float(i)] * 30 + [RAISE, RAISE]) for i in range(600)]
    firsts[200] = firsts[400] = EXIT

    async def scenario(made: Stack) -> None:
        gate = asyncio.Semaphore(64)

        async def one(first: float) -> Any:
            async with gate:
                return await made.call(model, first)

        answers = await asyncio.gather(*(one(first) for first in firsts))
        expected = [{RAISE: "model_failed", EXIT: "model_crashed"}.get(first, first) for first in firsts]
        assert answers == expected
        (runner,) = made.runners
        assert 2 <= sum(runner.counters.restarts.values()) <= 4
        assert runner.counters.entries > runner.counters.batches

    on_bus(scenario)


def test_killing_model_processes_under_load_fails_nobody(on_bus, tmp_path):
    model = save("trouble", trouble(tmp_path))

    async def scenario(made: Stack) -> None:
        await made.call(model, 1.0)
        answers: list[tuple[float, Any]] = []
        stopped = asyncio.Event()

        async def caller(number: int) -> None:
            count = 0
            while not stopped.is_set():
                first = float((number + 1) * 10_000 + count)
                answers.append((first, await made.call(model, first)))
                count += 1

        async def more_answers() -> None:
            # A process that starts again imports numpy first: seconds, on a machine that is busy with other things.
            seen = len(answers)
            await eventually(lambda: len(answers) > seen + 50, within_s=30.0)

        async def killer() -> None:
            try:
                for _ in range(3):
                    await more_answers()
                    for pid in made.pids():
                        os.kill(pid, signal.SIGKILL)
                await more_answers()
            finally:
                stopped.set()

        await asyncio.gather(killer(), *(caller(number) for number in range(16)))
        assert [(first, answer) for first, answer in answers if first != answer] == []

    on_bus(scenario)


def test_replicas_work_at_the_same_time(on_bus):
    class Slow:
        def predict(self, x: Any) -> Any:
            import os
            import time

            started = time.monotonic()
            time.sleep(0.4)
            return np.array([[started, time.monotonic(), float(os.getpid())]])

    model = save("slow", Slow(), options={"replicas": 2}, signatures={"predict": {"batchable": False}})
    entry = CatalogEntry.of(model.info, model.digest)

    async def scenario(made: Stack) -> None:
        async def call() -> Any:
            outcome = await made.client.call(entry, "predict", [np.zeros((1, 1))], {}, timeout_s=30)
            assert outcome.error is None, outcome.error
            return outcome.value()[0]

        await call()
        await eventually(lambda: all(f.warm for f in made.runners[0]._models.figures()))
        one, other = sorted(await asyncio.gather(call(), call()), key=lambda spell: spell[0])
        assert other[0] < one[1]
        assert one[2] != other[2]

    on_bus(scenario)


def test_a_draining_runner_hands_over_without_losing_a_request(on_bus, tmp_path):
    model = save("trouble", trouble(tmp_path))

    async def scenario(made: Stack) -> None:
        await made.call(model, 1.0)
        (first,) = [runner for runner in made.runners if list(runner._models.figures())]
        (second,) = [runner for runner in made.runners if runner is not first]
        answers: list[tuple[float, Any]] = []
        stopped = asyncio.Event()

        async def caller(number: int) -> None:
            count = 0
            while not stopped.is_set():
                value = float((number + 1) * 10_000 + count)
                answers.append((value, await made.call(model, value)))
                count += 1

        callers = [asyncio.create_task(caller(number)) for number in range(16)]
        await eventually(lambda: len(answers) > 100)
        await first.drain()
        await first.close()
        await eventually(lambda: second.counters.batches > 20)
        stopped.set()
        await asyncio.gather(*callers)
        assert [(value, answer) for value, answer in answers if value != answer] == []

    on_bus(scenario, runners=2)


def test_a_model_that_does_not_fit_in_memory_is_swapped_and_still_right(on_bus, tmp_path):
    models = [save(name, trouble(tmp_path)) for name in ("one", "two", "three")]

    async def scenario(made: Stack) -> None:
        for turn in range(2):
            for i, model in enumerate(models):
                assert await made.call(model, 10.0 * turn + i) == 10.0 * turn + i
        assert len(made.pids()) < 3

    # Processes of some 47 MB: two fit, three never do, be their size guessed before they are there or measured since.
    on_bus(scenario, memory_limit_bytes=120 << 20)
