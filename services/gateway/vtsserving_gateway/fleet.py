"""Which models the runners have loaded, as their heartbeats say."""

from __future__ import annotations

from collections.abc import Callable, Collection

from vtsserving.bus.interface import Bus, Message, Subscription
from vtsserving.exceptions import ProtocolError
from vtsserving.wire import frames, subjects
from vtsserving.wire.limits import DEAD_AFTER_S


class Fleet:
    """The runners that this gateway hears."""

    def __init__(self, bus: Bus, now_s: Callable[[], float]) -> None:
        """Prepare; `start` begins to listen.

        Args:
            bus: connected.
            now_s: monotonic clock, seconds.
        """
        self._bus = bus
        self._now_s = now_s
        self._heard: dict[str, tuple[float, frozenset[str]]] = {}
        self._subscription: Subscription | None = None

    async def start(self) -> None:
        """Listen to the runners' heartbeats."""
        self._subscription = await self._bus.subscribe(subjects.heartbeat("runner"), self._on_heartbeat)

    async def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None

    def runners(self, tag: str) -> list[str]:
        """Ids of the live runners that have loaded `name:version`."""
        return [runner for runner, models in self._alive() if tag in models]

    def has_all(self, tags: Collection[str]) -> bool:
        """Whether each of the tags is loaded somewhere."""
        loaded = frozenset[str]().union(*(models for _, models in self._alive()))
        return loaded.issuperset(tags)

    @property
    def alive(self) -> int:
        """How many runners are alive."""
        return len(self._alive())

    def _alive(self) -> list[tuple[str, frozenset[str]]]:
        since_s = self._now_s() - DEAD_AFTER_S
        for runner in [id for id, (heard_s, _) in self._heard.items() if heard_s < since_s]:
            del self._heard[runner]
        return [(runner, models) for runner, (_, models) in self._heard.items()]

    def _on_heartbeat(self, message: Message) -> None:
        try:
            beat = frames.decode_as(frames.Heartbeat, message.payload)
        except ProtocolError:
            return
        if beat.role == "runner" and subjects.is_id(beat.id):
            self._heard[beat.id] = (self._now_s(), frozenset(beat.models))
