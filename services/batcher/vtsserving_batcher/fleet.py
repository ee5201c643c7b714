"""Who is alive: runners and batchers as their heartbeats show them, and which runner should load a model."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from vtsserving.inference.ownership import owner
from vtsserving.wire.frames import Heartbeat
from vtsserving.wire.limits import DEAD_AFTER_S


@dataclass
class Runner:
    """A runner as its last heartbeat shows it."""

    id: str
    heard_s: float
    ready: bool
    free_bytes: int
    models: frozenset[str]


@dataclass
class Fleet:
    """The runners and the other batchers of the cluster."""

    own_id: str
    runners: dict[str, Runner] = field(default_factory=dict)
    batchers: dict[str, float] = field(default_factory=dict)

    def hear(self, beat: Heartbeat, now_s: float) -> None:
        """Take in one heartbeat of a runner or of another batcher."""
        if beat.role == "runner":
            models = frozenset(beat.models)
            self.runners[beat.id] = Runner(beat.id, now_s, beat.state != "draining", beat.free_bytes, models)
        elif beat.role == "batcher" and beat.id != self.own_id:
            if beat.state != "draining":
                self.batchers[beat.id] = now_s
            else:
                self.batchers.pop(beat.id, None)

    def refresh(self, now_s: float) -> None:
        """Count all as heard now: nobody could be heard while the bus was down."""
        self.batchers = dict.fromkeys(self.batchers, now_s)
        for runner in self.runners.values():
            runner.heard_s = now_s

    def bury(self, now_s: float) -> list[str]:
        """Forget who was silent for too long; returns the ids of the runners among them."""
        limit_s = now_s - DEAD_AFTER_S
        self.batchers = {id: heard_s for id, heard_s in self.batchers.items() if heard_s > limit_s}
        dead = [id for id, runner in self.runners.items() if runner.heard_s <= limit_s]
        for id in dead:
            del self.runners[id]
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
        return not draining and owner(tag, (self.own_id, *self.batchers)) == self.own_id

    def choose(self, tag: str, without: Container[str]) -> str | None:
        """The runner that should load a model: one that has it, else the one with most free memory.

        Args:
            tag: `name:version` of the model.
            without: ids of runners that failed to load it or are asked already.

        Returns:
            Its id; None when no runner is left.
        """
        fitting = [runner for runner in self.runners.values() if runner.ready and runner.id not in without]
        if not fitting:
            return None
        return max(fitting, key=lambda runner: (tag in runner.models, runner.free_bytes, runner.id)).id
