"""A bad request never fails its neighbours: raises, crashes, hangs and wrong outputs in the middle of a batch."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.runner_models import (
    ABORT,
    DROP_ROW,
    EXIT,
    GATE,
    HANG,
    LEAVE,
    NAN,
    RAISE,
    SEGFAULT,
    calls_of,
    open_gate,
    save,
    trouble,
)
from support.scripted_batcher import Error
from support.supervisor import process_state
from support.waiting import eventually
from vtsserving._local_store.model import Model


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return save("trouble", trouble(tmp_path))


def calls(*firsts: float) -> list[tuple[np.ndarray[Any, Any]]]:
    return [(np.array([[first, 0.5]]),) for first in firsts]


def seen(answers: list[Any]) -> list[Any]:
    """Doubled first values, or error codes."""
    return [a.code if isinstance(a, Error) else a[0, 0] / 2 for a in answers]


def batch_of(size: int, bad: dict[int, float]) -> list[float]:
    return [bad.get(i, float(i)) for i in range(size)]


@pytest.mark.parametrize("position", [0, 1, 15, 31])
def test_one_that_raises_in_32_fails_alone(with_runner, model, tmp_path, position):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        firsts = batch_of(32, {position: RAISE})
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(*firsts)))
        assert seen(answers) == [first if first != RAISE else "model_failed" for first in firsts]
        assert answers[position].message == "ValueError: poison"
        assert rig.app.counters.restarts == {}

    with_runner(scenario)
    assert len(calls_of(tmp_path)) == 11


def test_a_model_that_calls_exit_has_only_raised(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(1.0, LEAVE)))
        assert seen(answers) == [1.0, "model_failed"]
        assert answers[1].message == "SystemExit: 4"
        assert rig.app.counters.restarts == {}

    with_runner(scenario)


@pytest.mark.parametrize("poison", [SEGFAULT, EXIT, ABORT])
@pytest.mark.parametrize("position", [0, 3])
def test_one_that_crashes_the_process_fails_alone(with_runner, model, tmp_path, poison, position):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        firsts = batch_of(4, {position: poison})
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(*firsts)))
        assert seen(answers) == [first if first != poison else "model_crashed" for first in firsts]
        # The batch, then each alone in a fresh process: two crashes.
        assert sum(rig.app.counters.restarts.values()) == 2
        await rig.batcher.until("a second grant", lambda: len(rig.batcher.of("credit")) == 2)
        first, again = rig.batcher.of("credit")
        assert first.epoch < again.epoch
        answers = await rig.batcher.done(rig.batcher.send(model, again, calls(7.0)))
        assert seen(answers) == [7.0]

    with_runner(scenario)
    assert sum(poison in call for call in calls_of(tmp_path)) == 2


def test_each_of_four_crashers_costs_one_process_and_the_batch_one(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        firsts = batch_of(9, {1: EXIT, 3: EXIT, 5: EXIT, 7: EXIT})
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(*firsts)))
        assert seen(answers) == [first if first != EXIT else "model_crashed" for first in firsts]
        assert sum(rig.app.counters.restarts.values()) == 5

    with_runner(scenario)


def test_the_batch_behind_a_crash_is_computed_in_the_next_process(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        bad = rig.batcher.send(model, grant, calls(1.0, EXIT), credit=0)
        behind = rig.batcher.send(model, grant, calls(2.0, 3.0), credit=1)
        assert seen(await rig.batcher.done(bad)) == [1.0, "model_crashed"]
        assert seen(await rig.batcher.done(behind)) == [2.0, 3.0]
        names = [e.event for e in rig.batcher.events]
        assert names.index("gone") < names.index("done")
        assert [e.credits for e in rig.batcher.of("done")] == [[], []]

    with_runner(scenario)


def test_killing_the_process_in_the_middle_of_a_batch_loses_nothing(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        running = rig.batcher.send(model, grant, calls(GATE, 1.0), credit=0)
        behind = rig.batcher.send(model, grant, calls(2.0), credit=1)
        (pid,) = rig.process_ids()
        while not calls_of(tmp_path):
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        await rig.batcher.event("gone")
        open_gate(tmp_path)
        assert seen(await rig.batcher.done(running)) == [GATE, 1.0]
        assert seen(await rig.batcher.done(behind)) == [2.0]
        fresh = (await rig.batcher.load(model)).epoch
        assert fresh > grant.epoch
        assert rig.batcher.answered_twice == []

    with_runner(scenario)


def test_killing_an_idle_process_only_renews_the_epoch(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        before = len(rig.batcher.events)
        os.kill(rig.process_ids()[0], signal.SIGKILL)
        gone = await rig.batcher.event("gone", after=before)
        assert gone.epoch == grant.epoch
        refused = rig.batcher.send(model, grant, calls(1.0))
        assert [e.batch_id for e in rig.batcher.of("nack")] == [refused.batch_id]
        again = await rig.batcher.event("credit", after=before)
        assert again.epoch > grant.epoch
        assert again.credits == [0, 1]
        assert seen(await rig.batcher.done(rig.batcher.send(model, again, calls(5.0)))) == [5.0]

    with_runner(scenario)


def test_killing_the_process_while_it_loads_only_delays_it(with_runner, tmp_path):
    log = str(tmp_path / "loads")

    class LoadsSlowly:
        def __setstate__(self, state: Any) -> None:
            import os
            import time

            with open(log, "a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(0.3)

        def __getstate__(self) -> Any:
            return {"some": "state"}

        def predict(self, x: Any) -> Any:
            return x

    model = save("slowly", LoadsSlowly(), check=False)

    async def scenario(rig):
        rig.batcher.command("load", model)
        for loads in (1, 2):
            await eventually(lambda loads=loads: lines(log)[loads - 1 :])
            os.kill(int(lines(log)[-1]), signal.SIGKILL)
        grant = await rig.batcher.event("credit", "failed")
        assert grant.event == "credit"
        assert len(lines(log)) == 3

    with_runner(scenario)


def test_a_process_that_is_always_killed_while_it_loads_is_a_failure(with_runner):
    class KillsItself:
        def __reduce__(self) -> Any:
            return (eval, ("__import__('os').kill(__import__('os').getpid(), 9)",))

        def predict(self, x: Any) -> Any:
            return x

    model = save("kills", KillsItself(), check=False)

    async def scenario(rig):
        failed = await rig.batcher.load(model)
        assert failed.event == "failed"
        assert "out of memory" in failed.message

    with_runner(scenario)


@pytest.mark.alone
@pytest.mark.slow
def test_one_that_hangs_in_a_batch_fails_alone(with_runner, model):
    async def scenario(rig):
        began_s = time.monotonic()
        grant = await rig.batcher.load(model)
        firsts = [1.0, HANG, 3.0]
        started_s = time.monotonic()
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(*firsts), hang_s=0.4))
        assert seen(answers) == [1.0, "model_timeout", 3.0]
        assert "0.4 s" in answers[1].message
        # It hangs in the batch and alone; after each, a process starts.
        starts_s = 4 * (started_s - began_s)
        assert time.monotonic() - started_s < 2 * 0.4 + starts_s + 1

    with_runner(scenario)


@pytest.mark.slow
def test_one_that_hangs_alone_is_not_tried_again(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        bad = rig.batcher.send(model, grant, calls(HANG), hang_s=0.3)
        behind = rig.batcher.send(model, grant, calls(2.0), credit=1, hang_s=0.3)
        assert seen(await rig.batcher.done(bad)) == ["model_timeout"]
        assert seen(await rig.batcher.done(behind)) == [2.0]

    with_runner(scenario)
    assert [HANG] in calls_of(tmp_path)
    assert sum(HANG in call for call in calls_of(tmp_path)) == 1


def test_a_batch_of_slow_calls_that_raise_is_not_taken_for_a_hang(with_runner, tmp_path):
    class SlowToFail:
        def predict(self, x: Any) -> Any:
            time.sleep(0.15)
            if (x == RAISE).any():
                raise ValueError("poison")
            return x * 2

    model = save("slow", SlowToFail(), check=False)

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        firsts = batch_of(8, {7: RAISE})
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(*firsts), hang_s=0.4))
        assert seen(answers) == [*map(float, range(7)), "model_failed"]
        assert rig.app.counters.restarts == {}

    with_runner(scenario)


def test_a_wrong_number_of_rows_fails_only_whose_rows_are_missing(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(1.0, DROP_ROW, 2.0)))
        assert seen(answers) == [1.0, "bad_model_output", 2.0]
        assert "0 rows for 1" in answers[1].message
        assert seen(await rig.batcher.done(rig.batcher.send(model, grant, calls(4.0)))) == [4.0]

    with_runner(scenario)


def test_nan_is_the_answer_of_its_row(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        first, nan, third = await rig.batcher.done(rig.batcher.send(model, grant, calls(1.0, NAN, 3.0)))
        assert np.isnan(nan[0, 0])
        assert seen([first, third]) == [1.0, 3.0]

    with_runner(scenario)


def test_what_a_model_starts_ends_with_it(with_runner, tmp_path):
    class Forks:
        def predict(self, x: Any) -> Any:
            import subprocess

            child = subprocess.Popen(["sleep", "600"])
            return np.full((len(x), 1), float(child.pid))

    model = save("forks", Forks())

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        (pid,) = await rig.batcher.done(rig.batcher.send(model, grant, calls(1.0)))
        os.kill(rig.process_ids()[0], signal.SIGKILL)
        await rig.batcher.event("gone")
        await eventually(lambda: not alive(int(pid[0, 0])), what="the model's child ends")

    with_runner(scenario)


def lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if os.path.exists(path) else []


def alive(pid: int) -> bool:
    return process_state(pid) not in ("", "Z")


def test_a_runner_that_stood_still_does_not_blame_its_model(with_runner, tmp_path):
    class Naps:
        def predict(self, x: Any) -> Any:
            time.sleep(0.3)
            return x

    model = save("naps", Naps())

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        sent = rig.batcher.send(model, grant, calls(1.0), hang_s=0.5)
        time.sleep(1.0)  # the whole runner, its event loop that is; the model answers meanwhile
        assert [a[0, 0] for a in await rig.batcher.done(sent)] == [1.0]
        assert rig.app.counters.restarts == {}

    with_runner(scenario)


def test_the_kernel_takes_a_model_process_before_the_runner(with_runner, model):
    async def scenario(rig):
        await rig.batcher.load(model)
        (pid,) = rig.process_ids()
        assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= 500

    with_runner(scenario)


def test_tracebacks_of_bad_requests_do_not_flood_the_log(with_runner, model, capfd):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        for _ in range(10):
            answers = await rig.batcher.done(rig.batcher.send(model, grant, calls(RAISE, RAISE, RAISE)))
            assert seen(answers) == ["model_failed"] * 3

    started_s = time.monotonic()
    with_runner(scenario)
    seconds = int(time.monotonic() - started_s) + 1
    assert 1 <= capfd.readouterr().err.count("model_raised") <= 10 * seconds
