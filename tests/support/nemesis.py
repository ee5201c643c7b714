"""A seeded source of trouble for a running cluster: kills, hangs, orderly ends, broken connections, one by one."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from support.cluster import Cluster

SERVICES: Final = ("gateway", "gateway-2", "batcher", "batcher-2", "runner", "runner-2")

Strike = Callable[[], Awaitable[None]]


class Nemesis:
    """Strikes a cluster of two of each.

    Attributes:
        struck: how often each kind of trouble was made.
    """

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        self._chance = random.Random(seed)
        self.struck: Counter[str] = Counter()

    async def rage(self, for_s: float) -> None:
        """Strike again and again; return with everything running."""
        strikes: list[tuple[str, Strike]] = [
            ("kill", self._kill),
            ("kill a model process", self._kill_model_process),
            ("stop and continue", self._pause),
            ("end", self._end),
            ("cut connections", self._cut),
            ("kill nats", self._kill_nats),
        ]
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            (name, strike) = self._chance.choices(strikes, weights=(4, 3, 3, 3, 3, 1))[0]
            self.struck[name] += 1
            await strike()
            await asyncio.sleep(self._chance.uniform(0.2, 1.5))
        await self._all_ready()

    async def _all_ready(self) -> None:
        for name in ("nats", *SERVICES):
            await self._cluster.supervisor.ready(name)

    async def _kill(self) -> None:
        """Kill one of two, with the other one there; two at once are not promised to be survived."""
        name = self._chance.choice(SERVICES)
        await self._cluster.supervisor.ready(self._twin(name))
        self._cluster.supervisor.kill(name)
        await self._cluster.supervisor.ready(name)

    async def _end(self) -> None:
        name = self._chance.choice(SERVICES)
        await self._cluster.supervisor.ready(self._twin(name))
        self._cluster.supervisor.kill(name, signal.SIGTERM)
        await asyncio.sleep(0.1)
        await self._cluster.supervisor.ready(name)

    async def _pause(self) -> None:
        pid = self._cluster.supervisor.running(self._chance.choice(SERVICES[2:]))
        if pid is not None:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self._chance.uniform(0.1, 3.0))
            os.kill(pid, signal.SIGCONT)

    async def _kill_model_process(self) -> None:
        pids = self._cluster.model_processes(self._chance.choice(("runner", "runner-2")))
        if pids:
            os.kill(self._chance.choice(pids), signal.SIGKILL)

    async def _cut(self) -> None:
        """Break the connections of one of the two gateways to the bus."""
        self._cluster.proxy.cut()

    async def _kill_nats(self) -> None:
        self._cluster.supervisor.kill("nats")
        await asyncio.sleep(0.2)
        await self._cluster.supervisor.ready("nats")

    @staticmethod
    def _twin(name: str) -> str:
        return name.removesuffix("-2") if name.endswith("-2") else f"{name}-2"
