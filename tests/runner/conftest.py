"""A runner with real model processes on the in-process bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop

from support.scripted_batcher import ScriptedBatcher
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._catalog.catalog import LocalCatalog
from vtsserving._local_store.store import LocalStore
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource, ModelSource
from vtsserving_runner.settings import RunnerSettings


@dataclass
class Rig:
    """A started runner and a batcher to play with."""

    bus: InProcessBus
    app: RunnerApp
    batcher: ScriptedBatcher

    async def another_batcher(self) -> ScriptedBatcher:
        return await ScriptedBatcher(self.bus, self.app.id).start()

    def process_ids(self) -> list[int]:
        return [figures.pid for figures in self.app._models.figures()]


@asynccontextmanager
async def running(
    source: ModelSource | None = None, max_payload: int = 1 << 26, **settings: Any
) -> AsyncIterator[Rig]:
    store = LocalStore()
    bus = InProcessBus(max_payload=max_payload)
    app = RunnerApp(bus, source or LocalSource(store), RunnerSettings(**settings), LocalCatalog(store))
    batcher = await ScriptedBatcher(bus, app.id).start()
    try:
        await app.start()
        yield Rig(bus, app, batcher)
    finally:
        await app.close()
        await bus.close()


@pytest.fixture
def with_runner() -> Callable[..., None]:
    """Runs `scenario(rig)` against a fresh runner; keyword arguments are settings."""

    def run(scenario: Callable[[Rig], Awaitable[None]], *, loop: str = "uvloop", **options: Any) -> None:
        async def main() -> None:
            async with running(**options) as rig:
                await scenario(rig)

        uvloop.run(main()) if loop == "uvloop" else asyncio.run(main())

    return run
