"""Limits of a model that is being served are changed without a restart, in one process and in a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import vtsserving
from support.nats_server import NatsServer
from support.stores import StoreProcess
from vtsserving._bus.nats import NatsBus
from vtsserving._catalog import catalog
from vtsserving._store_client.catalog import StoreCatalog
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_embedded.app import EmbeddedApp
from vtsserving_gateway.app import GatewayApp
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.cache import StoreSource
from vtsserving_runner.settings import RunnerSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROWS = 12


def save_counter(replicas: int = 1) -> vtsserving.Model:
    """A model that answers each row with the rows of the call that it was part of, and its process."""

    class Counter:
        def predict(self, x: Any) -> Any:
            import os

            return np.array([[len(x), os.getpid()]] * len(x))

    return vtsserving.picklable_model.save_model(
        "counter",
        Counter(),
        # It says how large its calls are, so that nobody may find out by trying.
        signatures={"predict": {"batchable": True, "result": {"axis": 0}}},
        options={"max_batch_size": 4, "replicas": replicas},
    )


async def calls_of(client: httpx2.AsyncClient) -> list[int]:
    """The sizes of the calls that one request of ROWS rows was split into, sorted."""
    answer = await client.post("/v1/models/counter/predict", json=[[1.0]] * ROWS)
    assert answer.status_code == 200, answer.text
    sizes = sorted(row[0] for row in answer.json())
    return [size for i, size in enumerate(sizes) if i == 0 or size != sizes[i - 1] or i % size == 0]


async def becomes(wanted: list[int], ask: Callable[[], Awaitable[list[int]]]) -> None:
    """Return when a request is split as wanted; the answers are right all the while."""
    deadline_s = asyncio.get_running_loop().time() + 20
    while (seen := await ask()) != wanted:
        assert asyncio.get_running_loop().time() < deadline_s, seen
        await asyncio.sleep(0.02)


def test_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    monkeypatch.setattr(catalog, "TTL_S", 0.1)
    monkeypatch.setattr(catalog, "STALE_S", 0.1)
    save_counter()
    runner = vtsserving.models.get("counter").to_runner(name="own", max_batch_size=3)
    svc = vtsserving.Service("svc", runners=[runner])

    async def own() -> list[int]:
        sizes = (await runner.predict.async_run(np.ones((ROWS, 1))))[:, 0]
        return [int(size) for size in sizes][:: int(sizes[0])]

    async def scenario() -> None:
        app = EmbeddedApp(["counter"], port=0, service=svc)
        try:
            await app.start()
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{app.port}", trust_env=False) as client:
                assert await calls_of(client) == [4, 4, 4]
                assert await own() == [3, 3, 3, 3]
                await asyncio.to_thread(vtsserving.models.configure, "counter", max_batch_size=6)
                await becomes([6, 6], lambda: calls_of(client))
                await becomes([6, 6], own)
                await asyncio.to_thread(vtsserving.models.configure, "counter", reset=["all"])
                await becomes([4, 4, 4], lambda: calls_of(client))
                await becomes([3, 3, 3, 3], own)
        finally:
            await app.close()

    asyncio.run(scenario())


def test_in_a_cluster_the_store_tells_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    model = save_counter()
    nats = NatsServer(tmp_path)
    nats.start()

    async def scenario(store: StoreProcess) -> None:
        bus = await NatsBus.connect(nats.url, timeout_s=10)
        known, source = StoreCatalog(store.url), StoreSource(store.url, tmp_path / "cache")
        apps: list[Any] = [
            GatewayApp(bus, known, GatewaySettings(port=0, grace_s=0)),
            BatcherApp(bus, BatcherSettings()),
            RunnerApp(bus, source, RunnerSettings(preload=(str(model.tag),)), known),
        ]
        remote = vtsserving.Store(store.url)
        try:
            for app in apps:
                await app.start()
            url = f"http://127.0.0.1:{apps[0].port}"
            async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
                assert await calls_of(client) == [4, 4, 4]
                # Only the announcement can make the gateway look again while this test runs.
                monkeypatch.setattr(catalog, "TTL_S", 3600.0)
                await asyncio.to_thread(remote.configure, "counter", max_batch_size=6, replicas=2)
                await becomes([6, 6], lambda: calls_of(client))
                assert len(list(apps[2]._models.figures())) == 1, "replicas change at the next load"
                apps[2].unload(model.digest)
                assert await calls_of(client) == [6, 6]
                assert len(list(apps[2]._models.figures())) == 2
        finally:
            remote.close()
            for app in apps:
                await app.close()
            await bus.close()
            source.close()
            known.close()

    try:
        settings = {"VTSSERVING_STORE__DIR": str(tmp_path / "store"), "VTSSERVING_NATS_URL": nats.url}
        with StoreProcess(tmp_path, settings) as store:
            vtsserving.models.push(model.tag, store_url=store.url)
            asyncio.run(scenario(store))
    finally:
        nats.kill()
