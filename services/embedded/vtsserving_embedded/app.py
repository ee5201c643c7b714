"""The whole stack in one process: gateway, batcher and runner on the in-process bus, models from the local store."""

from __future__ import annotations

from collections.abc import Sequence

from vtsserving._bus.inprocess import InProcessBus
from vtsserving._catalog.catalog import LocalCatalog
from vtsserving._local_store.store import LocalStore
from vtsserving._runtime.settings import SharedSettings, read
from vtsserving.service.packing import pack_service
from vtsserving.service.service import Service
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_embedded.targets import exact_tags
from vtsserving_gateway.app import GatewayApp
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings


class EmbeddedApp:
    """The services as one app; create it inside of a running event loop."""

    def __init__(
        self,
        tags: Sequence[str],
        *,
        host: str | None = None,
        port: int | None = None,
        service: Service | None = None,
    ) -> None:
        """Wire the services.

        Args:
            tags: models to load at start; others are loaded when they are asked for.
            host: address to listen on; None: as the gateway's settings say.
            port: port to listen on; None: as the gateway's settings say.
            service: functions to serve beside the models; its runners' models are loaded at start, too.

        Raises:
            ModelNotFound, VersionNotFound, InvalidTag: a tag names no model of the local store.
            NewerFormat: a later release wrote a model's contract.
            ConfigurationError: a VTSSERVING_* variable has a bad value.
            VtsServingException: a custom Runnable cannot be packed.
        """
        store = LocalStore()
        needed = (*tags, *(service.model_tags if service is not None else ()))
        self.tags = exact_tags(store, needed)
        packed = pack_service(service, store).values() if service is not None else ()
        preload = (*self.tags, *(str(model.tag) for model in packed))
        given = {"host": host, "port": port, "preload": ",".join(preload)}
        overrides = {name: value for name, value in given.items() if value is not None}
        catalog = LocalCatalog(store)
        self._bus = InProcessBus()
        self._gateway = GatewayApp(
            self._bus,
            catalog,
            read(GatewaySettings, **overrides),
            served=service,
            shared=read(SharedSettings),
        )
        self._batcher = BatcherApp(self._bus, read(BatcherSettings))
        runner = read(RunnerSettings, preload=preload)
        self._runner = RunnerApp(
            self._bus, LocalSource(store, service.runner_options if service else None), runner, catalog
        )

    @property
    def port(self) -> int:
        """The port that is served."""
        return self._gateway.port

    async def start(self) -> None:
        """Open the port, then load the models; returns when all are warm.

        Raises:
            OSError: the port is taken.
            ModelLoadFailed: a model cannot be loaded; the message has the reason.
        """
        # In the order in which they listen to each other's first heartbeat.
        await self._gateway.start()
        await self._batcher.start()
        await self._runner.start()

    async def drain(self) -> None:
        """Finish what was taken, from the outside in."""
        await self._gateway.drain()
        await self._batcher.drain()
        await self._runner.drain()

    async def close(self) -> None:
        """Stop at once."""
        await self._gateway.close()
        await self._batcher.close()
        await self._runner.close()
        await self._bus.close()
