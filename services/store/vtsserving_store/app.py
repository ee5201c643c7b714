"""The store service: opens the storage, checks it, serves the HTTP API, drains."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from anyio.to_thread import run_sync
from fastapi import FastAPI

from vtsserving._bus.interface import Bus
from vtsserving._http.server import HttpServer
from vtsserving._runtime import process
from vtsserving._runtime.http_head import add_head
from vtsserving._runtime.listening import listen
from vtsserving._runtime.settings import SharedSettings, read
from vtsserving.exceptions import BusUnavailable, Forbidden, VtsServingException
from vtsserving.version import __version__
from vtsserving_store.components import StoreComponents
from vtsserving_store.http.dependencies import RouteContext
from vtsserving_store.http.errors import add_error_handlers
from vtsserving_store.http.host import StoreHost, exchange_for
from vtsserving_store.http.metrics import StoreMetrics, StoreMetricsMiddleware
from vtsserving_store.http.routes import admin as routes_admin
from vtsserving_store.http.routes import aliases as routes_aliases
from vtsserving_store.http.routes import blobs as routes_blobs
from vtsserving_store.http.routes import health as routes_health
from vtsserving_store.http.routes import models as routes_models
from vtsserving_store.http.routes import records as routes_records
from vtsserving_store.http.routes import settings as routes_settings
from vtsserving_store.http.routes import uploads as routes_uploads
from vtsserving_store.http.routes.health import Readiness
from vtsserving_store.objects.probe import open_storage, probe
from vtsserving_store.pages import routes as routes_pages
from vtsserving_store.registry.changes import Changes
from vtsserving_store.settings import StoreSettings, read_settings

_log = logging.getLogger(__name__)
_BACKLOG: Final = 512
_JOIN_AGAIN_S: Final = 0.1

Connect = Callable[[], Awaitable[Bus | None]]
"""Gives the bus when it is there; None when the process is to stop instead."""


class StoreApp:
    """The service, from start to close."""

    def __init__(self, settings: StoreSettings, connect: Connect | None = None) -> None:
        """Prepare it; nothing is opened yet.

        Args:
            settings: where the models are, where to listen.
            connect: returns the bus over which changes are announced, if there is to be one.
        """
        self._settings = settings
        self._connect = connect
        self._bus: Bus | None = None
        self._joining: asyncio.Task[None] | None = None
        self._parts: StoreComponents | None = None
        self._changes: Changes | None = None
        self._readiness: Readiness | None = None
        self._server: HttpServer | None = None
        self.port = settings.store.port

    async def start(self) -> None:
        """Open and check the storage, then the port.

        Raises:
            ConfigurationError: no storage is configured, or the port is taken.
            StorageError: the storage would let models be overwritten.
            StoreUnavailable: it does not answer.
        """
        settings = self._settings
        objects = await run_sync(open_storage, settings)
        await run_sync(probe, objects)
        self._parts = parts = StoreComponents.on(objects, settings)
        self._changes = changes = Changes(parts.index.invalidate)
        changes.start()
        if self._connect is not None:
            self._joining = asyncio.get_running_loop().create_task(self._join(self._connect, changes))
        parts.index.warm_up()
        self._readiness = Readiness(objects)
        listener = listen(settings.store.host, settings.store.port, backlog=_BACKLOG)
        self.port = listener.getsockname()[1]
        metrics = StoreMetrics()
        app = create_app(RouteContext(parts, changes, settings), self._readiness, metrics)
        host, drain_s = StoreHost(settings.store), settings.store.drain_s
        self._server = HttpServer(
            StoreMetricsMiddleware(app, metrics), host, exchange_for, listener, drain_s=drain_s
        )
        await self._server.start()
        where = {"host": settings.store.host, "port": self.port, "storage": objects.describe()}
        _log.info("store_started", extra={**where, "needs_token": settings.needs_token})

    async def drain(self) -> None:
        """Finish what was begun, take nothing new."""
        if self._readiness is not None:
            self._readiness.draining = True
        if self._changes is not None:
            await self._changes.close()
        if self._server is not None:
            await self._server.close()

    async def close(self) -> None:
        """Stop at once and close the storage."""
        if self._joining is not None:
            self._joining.cancel()
        if self._changes is not None:
            await self._changes.close()
        if self._server is not None:
            self._server.force_exit = True
            await self._server.close()
        if self._parts is not None:
            await run_sync(self._parts.close)
            self._parts = None
        if self._bus is not None:
            await self._bus.close()
            self._bus = None

    async def _join(self, connect: Connect, changes: Changes) -> None:
        """Announce changes over the bus as soon as it is there; models are stored and given out without it."""
        self._bus = bus = await connect()
        while bus is not None:
            try:
                return await changes.join(bus)
            except BusUnavailable:
                await asyncio.sleep(_JOIN_AGAIN_S)
            except Forbidden:
                return  # The connection has stopped the service, and says why.


def create_app(context: RouteContext, readiness: Readiness, metrics: StoreMetrics) -> FastAPI:
    """The HTTP application.

    Args:
        context: what routes work on.
        readiness: for `/readyz`.
        metrics: for `/metrics`.
    """
    app = FastAPI(
        title="VtsServing store",
        version=__version__,
        description="Models, their versions, aliases, labels and files.",
        docs_url="/docs",
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.context = context
    app.state.readiness = readiness
    app.state.metrics = metrics
    modules = (
        routes_health,
        routes_models,
        routes_records,
        routes_settings,
        routes_pages,
        routes_aliases,
        routes_blobs,
        routes_uploads,
        routes_admin,
    )
    for module in modules:
        app.include_router(module.router)
    routes = [route for module in modules for route in module.router.routes]
    add_head(app, routes)
    add_error_handlers(app, routes)
    app.add_exception_handler(routes_pages.PageError, routes_pages.show_problem)
    return app


async def serve(
    settings: StoreSettings,
    stop: process.Stop | None = None,
    on_ready: Callable[[int], None] | None = None,
) -> None:
    """Run the store until a stop signal.

    Args:
        settings: of the service.
        stop: ends it; by default SIGTERM and SIGINT do.
        on_ready: called with the port when it serves.
    """
    stopping = stop or process.stop_event()
    app = StoreApp(settings, functools.partial(_bus, stopping) if settings.nats_url else None)
    ready = None if on_ready is None else lambda: on_ready(app.port)
    # A push passes through in parts of 8 MiB: what is kept of them would be most of the store's memory, and its time is
    # the storage's.
    await process.serve_until(app, stopping, ready, keeps_freed_memory=False)


async def _bus(stop: process.Stop) -> Bus | None:
    """The bus, however long it takes; None when the store is to stop, because the bus refuses it perhaps."""
    try:
        return await process.connect(read(SharedSettings), "vtsserving-store", stop)
    except VtsServingException as error:
        stop.failure = error
        stop.set()
        return None


def main() -> int:
    """Run the service; returns the exit code."""

    async def life(stop: process.Stop) -> None:
        await serve(read_settings(), stop)

    return process.run("store", life)
