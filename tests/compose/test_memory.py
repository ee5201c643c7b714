"""A model that wants more memory than its runner's container may have: the kernel ends the model, and nothing else."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import pytest

import vtsserving
from support.compose_stack import ComposeStack
from support.load import Load, Report
from support.proofs import Proof
from support.rolling import linear

LIMIT: Final = "1g"
HUNGRY: Final = 701.0


def hungry() -> Any:
    """Doubles its input; a row has it fill 4 GiB."""

    class Hungry:
        def predict(self, x: Any) -> Any:
            import numpy as np

            if 701.0 in x[:, 0]:
                return np.ones(1 << 29)
            return x * 2

    return Hungry()


def ask(stack: ComposeStack, value: float) -> tuple[int, Any]:
    return stack.post("/v1/models/hungry:latest/predict", [[value]])


def kernel_kills(stack: ComposeStack, container: str) -> int:
    """How many processes of a container the kernel has ended for want of memory, by its control group."""
    read = "cat /sys/fs/cgroup/memory.events /sys/fs/cgroup/memory/memory.oom_control 2>/dev/null || true"
    text = stack.run("docker", "exec", container, "sh", "-c", read)
    return sum(int(count) for count in re.findall(r"^oom_kill (\d+)$", text, re.MULTILINE))


@pytest.mark.prove
def test_the_kernel_ends_the_model_that_takes_too_much_and_nobody_else(
    fresh: ComposeStack, proof: Proof
) -> None:
    stack = fresh
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", stack.environment["VTSSERVING_HOME"])
        saved = vtsserving.picklable_model.save_model(
            "hungry", hungry(), signatures={"predict": {"batchable": True}}
        )
    stack.run("vtsserving", "models", "push", str(saved.tag))
    (runner,) = stack.containers("runner")
    stack.run("docker", "update", "--memory", LIMIT, "--memory-swap", LIMIT, runner)
    assert ask(stack, 3.0) == (200, [[6.0]])
    before = kernel_kills(stack, runner)

    async def scenario() -> tuple[list[tuple[int, Any]], Report]:
        async with Load.closed(linear(stack), clients=4) as load:
            await load.progress(100)
            values = [HUNGRY, *(float(n) for n in range(8))]
            answers = await asyncio.gather(*(asyncio.to_thread(ask, stack, value) for value in values))
            await load.progress(100)
            return answers, await load.stop()

    (refused, *others), siblings = asyncio.run(scenario())
    kills = kernel_kills(stack, runner) - before
    proof.record(
        "compose: a model that fills 4 GiB in a runner of 1 GiB",
        kernel_kills=kills,
        siblings=len(siblings.answers),
        wrong=len(siblings.of("wrong")),
        lost=len(siblings.of("lost")),
    )
    assert (refused[0], refused[1]["error"]["code"]) == (500, "model_crashed")
    assert others == [(200, [[2.0 * n]]) for n in range(8)]
    assert kills >= 1
    assert len(siblings.of("right")) == len(siblings.answers), siblings
    assert stack.containers("runner") == [runner]
    assert stack.restarts(runner) == 0
