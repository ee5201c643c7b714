"""Gateways, a batcher and a runner with real model processes, their loop in a thread: in process, or over NATS."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from support.nats_server import NatsServer
from support.supervisor import listening_socket
from support.waiting import eventually
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._bus.interface import Bus
from vtsserving._bus.nats import NatsBus
from vtsserving._catalog.catalog import LocalCatalog
from vtsserving._local_store.store import LocalStore
from vtsserving.service.service import Service
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_gateway.app import GatewayApp
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings

READY_TIMEOUT_S = 60.0
T = TypeVar("T")


class ServedStack:
    """The whole product on one bus, each gateway on a port of its own that it keeps when it is restarted."""

    def __init__(
        self,
        make_service: Callable[[], Service] | None = None,
        tags: Sequence[str] = (),
        *,
        nats_url: str | None = None,
        gateways: int = 1,
        **settings: Any,
    ) -> None:
        """Prepare.

        Args:
            make_service: called once for each gateway, since a service is served once in a process.
            tags: models to load.
            nats_url: of a running server; None: everything is on the in-process bus.
            gateways: how many.
            settings: of the gateways.
        """
        self.loop = uvloop.new_event_loop()
        self._services = [make_service() if make_service else None for _ in range(gateways)]
        self._nats_url = nats_url
        self._settings = {"grace_s": 0.0, **settings}
        self._tags = tuple(tags)
        self._listening = [listening_socket() for _ in range(gateways)]
        self._gateways: list[GatewayApp | None] = [None] * gateways
        self._buses: list[Bus] = []
        self._store = LocalStore()
        self._shared = InProcessBus() if nats_url is None else None
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    @property
    def ports(self) -> list[int]:
        return [listening.getsockname()[1] for listening in self._listening]

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def depth(self) -> tuple[int, int]:
        """(calls of models that wait at the batcher, batches that runners have)."""
        return self._batcher.depth()

    @property
    def queued(self) -> int:
        """Calls of models that have come to the batcher, since the start."""
        return self._batcher.counters.entries

    def restart_gateway(self, number: int = 0, *, abruptly: bool = False) -> None:
        """Drain a gateway, or cut it off in mid-sentence, and start another one in its place."""
        self.wait(self._restart(number, abruptly))

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the stack's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(READY_TIMEOUT_S)

    def __enter__(self) -> ServedStack:
        self._thread.start()
        try:
            self.wait(self._start())
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.wait(self._close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
        for listening in self._listening:
            listening.close()

    async def _bus(self) -> Bus:
        if self._shared is not None:
            return self._shared
        assert self._nats_url is not None
        bus = await NatsBus.connect(self._nats_url, timeout_s=10.0)
        self._buses.append(bus)
        return bus

    async def _start(self) -> None:
        needed = {tag for service in self._services if service for tag in service.model_tags}
        self._tags = tuple(dict.fromkeys(str(self._store.resolve(tag)) for tag in (*self._tags, *needed)))
        for number in range(len(self._gateways)):
            await self._start_gateway(number)
        self._batcher = BatcherApp(await self._bus(), BatcherSettings())
        self._runner = RunnerApp(
            await self._bus(),
            LocalSource(self._store),
            RunnerSettings(preload=self._tags),
            LocalCatalog(self._store),
        )
        await self._batcher.start()
        await self._runner.start()
        await eventually(
            lambda: all(gateway and gateway.ready for gateway in self._gateways), within_s=READY_TIMEOUT_S
        )

    async def _start_gateway(self, number: int) -> None:
        listener = socket.socket(fileno=socket.dup(self._listening[number].fileno()))
        settings = GatewaySettings(preload=",".join(self._tags), **self._settings)
        gateway = GatewayApp(
            await self._bus(),
            LocalCatalog(self._store),
            settings,
            listener=listener,
            served=self._services[number],
        )
        self._gateways[number] = gateway
        await gateway.start()

    async def _restart(self, number: int, abruptly: bool) -> None:
        gateway = self._gateways[number]
        assert gateway is not None
        if abruptly:
            for connection in list(gateway.gateway.connections):
                connection.transport.abort()  # type: ignore[attr-defined]
        else:
            await gateway.drain()
        await gateway.close()
        await self._start_gateway(number)

    async def _close(self) -> None:
        for gateway in self._gateways:
            if gateway is not None:
                await gateway.drain()
                await gateway.close()
        for part in (getattr(self, "_batcher", None), getattr(self, "_runner", None)):
            if part is not None:
                await part.close()
        for bus in (self._shared, *self._buses):
            if bus is not None:
                await bus.close()


@contextlib.contextmanager
def serving(make_service: Callable[[], Service] | None = None, **options: Any) -> Iterator[ServedStack]:
    """A started stack that is stopped at the end."""
    with ServedStack(make_service, **options) as stack:
        yield stack


@contextlib.contextmanager
def serving_on(
    bus: str, folder: Path, make_service: Callable[[], Service] | None = None, **options: Any
) -> Iterator[ServedStack]:
    """The same, `embedded` in one process, or with `nats` over a server of its own, whose files go to `folder`."""
    with contextlib.ExitStack() as ending:
        if bus == "nats":
            server = NatsServer(folder)
            server.start()
            ending.callback(server.kill)
            options["nats_url"] = server.url
        yield ending.enter_context(serving(make_service, **options))
