"""Who is alive: runners and batchers as their heartbeats show them, and which runner should load a model."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vtsserving._catalog import placement
from vtsserving._inference.rendezvous import rendezvous_hash
from vtsserving._inference.stall_detector import StallDetector
from vtsserving._wire.frames import Heartbeat, Traits
from vtsserving._wire.limits import DEAD_AFTER_S
from vtsserving._wire.model_reports import ready_tags


@dataclass
class RunnerInfo:
    """A runner as its last heartbeat shows it."""

    id: str
    last_seen_s: float
    ready: bool
    free_bytes: int
    models: frozenset[str]
    traits: frozenset[str] | None = None
    """What it has; None while it has not said so: then it is tried."""

    def fits(self, needs: Iterable[str]) -> bool:
        """Whether it has what a model needs."""
        return self.traits is None or self.traits.issuperset(needs)

    def holds_version_of(self, name: str) -> bool:
        """Whether any version of a model is loaded there."""
        return any(tag.partition(":")[0] == name for tag in self.models)


ENOUGH_OF_BEST: Final = 0.5
"""Runners with this part of the free memory of the best one count as equal to it: then the number of models decides."""


@dataclass
class Fleet:
    """The runners and the other batchers of the cluster."""

    own_id: str
    runners: dict[str, RunnerInfo] = field(default_factory=dict)
    batchers: dict[str, float] = field(default_factory=dict)
    traits: dict[str, frozenset[str]] = field(default_factory=dict)
    stalls: StallDetector = field(default_factory=StallDetector)

    def heartbeat(self, beat: Heartbeat, now_s: float) -> None:
        """Take in one heartbeat of a runner or of another batcher."""
        if beat.role == "runner":
            models, traits = ready_tags(beat.models), self.traits.get(beat.id)
            ready = beat.state != "draining"
            self.runners[beat.id] = RunnerInfo(beat.id, now_s, ready, beat.free_bytes, models, traits)
        elif beat.role == "batcher" and beat.id != self.own_id:
            if beat.state != "draining":
                self.batchers[beat.id] = now_s
            else:
                self.batchers.pop(beat.id, None)

    def learn(self, said: Traits) -> None:
        """Take in what a runner has; its heartbeat follows."""
        self.traits[said.id] = frozenset(said.traits)

    def touch_all(self, now_s: float) -> None:
        """Count all as heard now: nobody could be heard while the bus was down."""
        self.batchers = dict.fromkeys(self.batchers, now_s)
        for runner in self.runners.values():
            runner.last_seen_s = now_s
        self.stalls.touch(now_s)

    def evict_stale(self, now_s: float) -> list[str]:
        """Forget who was silent for too long; returns the runners among them. Called at least every heartbeat."""
        if self.stalls.stalled(now_s):
            self.touch_all(now_s)
        limit_s = now_s - DEAD_AFTER_S
        self.batchers = {
            id: last_seen_s for id, last_seen_s in self.batchers.items() if last_seen_s > limit_s
        }
        dead = [id for id, runner in self.runners.items() if runner.last_seen_s <= limit_s]
        for id in dead:
            del self.runners[id]
        self.traits = {id: traits for id, traits in self.traits.items() if id in self.runners}
        return dead

    def is_ready(self, runner: str) -> bool:
        """Whether a runner is alive and takes work."""
        known = self.runners.get(runner)
        return known is not None and known.ready

    def has_loaded(self, runner: str, tag: str) -> bool:
        """Whether a runner said that it has a model (`name:version`)."""
        known = self.runners.get(runner)
        return known is not None and tag in known.models

    def owns(self, tag: str, *, draining: bool) -> bool:
        """Whether this batcher is the one that should hold the credits of a model."""
        if not self.batchers:
            return True
        return not draining and rendezvous_hash(tag, (self.own_id, *self.batchers)) == self.own_id

    def choose(self, tag: str, needs: Sequence[str] = (), without: Container[str] = ()) -> str | None:
        """The runner that should load a model: one that has it, else one with much free memory and few models.

        Args:
            tag: `name:version` of the model.
            needs: what the runner must have.
            without: ids of runners that failed to load it or hold it already.

        Returns:
            Its id; None when no runner is left.
        """
        fitting = [runner for runner in self.fitting(needs) if runner.id not in without]
        if not fitting:
            return None
        enough_bytes = ENOUGH_OF_BEST * max(runner.free_bytes for runner in fitting)

        def rank(runner: RunnerInfo) -> tuple[bool, bool, int, int, str]:
            is_roomy = runner.free_bytes >= enough_bytes
            return (tag in runner.models, is_roomy, -len(runner.models), runner.free_bytes, runner.id)

        return max(fitting, key=rank).id

    def fitting(self, needs: Sequence[str]) -> list[RunnerInfo]:
        """The runners that take work and have what a model needs."""
        return [runner for runner in self.runners.values() if runner.ready and runner.fits(needs)]

    def missing(self, needs: Sequence[str]) -> str:
        """Why none of the runners can hold a model, as the end of a sentence; empty if one can, or if there is none."""
        ready = [runner for runner in self.runners.values() if runner.ready]
        if not ready or any(runner.fits(needs) for runner in ready):
            return ""
        return placement.missing(needs, [runner.traits or frozenset() for runner in ready])
