"""A process that leaks is replaced by a warm one, and nobody notices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.runner_models import GATE, open_gate, save, trouble
from support.waiting import eventually
from support.wire_frames import loaded

ONE = (np.array([[1.0]]),)


def leaking(what: str) -> Any:
    """Keeps 64 MiB per call, opens 600 files, or does neither."""

    class Leak:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def predict(self, x: Any) -> Any:
            import os

            import numpy as np

            if what == "memory":
                self.kept.append(np.ones(8 << 20))
            elif what == "files":
                self.kept += [os.open("/dev/null", os.O_RDONLY) for _ in range(600)]
            return x

    return Leak()


@pytest.mark.parametrize(
    ("what", "settings"),
    [("memory", {"recycle_growth_bytes": 32 << 20}), ("files", {}), ("nothing", {"recycle_batches": 1})],
)
def test_a_process_that_went_too_far_is_replaced_without_a_gap(with_runner, what, settings):
    model = save("leaks", leaking(what))

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        (pid,) = rig.process_ids()
        await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
        fresh = await rig.batcher.event("credit", after=len(rig.batcher.events))
        assert fresh.epoch > grant.epoch
        assert (fresh.epoch ^ grant.epoch) & 255 == 0
        names = [event.event for event in rig.batcher.events]
        assert names == ["credit", "done", "gone", "credit"]
        assert all(str(model.tag) in loaded(beat) for beat in rig.batcher.beats[-2:])
        (answer,) = await rig.batcher.done(rig.batcher.send(model, fresh, [ONE]))
        assert answer.tolist() == [[1.0]]
        await eventually(lambda: not Path(f"/proc/{pid}").exists())
        assert rig.app.counters.restarts == {}

    with_runner(scenario, **settings)


def test_a_replaced_process_finishes_its_batch(with_runner, tmp_path):
    model = save("trouble", trouble(tmp_path))

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
        running = rig.batcher.send(model, grant, [(np.array([[GATE]]),)], credit=1)
        fresh = await rig.batcher.event("credit", after=len(rig.batcher.events))
        meanwhile = rig.batcher.send(model, fresh, [ONE])
        assert [a.tolist() for a in await rig.batcher.done(meanwhile)] == [[[2.0]]]
        assert running.ids[0] not in rig.batcher.answers
        open_gate(tmp_path)
        assert [a.tolist() for a in await rig.batcher.done(running)] == [[[2 * GATE]]]

    with_runner(scenario, recycle_batches=1)


def test_a_process_whose_successor_cannot_be_loaded_goes_on(with_runner, tmp_path):
    flag = str(tmp_path / "broken")

    class LoadsOnce:
        def __setstate__(self, state: Any) -> None:
            import os

            if os.path.exists(flag):
                raise RuntimeError("broken meanwhile")

        def __getstate__(self) -> Any:
            return {"some": "state"}

        def predict(self, x: Any) -> Any:
            return x

    model = save("once", LoadsOnce())

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        Path(flag).touch()
        await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
        hosted = rig.app._models.find(model.digest)
        await eventually(lambda: hosted._replace_again_s > 0)
        (answer,) = await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
        assert answer.tolist() == [[1.0]]
        assert rig.batcher.of("failed") == rig.batcher.of("gone") == []

    with_runner(scenario, recycle_batches=1)


def test_nothing_is_left_when_the_runner_closes_in_the_middle(with_runner, tmp_path):
    model = save("trouble", trouble(tmp_path))
    pids: set[int] = set()

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
        hosted = rig.app._models.find(model.digest)
        await eventually(lambda: hosted._successors and hosted._successors[0].process.pid)
        pids.update((*rig.process_ids(), hosted._successors[0].process.pid))

    with_runner(scenario, recycle_batches=1)
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
