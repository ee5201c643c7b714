"""The runner: computes batches with the models it holds. Reads as start, run, drain."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterable
from typing import Final

from vtsserving._bus.interface import Bus, Subscription
from vtsserving._catalog.catalog import Catalog, LocalCatalog
from vtsserving._catalog.placement import traits_of
from vtsserving._inference.heartbeats import send_beat
from vtsserving._local_store.home import home
from vtsserving._local_store.store import LocalStore
from vtsserving._runtime import process, settings
from vtsserving._runtime.health import HealthServer
from vtsserving._wire import frames, subjects
from vtsserving._wire.limits import HEARTBEAT_S
from vtsserving._wire.vocabulary import BeatState
from vtsserving.exceptions import Unavailable, VtsServingException
from vtsserving_runner import metrics
from vtsserving_runner.intake import BatchIntake
from vtsserving_runner.models.memory import free_bytes
from vtsserving_runner.models.models import Models
from vtsserving_runner.models.source import LocalSource, ModelSource
from vtsserving_runner.process.devices import visible_gpus
from vtsserving_runner.publish.publisher import ModelId, Publisher
from vtsserving_runner.settings import RunnerSettings

_log = logging.getLogger(__name__)


PRELOAD_AGAIN_S: Final = 5.0
"""When a patient runner tries a model again that could not be preloaded."""


class RunnerApp:
    """One runner on a bus. Create it inside of a running event loop.

    Attributes:
        id: of this runner on the bus.
        counters: what was counted so far.
        exposition: renders the metrics.
    """

    def __init__(
        self,
        bus: Bus,
        source: ModelSource,
        own: RunnerSettings,
        catalog: Catalog | None = None,
        *,
        patient: bool = False,
    ) -> None:
        """Wire the parts; nothing is sent before `start`.

        Args:
            bus: connected; whoever made it closes it.
            source: where models' files come from.
            own: see RunnerSettings.
            catalog: resolves the tags of `preload`; not needed otherwise.
            patient: whether `start` leaves preloading to the background, where it is repeated until it works.
        """
        self.id = subjects.new_id()
        self.counters = metrics.RunnerCounters()
        self._bus = bus
        self._settings = own
        self._catalog = catalog
        self._publisher = publisher = Publisher(bus, self.id, self.counters)
        self._models = Models(source, publisher, self.counters, own, self._beat)
        self._intake = BatchIntake(self._models, publisher, self.counters)
        self.exposition = metrics.exposition(self.counters, self._models.figures)
        self._traits = frames.encode(frames.Traits(self.id, traits_of(visible_gpus(os.environ))))
        self._loop = asyncio.get_running_loop()
        self._subscriptions: list[Subscription] = []
        self._timer: asyncio.TimerHandle | None = None
        self._patient = patient
        self._preloading: asyncio.Task[None] | None = None
        self._started = False

    @property
    def ready(self) -> bool:
        """Whether batches are taken and everything in `preload` is warm."""
        return self._started and self._bus.connected and not self._intake.draining

    async def start(self) -> None:
        """Listen, say that this runner is there, load what `settings.preload` names.

        Raises:
            VtsServingException: a model to be preloaded cannot be loaded; never if patient.
        """
        self._bus.on_state(self._on_bus_state)
        for subject, handler in (
            (subjects.runner_batch(self.id), self._intake.handle),
            (subjects.runner_control(self.id), self._models.handle),
            (subjects.runner_unrouted(self.id), self._publisher.unrouted),
        ):
            self._subscriptions.append(await self._bus.subscribe(subject, handler))
        self._tick()
        if self._patient:
            self._preloading = self._loop.create_task(self._preload_until_warm())
        else:
            await self.preload(self._settings.preload)
            self._started = True

    async def _preload_until_warm(self) -> None:
        while not self._started:
            try:
                await self.preload(self._settings.preload)
                self._started = True
            except VtsServingException as error:
                _log.warning("not_preloaded", extra={"code": error.code, "reason": error.message})
                await asyncio.sleep(PRELOAD_AGAIN_S)

    async def preload(self, tags: Iterable[str]) -> None:
        """Load models before anybody asks; returns when all are warm.

        Args:
            tags: as users write them.

        Raises:
            ModelLoadFailed: one cannot be loaded; the message has the reason.
            ModelNotFound: there is none.
            StoreUnavailable: it cannot be looked up now.
        """
        ids = [await self._resolve(tag) for tag in tags]
        await asyncio.gather(*(self._models.preload(id) for id in ids))

    def unload(self, digest: str) -> None:
        """Finish the batches of a model and end its processes."""
        self._models.unload(digest)

    async def drain(self) -> None:
        """Take nothing new, answer what was taken, at most `drain_s` seconds."""
        self._intake.draining = True
        self._models.draining = True
        self._beat()
        try:
            await asyncio.wait_for(self._models.finish(), self._settings.drain_s)
        except asyncio.TimeoutError:
            _log.warning("drain_incomplete", extra={"drain_s": self._settings.drain_s})
        try:
            await self._bus.flush()
        except Unavailable:
            _log.warning("drained_without_bus")

    async def close(self) -> None:
        """Stop at once; model processes end."""
        self._intake.draining = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._preloading is not None:
            self._preloading.cancel()
            await asyncio.gather(self._preloading, return_exceptions=True)
        subscriptions, self._subscriptions = self._subscriptions, []
        await asyncio.gather(*(s.unsubscribe() for s in subscriptions), return_exceptions=True)
        await self._models.close()

    async def _resolve(self, tag: str) -> ModelId:
        assert self._catalog is not None, "preloading needs a catalog"
        entry = await self._catalog.resolve(tag)
        return ModelId(entry.name, entry.version, entry.digest)

    def _on_bus_state(self, connected: bool) -> None:
        if connected and self._timer is not None:
            self._beat()
            self._models.reconnected()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(HEARTBEAT_S, self._tick)
        self._models.sweep()
        self._beat()

    def _beat(self) -> None:
        """Say that this runner is alive and what it has loaded."""
        if self._timer is None:
            return
        state: BeatState = "draining" if self._intake.draining else "ready"
        reports, totals = self._models.reports(), self.counters.totals()
        beat = frames.Heartbeat("runner", self.id, state, self._free_bytes(), reports, totals)
        try:
            self._bus.publish(subjects.heartbeat("runner"), self._traits)
        except Unavailable:
            return
        send_beat(self._bus, beat)

    def _free_bytes(self) -> int:
        """What models may still take: of the machine, and of this runner's own limit."""
        limit_bytes = self._settings.memory_limit_bytes
        left_bytes = free_bytes()
        return max(0, min(left_bytes, limit_bytes - self._models.rss_bytes)) if limit_bytes else left_bytes


async def serve(stop: process.Stop) -> None:
    """Run a runner over NATS until `stop` is set."""
    own, shared = settings.read(RunnerSettings), settings.read(settings.SharedSettings)
    bus = await process.connect(shared, "vtsserving-runner", stop)
    if bus is None:
        return
    source, catalog = await asyncio.to_thread(_models, shared)
    app = RunnerApp(bus, source, own, catalog, patient=True)
    health = HealthServer(own.host, own.port, lambda: app.ready, app.exposition)
    await health.start()
    try:
        await process.serve_until(app, stop)
        await bus.drain()
    finally:
        await health.close()
        await bus.close()


def _models(shared: settings.SharedSettings) -> tuple[ModelSource, Catalog]:
    """The store service with a cache on this disk where one is configured, else the local store."""
    if shared.store_url:
        from vtsserving._store_client.catalog import StoreCatalog
        from vtsserving_runner.models.cache import StoreSource

        cache = (shared.home or home()) / "cache"
        source = StoreSource(shared.store_url, cache, token=shared.token)
        return source, StoreCatalog(shared.store_url, shared.token)
    store = LocalStore(shared.home / "models" if shared.home is not None else None)
    return LocalSource(store), LocalCatalog(store)


def main() -> int:
    """Run the service; returns the exit code."""
    return process.run("runner", serve)
