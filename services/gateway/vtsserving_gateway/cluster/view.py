"""Which models are loaded, on their way, or cannot be loaded, as the heartbeats of runners and batchers say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from vtsserving._bus.interface import Bus, Message, Subscription
from vtsserving._wire import frames, subjects
from vtsserving._wire.limits import DEAD_AFTER_S
from vtsserving._wire.model_reports import ModelReport, ready_tags
from vtsserving._wire.vocabulary import ModelStateName
from vtsserving.exceptions import ProtocolError

StateName = Literal["ready", "loading", "unloading", "failed", "not_loaded"]


class ModelStatus(NamedTuple):
    """How a model is.

    Attributes:
        name: `not_loaded` is that of a model whose first call loads it.
        reason: for people; empty when it is ready.
    """

    name: StateName
    reason: str


_REASONS: dict[ModelStateName, str] = {
    "loading": "it is being loaded",
    "unloading": "it is being unloaded",
    "failed": "it could not be loaded",
}
NOT_LOADED = ModelStatus("not_loaded", "not loaded; its first call loads it")
READY = ModelStatus("ready", "")


class ClusterView:
    """The runners and batchers that this gateway hears."""

    def __init__(self, bus: Bus, now_s: Callable[[], float]) -> None:
        """Prepare; `start` begins to listen.

        Args:
            bus: connected.
            now_s: monotonic clock, seconds.
        """
        self._bus = bus
        self._now_s = now_s
        self._runners: dict[str, tuple[float, frozenset[str]]] = {}
        self._batchers: dict[str, tuple[float, dict[str, ModelStatus]]] = {}
        self._subscriptions: list[Subscription] = []
        self.on_beat: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Listen to heartbeats."""
        for subject in (subjects.heartbeat("runner"), subjects.heartbeat("batcher")):
            self._subscriptions.append(await self._bus.subscribe(subject, self._on_heartbeat))

    async def close(self) -> None:
        """Listen no more."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.unsubscribe()

    def runners(self, tag: str) -> list[str]:
        """Ids of the live runners that have loaded `name:version`."""
        return [runner for runner, models in self._alive() if tag in models]

    def state(self, tag: str) -> ModelStatus:
        """How `name:version` is, as the last heartbeats say."""
        since_s = self._now_s() - DEAD_AFTER_S
        for last_seen_s, states in self._batchers.values():
            if last_seen_s >= since_s and tag in states:
                state = states[tag]
                if state.name == "unloading" or not self.runners(tag):
                    return state
        return READY if self.runners(tag) else NOT_LOADED

    @property
    def alive(self) -> int:
        """How many runners are alive."""
        return len(self._alive())

    def _alive(self) -> list[tuple[str, frozenset[str]]]:
        since_s = self._now_s() - DEAD_AFTER_S
        for runner in [id for id, (last_seen_s, _) in self._runners.items() if last_seen_s < since_s]:
            del self._runners[runner]
        return [(runner, models) for runner, (_, models) in self._runners.items()]

    def _on_heartbeat(self, message: Message) -> None:
        try:
            beat = frames.decode(message.payload)
        except ProtocolError:
            return
        since_s = self._now_s() - DEAD_AFTER_S
        if not isinstance(beat, frames.Heartbeat):
            return
        if beat.role == "runner" and subjects.is_id(beat.id):
            self._runners[beat.id] = (self._now_s(), ready_tags(beat.models))
            self.on_beat()
        elif beat.role == "batcher" and subjects.is_id(beat.id):
            self._batchers[beat.id] = (self._now_s(), _states_of(beat.models))
            for batcher in [id for id, (last_seen_s, _) in self._batchers.items() if last_seen_s < since_s]:
                del self._batchers[batcher]


def _states_of(reports: Iterable[ModelReport]) -> dict[str, ModelStatus]:
    """What a batcher's heartbeat says of models that are not simply loaded; states of a later release say nothing."""
    return {
        report.tag: ModelStatus(report.state, _text(report)) for report in reports if report.state in _REASONS
    }


def _text(report: ModelReport) -> str:
    said = _REASONS[report.state]
    return f"{said}: {report.reason}" if report.reason else said
