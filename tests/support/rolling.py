"""deploy/roll.sh as the tests of the containers run it: under load, and to see it refuse."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Final

from support.cluster import row_and_answer
from support.compose_stack import ComposeStack
from support.load import Load, Report, Target

TIMEOUT_S: Final = 20.0
CLIENTS: Final = 8


def linear(stack: ComposeStack) -> Target:
    """The model of the load, through the edge."""
    return Target(stack.gateway_port, "/v1/models/linear:latest/predict", TIMEOUT_S, row_and_answer)


def roll_under_load(stack: ComposeStack, *services: str, rolls: int = 1, requests: int = 200) -> Report:
    """Roll services, all of them by default, while clients call the model.

    Args:
        stack: that has the model `linear`.
        services: arguments of the script.
        rolls: how often, one after the other.
        requests: that are answered before the first and after each.
    """

    async def scenario() -> Report:
        async with Load.closed(linear(stack), clients=CLIENTS) as load:
            await load.progress(requests)
            for _ in range(rolls):
                await asyncio.to_thread(stack.run, "deploy/roll.sh", *services)
                await load.progress(requests)
            return await load.stop()

    report = asyncio.run(scenario())
    print(report)
    return report


def refused_roll(stack: ComposeStack, service: str) -> str:
    """What the script says when it gives up; that it does is checked."""
    done = subprocess.run(
        ["deploy/roll.sh", service],
        cwd=stack.folder,
        env=stack.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr
