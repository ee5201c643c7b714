"""The gateway: HTTP in, calls out over the bus. Reads as start, run, drain."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Final

from vtsserving._bus.interface import Bus, Message, Subscription
from vtsserving._catalog.catalog import Catalog, CatalogEntry, LocalCatalog
from vtsserving._inference.client import InferenceClient
from vtsserving._inference.timer_wheel import TimerWheel
from vtsserving._local_store.store import LocalStore
from vtsserving._runtime import process, settings
from vtsserving._runtime.settings import SharedSettings
from vtsserving._wire import subjects
from vtsserving.exceptions import VtsServingException
from vtsserving.service.importing import load_service
from vtsserving.service.service import Service
from vtsserving_gateway.api.app import create_app, refusal
from vtsserving_gateway.api.services import ServiceRoutes
from vtsserving_gateway.auth.tokens import access_of
from vtsserving_gateway.cluster.rollover import VersionRollover
from vtsserving_gateway.cluster.view import ClusterView
from vtsserving_gateway.functions.call import FunctionCall
from vtsserving_gateway.functions.threads import FunctionThreads
from vtsserving_gateway.predict.bound_routes import BoundRoutes
from vtsserving_gateway.server.api_registry import ApiRegistry
from vtsserving_gateway.server.auth_middleware import AuthMiddleware
from vtsserving_gateway.server.fork import Fork
from vtsserving_gateway.server.host import GatewayHost
from vtsserving_gateway.server.metrics_middleware import MetricsMiddleware
from vtsserving_gateway.server.server import GatewayServer, listen
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_gateway.state import GatewayState

_log = logging.getLogger(__name__)

LOAD_TIMEOUT_S: Final = 300.0
"""How long one order to load a model of the service is waited for, seconds; then it is given again."""

LOAD_AGAIN_S: Final = 2.0
"""Pause after an order that failed: there is no runner yet, or the model cannot be loaded."""

PRELOAD_POLL_S: Final = 0.1
"""How often it is looked whether the preloaded models are there, seconds."""


class GatewayApp:
    """One gateway on a bus. Create it inside of a running event loop; it handles no signals."""

    def __init__(
        self,
        bus: Bus,
        catalog: Catalog,
        own: GatewaySettings,
        *,
        listener: socket.socket | None = None,
        served: Service | None = None,
        shared: SharedSettings | None = None,
        loads: bool = False,
    ) -> None:
        """Wire the parts; nothing is opened before `start`.

        Args:
            bus: connected; whoever made it closes it.
            catalog: knows the models.
            own: see GatewaySettings.
            listener: a listening socket to serve on, instead of the settings' host, port or fd.
            served: a service whose functions are served beside the models.
            shared: say whether callers need tokens, and who knows these; None: they need none.
            loads: have the models of the service loaded by runners, and count as ready when they are.
        """
        self._bus = bus
        self._catalog = catalog
        self._settings = own
        self._listener = listener
        self._shared = shared
        self._loads = loads
        self._preload: set[str] = {tag.strip() for tag in own.preload.split(",") if tag.strip()}
        self.client = InferenceClient(bus)
        self.gateway = GatewayState(self.client, catalog, own)
        self._routes = BoundRoutes(catalog, self.gateway.metrics, self.gateway.statistics)
        self._threads = FunctionThreads(self.gateway.loop, own.function_threads)
        self._deadlines = TimerWheel(self.gateway.loop, FunctionCall.expire)
        self._served = None if served is None else ServiceRoutes(served, self.gateway, catalog, self._threads)
        if served is not None:
            self.gateway.metrics.include_service()
        self.fleet = ClusterView(bus, self.gateway.loop.time)
        self._rollover = VersionRollover(catalog, self.client, self.fleet)
        self.gateway.metrics.watch(
            {
                "vtsserving_connections": ("Open connections.", lambda: len(self.gateway.connections)),
                "vtsserving_buffered_bytes": (
                    "Bytes of request bodies held.",
                    lambda: self.gateway.buffered_bytes,
                ),
                "vtsserving_batchers_alive": ("Batchers that are heard.", lambda: self.client.batchers_alive),
                "vtsserving_bus_connected": ("1 when the bus is connected.", lambda: float(bus.connected)),
                "vtsserving_late_replies_total": (
                    "Answers that came after their request was settled.",
                    lambda: self.client.late_replies,
                ),
                "vtsserving_retries_total": (
                    "Requests sent to another batcher.",
                    lambda: self.client.retries,
                ),
            }
        )
        self._server: GatewayServer | None = None
        self._store_changes: Subscription | None = None
        self._preloading: asyncio.Future[list[None]] | None = None

    @property
    def port(self) -> int:
        """The port that is served."""
        assert self._server is not None, "not started"
        return self._server.port

    @property
    def ready(self) -> bool:
        """Whether a call would be taken now."""
        return not self.gateway.draining and not self._not_ready()

    def _not_ready(self) -> str:
        if not self._bus.connected:
            return "the message bus is not connected"
        if not self.client.ready:
            return "no batcher is alive"
        if self._preload:
            return f"models are being loaded: {', '.join(sorted(self._preload))}"
        return ""

    async def start(self) -> None:
        """Listen on the bus, then open the port.

        Raises:
            ConfigurationError: the port is taken, the descriptor is no listening socket, or callers need tokens and
                nobody knows any.
        """
        own = self._settings
        listener = self._listener or listen(own.host, own.port, own.fd)
        try:
            if self._shared is not None:
                self.gateway.access = access_of(self._shared, listener)
            await self.client.start()
            await self.fleet.start()
            self._store_changes = await self._bus.subscribe(subjects.STORE_CHANGED, self._on_store_changed)
            if self._served is not None:
                await self._served.start()
            if self._served is not None and self._loads:
                self._preload.update(self._served.models)
            server = self._new_server(listener)
            await server.start()
        except BaseException:
            listener.close()
            raise
        self._server = server
        loading = (
            [self._load(entry) for entry in self._served.models.values()]
            if self._loads and self._served
            else []
        )
        if self._preload:
            work = asyncio.gather(self._await_preloaded(), *loading)
            self._preloading = asyncio.ensure_future(work)
        _log.info("gateway_started", extra={"host": own.host, "port": server.port})

    def _new_server(self, listener: socket.socket) -> GatewayServer:
        gateway, served = self.gateway, self._served
        app = create_app(gateway, self._routes, self.fleet, self._rollover, self._not_ready, served)
        guarded = MetricsMiddleware(AuthMiddleware(app, gateway, refusal), gateway)
        apis = ApiRegistry(gateway.settings.max_body_bytes)
        functions = {} if served is None else served.functions
        fork = Fork(gateway, apis, self._routes, functions, self._deadlines)
        return GatewayServer(guarded, gateway, GatewayHost(gateway, apis), fork.exchange_for, listener)

    async def drain(self) -> None:
        """Stop taking connections, answer what is under way, stop."""
        if self._server is not None:
            await self._server.drain()
        await self.client.drain()
        if self._served is not None:
            await self._served.stop()
            self._served = None

    async def close(self) -> None:
        """Stop at once, except for answers under way, which get a moment."""
        if self._server is not None:
            await self._server.close()
        if self._preloading is not None:
            self._preloading.cancel()
        if self._store_changes is not None:
            await self._store_changes.unsubscribe()
            self._store_changes = None
        self._rollover.close()
        self._threads.close()
        self._deadlines.close()
        self.gateway.close()
        await self.fleet.close()
        await self.client.close()

    def _on_store_changed(self, message: Message) -> None:
        self._catalog.invalidate()

    async def _await_preloaded(self) -> None:
        """Tick off the models that must be loaded before this gateway counts as ready."""
        reported: set[str] = set()
        while self._preload:
            for tag in sorted(self._preload):
                try:
                    entry = await self._catalog.resolve(tag)
                except VtsServingException as error:
                    if tag not in reported:
                        reported.add(tag)
                        fields = {"tag": tag, "code": error.code, "reason": error.message}
                        _log.warning("preload_waits", extra=fields)
                    continue
                if self.fleet.runners(entry.tag):
                    self._preload.discard(tag)
            await asyncio.sleep(PRELOAD_POLL_S)

    async def _load(self, entry: CatalogEntry) -> None:
        """Have some runner load a model of the service, however long that takes."""
        while not self.fleet.runners(entry.tag):
            try:
                await self.client.orders.send("load", entry, timeout_s=LOAD_TIMEOUT_S)
            except VtsServingException as error:
                _log.warning("load_waits", extra={"model": entry.tag, "reason": error.message})
                await asyncio.sleep(LOAD_AGAIN_S)


async def serve(stop: process.Stop) -> None:
    """Run a gateway over NATS until `stop` is set."""
    own = settings.read(GatewaySettings)
    shared = settings.read(settings.SharedSettings)
    bus = await process.connect(shared, "vtsserving-gateway", stop)
    if bus is None:
        return
    try:
        served = _service(shared)
        await process.serve_until(
            GatewayApp(
                bus, _catalog(shared), own, served=served, shared=shared, loads=bool(shared.store_url)
            ),
            stop,
        )
        await bus.drain()
    finally:
        await bus.close()


def _service(shared: settings.SharedSettings) -> Service | None:
    """The service to serve; the models that it names are those of the store service, where one is configured."""
    if not shared.service:
        return None
    if shared.store_url:
        from vtsserving._local_store.resolver import use_resolver
        from vtsserving._store_client.references import ReferenceModels

        use_resolver(ReferenceModels(shared.store_url, shared.token))
    loaded = load_service(shared.service)
    for tag, options in loaded.runner_options.items() if shared.store_url else ():
        names = sorted({"replicas", "threads", "device"} & options.keys())
        if names:
            # Runners elsewhere do not know this service; what they start, the store says.
            hint = (
                f"vtsserving models configure {tag} {' '.join(f'{n}={options[n]}' for n in names)} --remote"
            )
            _log.warning("runner_options_not_applied", extra={"model": tag, "run": hint})
    return loaded


def _catalog(shared: settings.SharedSettings) -> Catalog:
    """The store service's catalog where one is configured, else the local store's."""
    if shared.store_url:
        from vtsserving._store_client.catalog import StoreCatalog

        return StoreCatalog(shared.store_url, shared.token)
    return LocalCatalog(LocalStore(shared.home / "models" if shared.home is not None else None))


def main() -> int:
    """Run the service; returns the exit code."""
    return process.run("gateway", serve)
