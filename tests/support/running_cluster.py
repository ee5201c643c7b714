"""A cluster of two of each that several tests share: it runs on a loop of its own, in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from support.cluster import Cluster
from support.nemesis import SERVICES

T = TypeVar("T")

RUN_TIMEOUT_S = 240.0


class RunningCluster:
    """Runs coroutines beside the cluster.

    Attributes:
        cluster: its processes.
        folder: where models leave what they saw.
    """

    def __init__(self, cluster: Cluster, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.cluster = cluster
        self.folder = folder
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end on the cluster's loop, with everything up before; failures show the logs."""
        try:
            asyncio.run_coroutine_threadsafe(self._ready(), self._loop).result(RUN_TIMEOUT_S)
            return asyncio.run_coroutine_threadsafe(work, self._loop).result(RUN_TIMEOUT_S)
        except BaseException:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- {log.name}\n{log.read_text(errors='replace')[-3_000:]}")
            raise

    async def _ready(self) -> None:
        for name in (*self.cluster.bus_names, *SERVICES):
            await self.cluster.supervisor.ready(name)


@contextlib.contextmanager
def running(folder: Path, home: Path, tag: str, *, buses: int = 1) -> Iterator[RunningCluster]:
    """Two of each, serving the models of a local store, with one of them preloaded, on `buses` nats-servers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    cluster = Cluster(folder, home, tag, twins=True, buses=buses)
    try:
        asyncio.run_coroutine_threadsafe(cluster.__aenter__(), loop).result(RUN_TIMEOUT_S)
        yield RunningCluster(cluster, folder, loop)
        asyncio.run_coroutine_threadsafe(cluster.__aexit__(None, None, None), loop).result(RUN_TIMEOUT_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextlib.contextmanager
def own_home(home: Path) -> Iterator[None]:
    """VTSSERVING_HOME for as long as models are saved that outlive a single test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(home))
        yield
