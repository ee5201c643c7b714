"""`serve --workers N`: N gateway processes on one socket, with batcher and runner in this process, over nats-server."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from vtsserving._bus.nats import NatsBus
from vtsserving._catalog.catalog import LocalCatalog
from vtsserving._local_store.store import LocalStore
from vtsserving._runtime.settings import SharedSettings, read
from vtsserving.service.importing import load_service
from vtsserving.service.packing import pack_service
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_embedded.child_process import end
from vtsserving_embedded.nats_child import USER, NatsChild
from vtsserving_embedded.targets import exact_tags
from vtsserving_gateway.auth.tokens import check_access
from vtsserving_gateway.server.server import listen
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings

_log = logging.getLogger(__name__)

RESTART_PAUSE_S = 1.0
"""Pause before a gateway that ended by itself is started again."""

STOP_TIMEOUT_S = 40.0
"""Longest wait for a gateway to finish its requests; above its own grace period and drain time."""


class WorkersApp:
    """Several gateways, one batcher, one runner; create it inside of a running event loop."""

    def __init__(
        self,
        tags: Sequence[str],
        workers: int,
        *,
        nats: str | None,
        host: str | None,
        port: int | None,
        service: str | None = None,
    ) -> None:
        """Prepare; nothing is started.

        Args:
            tags: models to load at start.
            workers: gateway processes, at least 1.
            nats: a running nats-server; None starts one of our own.
            host: address to listen on; None: as the gateway's settings say.
            port: port to listen on; None: as the gateway's settings say.
            service: `module:attribute` of functions to serve beside the models; each gateway imports it.

        Raises:
            ModelNotFound, VersionNotFound, InvalidTag: a tag names no model of the local store.
            NewerFormat: a later release wrote a model's contract.
            OSError: the port is taken.
        """
        self._store = LocalStore()
        self._service = service
        loaded = load_service(service) if service else None
        needed = (*tags, *(loaded.model_tags if loaded else ()))
        self.tags = exact_tags(self._store, needed)
        packed = pack_service(loaded, self._store).values() if loaded else ()
        self._runner_options = loaded.runner_options if loaded else {}
        self._preload = (*self.tags, *(str(model.tag) for model in packed))
        gateway = read(GatewaySettings)
        self._socket = listen(host or gateway.host, gateway.port if port is None else port, None)
        # Each gateway asks this, too; here it fails before anything is started.
        check_access(read(SharedSettings), self._socket)
        self._workers = workers
        self._child = NatsChild() if nats is None else None
        shared = read(SharedSettings)
        self._url = nats or (self._child.url if self._child else "")
        self._user = USER if self._child else shared.nats_user
        self._password = self._child.password if self._child else shared.bus_password
        self._bus: NatsBus | None = None
        self._batcher: BatcherApp | None = None
        self._runner: RunnerApp | None = None
        self._gateways: list[asyncio.subprocess.Process | None] = [None] * workers
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def port(self) -> int:
        """The port that is served."""
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Start everything; returns when the models are warm and all gateways take requests.

        Raises:
            MissingDependency: nats-server is not installed.
            ModelLoadFailed: a model cannot be loaded; the message has the reason.
        """
        if self._child is not None:
            await self._child.start()
        self._bus = await NatsBus.connect(
            self._url,
            name="vtsserving-serve",
            user=self._user or None,
            password=self._password or None,
            timeout_s=10.0,
        )
        catalog = LocalCatalog(self._store)
        self._batcher = BatcherApp(self._bus, read(BatcherSettings))
        runner = read(RunnerSettings, preload=self._preload)
        self._runner = RunnerApp(self._bus, LocalSource(self._store, self._runner_options), runner, catalog)
        await self._batcher.start()
        await self._runner.start()
        started = [asyncio.Event() for _ in range(self._workers)]
        self._keepers = [asyncio.create_task(self._keep(slot, event)) for slot, event in enumerate(started)]
        await asyncio.gather(*(event.wait() for event in started))

    async def drain(self) -> None:
        """End the gateways, which finish their requests, then batcher and runner."""
        self._stopping = True
        await asyncio.gather(
            *(end(process, STOP_TIMEOUT_S) for process in self._gateways if process is not None)
        )
        if self._batcher is not None and self._runner is not None:
            await self._batcher.drain()
            await self._runner.drain()

    async def close(self) -> None:
        """Stop at once what still runs."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(
            *(end(process, STOP_TIMEOUT_S) for process in self._gateways if process is not None)
        )
        for app in (self._batcher, self._runner):
            if app is not None:
                await app.close()
        if self._bus is not None:
            await self._bus.close()
        if self._child is not None:
            await self._child.stop()
        self._socket.close()

    async def _keep(self, slot: int, started: asyncio.Event) -> None:
        """Run one gateway, and another one whenever it ends by itself."""
        while not self._stopping:
            process = self._gateways[slot] = await self._spawn()
            assert process.stderr is not None
            async for line in process.stderr:
                if b"gateway_started" in line:
                    started.set()
                sys.stderr.buffer.write(line)
                sys.stderr.flush()
            code = await process.wait()
            if not self._stopping:
                _log.error("gateway_ended", extra={"slot": slot, "exit_code": code})
                await asyncio.sleep(RESTART_PAUSE_S)

    async def _spawn(self) -> asyncio.subprocess.Process:
        number = self._socket.fileno()
        environment = {
            **os.environ,
            "VTSSERVING_NATS_URL": self._url,
            "VTSSERVING_NATS_USER": self._user,
            "VTSSERVING_NATS_PASSWORD": self._password,
            "VTSSERVING_SERVICE": self._service or "",
            "VTSSERVING_GATEWAY__FD": str(number),
            "VTSSERVING_GATEWAY__PRELOAD": ",".join(self._preload),
        }
        # A session of its own: Ctrl-C at the terminal reaches this process only, which then ends them in order.
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "vtsserving_gateway",
            env=environment,
            pass_fds=(number,),
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
