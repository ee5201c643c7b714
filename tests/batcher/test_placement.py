"""Which runners get a model: those that have what it needs, all that hold it, more when they cannot keep up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from support.batching import MODEL, Cluster
from support.scripted_runner import Script
from support.virtual_loop import run

pytestmark = pytest.mark.fast

OTHER = ("iris", "2", "sha256:" + "1" * 64)
HALF = (MODEL[0], "0", "sha256:" + "2" * 64)
PYTHON = "python=3.11"
GPU = "gpu"


async def cluster_of(*runners: dict[str, Any], **settings: Any) -> Any:
    """(cluster, gateway, batcher), with runners of these arguments."""
    cluster = Cluster(**settings)
    for arguments in runners:
        await cluster.runner(**arguments)
    batcher = await cluster.batcher()
    gateway = await cluster.gateway()
    await asyncio.sleep(0.6)  # heartbeats
    return cluster, gateway, batcher


def test_a_model_goes_where_what_it_needs_is_however_much_memory_others_have() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher = await cluster_of(
            {"traits": (PYTHON,), "free_bytes": 2**40}, {"traits": (PYTHON, GPU), "free_bytes": 2**20}
        )
        gateway.prepare(batcher.id, "know", needs=(PYTHON, GPU))
        gateway.ask(batcher.id, (1, 5.0))
        await asyncio.sleep(1)
        assert [served.runner for served in cluster.served] == [cluster.runners[1].id]
        assert cluster.asked[0].codes == [""]

    run(scenario())


def test_what_no_runner_can_hold_is_refused_at_once_with_what_is_missing() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher = await cluster_of({"traits": (PYTHON,)}, {"traits": ("python=3.12",)})
        gateway.prepare(batcher.id, "know", needs=("python=3.13", "gpu=1"))
        (asked,) = gateway.ask(batcher.id, (1, 5.0))
        assert asked.codes == ["no_runner"]
        assert asked.answers[0].time_s == asked.sent_s
        assert asked.answers[0].message == (
            "no runner can hold iris:1: none of the 2 runners has Python 3.13 and GPU number 1"
        )
        # It is not for ever: a runner that has it may come.
        await cluster.runner(traits=("python=3.13", GPU, "gpu=0", "gpu=1"))
        await asyncio.sleep(1.1)
        gateway.ask(batcher.id, (1, 5.0))
        await asyncio.sleep(1)
        assert cluster.asked[-1].codes == [""]

    run(scenario())


def test_of_runners_with_much_memory_the_one_with_fewest_models_is_chosen() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher = await cluster_of(
            {"free_bytes": 1000}, {"free_bytes": 900}, {"free_bytes": 1}
        )
        for model in (MODEL, OTHER):
            gateway.ask(batcher.id, (1, 5.0), model=model)
            await asyncio.sleep(1)
        assert [served.runner for served in cluster.served] == [runner.id for runner in cluster.runners[:2]]

    run(scenario())


def test_every_runner_that_holds_a_model_computes_it() -> None:
    async def scenario() -> None:
        slow = {"script": Script(compute_s=lambda rows: 0.1)}
        cluster, gateway, batcher = await cluster_of(slow, slow, scale_out_s=0)
        for runner in cluster.runners:
            runner.preload(MODEL)
        await asyncio.sleep(0.6)
        gateway.ask(batcher.id, (1, 5.0))
        await asyncio.sleep(0.3)
        for _ in range(4):
            gateway.ask(batcher.id, (8, 5.0))
        await asyncio.sleep(1)
        assert {served.runner for served in cluster.served} == {runner.id for runner in cluster.runners}

    run(scenario())


def test_a_model_whose_processes_are_always_busy_gets_another_runner_and_a_calm_one_does_not() -> None:
    async def scenario() -> None:
        slow = {"script": Script(compute_s=lambda rows: 0.1)}
        cluster, gateway, batcher = await cluster_of(slow, slow, scale_out_s=2.0)
        for _ in range(30):
            gateway.ask(batcher.id, (1, 60.0))
            await asyncio.sleep(0.15)
        assert len({served.runner for served in cluster.served}) == 1
        for _ in range(40):
            gateway.ask(batcher.id, (8, 60.0))
            gateway.ask(batcher.id, (8, 60.0))
            await asyncio.sleep(0.1)
        assert len({served.runner for served in cluster.served}) == 2
        await asyncio.sleep(10)
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)

    run(scenario())


def test_a_version_is_loaded_before_its_first_request_wherever_its_predecessor_is() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher = await cluster_of({}, {}, {})
        for runner in cluster.runners[:2]:
            runner.preload(MODEL)
        await asyncio.sleep(0.6)
        gateway.prepare(batcher.id, "succeed", OTHER)
        await asyncio.sleep(0.6)
        holders = [runner.id for runner in cluster.runners if runner.idle_processes(OTHER[2])]
        assert holders == [runner.id for runner in cluster.runners[:2]]
        (asked,) = gateway.ask(batcher.id, (1, 5.0), model=OTHER)
        assert cluster.served[-1].time_s == asked.sent_s
        gateway.prepare(batcher.id, "release", MODEL)
        assert [runner.released for runner in cluster.runners] == [["iris:1"], ["iris:1"], []]

    run(scenario())
