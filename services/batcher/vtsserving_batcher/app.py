"""The batcher: joins requests of many gateways into batches for the runners. Reads as start, run, drain."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from vtsserving._bus.interface import Bus, Message, Subscription
from vtsserving._inference.heartbeats import send_beat
from vtsserving._runtime import process, settings
from vtsserving._runtime.health import HealthServer
from vtsserving._wire import frames, subjects
from vtsserving._wire.limits import HEARTBEAT_S
from vtsserving._wire.vocabulary import BeatState, EventName
from vtsserving.exceptions import ProtocolError
from vtsserving_batcher import metrics
from vtsserving_batcher.answers import Answers
from vtsserving_batcher.dispatch import Dispatcher
from vtsserving_batcher.fleet import Fleet
from vtsserving_batcher.intake import RequestIntake
from vtsserving_batcher.loading import Loading
from vtsserving_batcher.orders import OrderHandler
from vtsserving_batcher.prepare_handler import PrepareHandler
from vtsserving_batcher.settings import BatcherSettings

_log = logging.getLogger(__name__)

SWEEP_S = 0.1


class BatcherApp:
    """One batcher on a bus. Create it inside of a running event loop."""

    def __init__(self, bus: Bus, settings: BatcherSettings) -> None:
        """Wire the parts; nothing is sent before `start`.

        Args:
            bus: connected; whoever made it closes it.
            settings: see BatcherSettings.
        """
        self.id = subjects.new_id()
        self._bus = bus
        self._settings = settings
        self.counters = metrics.BatcherCounters()
        self._fleet = Fleet(self.id)
        answers = Answers(bus, self.counters)
        loading = Loading(bus, self.id, self._fleet, settings)
        self._dispatcher = Dispatcher(bus, self.id, self._fleet, loading, answers, self.counters)
        self._orders = OrderHandler(bus, self.id, self._fleet, self._dispatcher, answers, self._beat)
        prepares = PrepareHandler(self._dispatcher, loading)
        self._intake = RequestIntake(
            self._dispatcher, self._orders, prepares, answers, self.counters, settings
        )
        self.exposition: Callable[[], bytes] = metrics.exposition(self.counters, self._dispatcher.depth)
        self._loop = asyncio.get_running_loop()
        self._inbox: Subscription | None = None
        self._subscriptions: list[Subscription] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._events: dict[EventName, Callable[[frames.Event], None]] = {
            "credit": self._dispatcher.granted,
            "done": self._dispatcher.done,
            "nack": self._dispatcher.nacked,
            "gone": self._dispatcher.gone,
            "failed": self._dispatcher.load_failed,
            "unloaded": self._orders.unloaded,
            "reconnected": lambda event: self._dispatcher.reconnected(),
        }

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return self._inbox is not None and self._bus.connected and not self._dispatcher.draining

    def depth(self) -> tuple[int, int]:
        """(entries that wait, batches in flight)."""
        return self._dispatcher.depth()

    async def start(self) -> None:
        """Listen, then say that this batcher is there."""
        self._bus.on_state(self._on_bus_state)
        for subject, handler in (
            (subjects.batcher_event(self.id), self._on_event),
            (subjects.heartbeat("runner"), self._on_heartbeat),
            (subjects.heartbeat("batcher"), self._on_heartbeat),
        ):
            self._subscriptions.append(await self._bus.subscribe(subject, handler))
        self._inbox = await self._bus.subscribe(subjects.batcher_in(self.id), self._intake.handle)
        self._every(HEARTBEAT_S, self._beat)
        self._every(SWEEP_S, self._sweep)

    async def drain(self) -> None:
        """Take nothing new, finish what waits and what is in flight; at most `drain_s` seconds."""
        self._dispatcher.draining = True
        self._beat()
        if self._inbox is not None:
            await self._inbox.drain()
        deadline_s = self._loop.time() + self._settings.drain_s
        # An event would have to be set on the path of every batch.
        while self._dispatcher.busy and self._loop.time() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Stop at once."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        if self._inbox is not None:
            await self._inbox.unsubscribe()

    def _on_event(self, message: Message) -> None:
        try:
            event = frames.decode_as(frames.Event, message.payload)
        except ProtocolError as error:
            self.counters.bad_frames += 1
            _log.warning("bad_event", extra={"code": error.code, "reason": error.message})
            return
        handler = self._events.get(event.event)
        if handler is not None:
            handler(event)
            if event.event != "done":
                self._orders.announce_changes()

    def _on_heartbeat(self, message: Message) -> None:
        try:
            beat = frames.decode(message.payload)
        except ProtocolError:
            self.counters.bad_frames += 1
            return
        if not isinstance(beat, (frames.Heartbeat, frames.Traits)) or not subjects.is_id(beat.id):
            self.counters.bad_frames += 1
            return
        if isinstance(beat, frames.Traits):
            self._fleet.learn(beat)
            return
        is_new = beat.role == "runner" and beat.id not in self._fleet.runners
        self._fleet.heartbeat(beat, self._loop.time())
        if is_new:
            self._sweep()

    def _on_bus_state(self, connected: bool) -> None:
        if connected:
            self._fleet.touch_all(self._loop.time())
            self._beat("reconnected")
            self._dispatcher.reconnected()

    def _beat(self, state: BeatState = "ready") -> None:
        if self._dispatcher.draining:
            state = "draining"
        waiting, in_flight = self._dispatcher.depth()
        counters = {"waiting": waiting, "in_flight": in_flight, **self.counters.totals()}
        send_beat(self._bus, frames.Heartbeat("batcher", self.id, state, 0, self._orders.reports(), counters))

    def _sweep(self) -> None:
        if not self._bus.connected:
            return
        for runner in self._fleet.evict_stale(self._loop.time()):
            _log.warning("runner_lost", extra={"runner": runner})
            self._dispatcher.runner_lost(runner)
        self._dispatcher.sweep()
        self._orders.sweep()

    def _every(self, interval_s: float, action: Callable[[], None]) -> None:
        """Run `action` now and then every `interval_s` seconds; an error in it is logged and does not end it."""
        slot = len(self._timers)
        self._timers.append(self._loop.call_soon(lambda: None))  # type: ignore[arg-type]

        def tick() -> None:
            self._timers[slot] = self._loop.call_later(interval_s, tick)
            try:
                action()
            except Exception:
                _log.exception("housekeeping_failed")

        tick()


async def serve(stop: process.Stop) -> None:
    """Run a batcher over NATS until `stop` is set."""
    own = settings.read(BatcherSettings)
    bus = await process.connect(settings.read(settings.SharedSettings), "vtsserving-batcher", stop)
    if bus is None:
        return
    app = BatcherApp(bus, own)
    health = HealthServer(own.host, own.port, lambda: app.ready, app.exposition)
    await health.start()
    try:
        await process.serve_until(app, stop)
        await bus.drain()
    finally:
        await health.close()
        await bus.close()


def main() -> int:
    """Run the service; returns the exit code."""
    return process.run("batcher", serve)
