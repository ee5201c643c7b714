"""The store and the bus: changes are announced over it, and models are stored and given out without it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from support.nats_server import NatsServer
from support.sdk import save_text
from support.stores import StoreProcess, free_port, store_settings, wait_until
from support.waiting import eventually
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._bus.interface import Bus, Message
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import transfer
from vtsserving._wire import subjects
from vtsserving.exceptions import AuthError
from vtsserving_store.app import StoreApp


def test_what_changed_before_the_bus_was_there_is_announced_when_it_is(
    tmp_path: Path, local: LocalStore
) -> None:
    before, after = save_text(local, "iris:1", "x"), save_text(local, "iris:2", "y")
    heard: list[dict[str, Any]] = []

    def hear(message: Message) -> None:
        heard.append(json.loads(bytes(message.payload)))

    async def scenario() -> None:
        bus, there = InProcessBus(), asyncio.Event()

        async def connect() -> Bus:
            await there.wait()
            return bus

        await bus.subscribe(subjects.STORE_CHANGED, hear)
        app = StoreApp(store_settings(tmp_path / "store"), connect)
        await app.start()
        url = f"http://127.0.0.1:{app.port}"
        try:
            await asyncio.to_thread(transfer.push, before.tag, store_url=url, store=local)
            assert heard == []
            there.set()
            await eventually(lambda: bool(heard), what="an announcement")
            assert heard == [{"kind": "missed", "name": ""}]
            await asyncio.to_thread(transfer.push, after.tag, store_url=url, store=local)
            await eventually(lambda: len(heard) > 1, what="the announcement of a push")
            assert [(event["kind"], event["name"]) for event in heard[1:]] == [("pushed", "iris")]
        finally:
            await app.close()

    asyncio.run(scenario())


def test_models_are_pushed_and_pulled_before_the_bus_is_there(tmp_path: Path, local: LocalStore) -> None:
    model = save_text(local, "iris:1", "x")
    nats = NatsServer(tmp_path)
    nats.port = free_port()
    settings = {"VTSSERVING_STORE__DIR": str(tmp_path / "store"), "VTSSERVING_NATS_URL": nats.url}
    with StoreProcess(tmp_path, settings) as store:
        transfer.push(model.tag, store_url=store.url, store=local)
        elsewhere = LocalStore(tmp_path / "elsewhere")
        assert transfer.pull("iris:latest", store_url=store.url, store=elsewhere).tag == model.tag
        with nats:
            wait_until(lambda: '"bus_connected"' in store.log(), what="the store on the bus")
        assert store.terminate() == 0, store.log()


def test_a_store_that_the_bus_refuses_ends_and_says_why(tmp_path: Path) -> None:
    users = 'authorization { users: [{ user: "store", password: "right" }] }'
    with NatsServer(tmp_path, extra=users) as nats:
        settings = {
            "VTSSERVING_STORE__DIR": str(tmp_path / "store"),
            "VTSSERVING_NATS_URL": nats.url,
            "VTSSERVING_NATS_USER": "store",
            "VTSSERVING_NATS_PASSWORD": "wrong",
        }
        store = StoreProcess(tmp_path, settings)
        store.spawn()
        assert store.wait() == AuthError.exit_code, store.log()
        assert "the nats-server answers" in store.log()
        assert "VTSSERVING_NATS_PASSWORD" in store.log()
