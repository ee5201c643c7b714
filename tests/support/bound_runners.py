"""Runners as a user has them: in this process, or bound to model processes behind a batcher on either bus."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from support.buses import BusWorld
from support.waiting import eventually
from vtsserving._catalog.catalog import LocalCatalog
from vtsserving._inference.client import InferenceClient
from vtsserving._inference.remote import bind
from vtsserving._local_store.store import LocalStore
from vtsserving.runner.runner import Runner
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings

PLACES: Final = ("local", "embedded", "nats")
"""Where a runner's model may be: in this process; in a model process on the in-process bus; the same over NATS."""

BUSES: Final = {"embedded": "inprocess", "nats": "nats-uvloop"}


@asynccontextmanager
async def serving(world: BusWorld, **settings: Any) -> Any:
    """A batcher, a runner and a client on a bus, on the running loop; yields what binds runners to them."""
    client = InferenceClient(await world.bus())
    batcher = BatcherApp(await world.bus(), BatcherSettings())
    catalog = LocalCatalog(LocalStore())
    app = RunnerApp(await world.bus(), LocalSource(LocalStore()), RunnerSettings(**settings), catalog)
    try:
        await client.start()
        await batcher.start()
        await app.start()
        await eventually(lambda: client.ready)

        async def bind_all(*runners: Runner) -> None:
            for runner in runners:
                await bind(runner, client, catalog)

        yield bind_all
    finally:
        await client.close()
        await batcher.close()
        await app.close()


@contextmanager
def placed(place: str, folder: Path, **settings: Any) -> Iterator[Callable[[Runner], None]]:
    """Yields what puts runners into a place; their synchronous calls work from this thread."""
    if place == "local":
        yield lambda runner: runner.init_local()
        return
    ready: concurrent.futures.Future[Any] = concurrent.futures.Future()

    async def serve(world: BusWorld) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with serving(world, **settings) as bind_all:
            ready.set_result((loop, stop, bind_all))
            await stop.wait()

    def live() -> None:
        try:
            BusWorld(BUSES[place], folder).run(serve)
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    thread = threading.Thread(target=live, name=f"serving {place}")
    thread.start()
    try:
        loop, stop, bind_all = ready.result(60)
        try:
            yield lambda runner: asyncio.run_coroutine_threadsafe(bind_all(runner), loop).result(60)
        finally:
            loop.call_soon_threadsafe(stop.set)
    finally:
        thread.join(60)
