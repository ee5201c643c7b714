"""The batchers that a gateway hears of, and which of them gets a model's requests."""

from __future__ import annotations

from typing import Final

from vtsserving._inference.rendezvous import owner
from vtsserving._inference.stall_detector import Pauses
from vtsserving._wire.limits import DEAD_AFTER_S

_MAX_REMEMBERED: Final = 4_096


class Batchers:
    """Live batchers by their heartbeats."""

    def __init__(self) -> None:
        """Start without any."""
        self._heard_s: dict[str, float] = {}
        self._leaving_s: dict[str, float] = {}
        self._owners: dict[str, str] = {}
        self._pauses = Pauses()

    def __len__(self) -> int:
        """How many take requests."""
        return len(self._heard_s)

    def ids(self) -> list[str]:
        """Those who take requests."""
        return list(self._heard_s)

    def hear(self, id: str, is_ready: bool, now_s: float) -> bool:
        """Take in one heartbeat; returns whether the set of batchers changed."""
        if not is_ready:
            known = self.forget(id)
            self._leaving_s[id] = now_s
            return known
        is_new = id not in self._heard_s
        self._heard_s[id] = now_s
        self._leaving_s.pop(id, None)
        if is_new:
            self._owners.clear()
        return is_new

    def forget(self, id: str) -> bool:
        """Send nothing more to a batcher until it is ready again; returns whether it was known.

        What it has may still be answered: it is dead only when it is silent.
        """
        self._owners.clear()
        heard_s = self._heard_s.pop(id, None)
        if heard_s is not None:
            self._leaving_s[id] = heard_s
        return heard_s is not None

    def refresh(self, now_s: float) -> None:
        """Count all as heard now: nobody could be heard while the bus was down."""
        self._heard_s = dict.fromkeys(self._heard_s, now_s)
        self._leaving_s = dict.fromkeys(self._leaving_s, now_s)
        self._pauses.look(now_s)

    def bury(self, now_s: float) -> frozenset[str]:
        """Forget those who were silent for too long; returns them. Called at least every heartbeat."""
        if self._pauses.stood_still(now_s):
            self.refresh(now_s)
        everybody = (*self._heard_s.items(), *self._leaving_s.items())
        dead = frozenset(id for id, heard_s in everybody if now_s - heard_s > DEAD_AFTER_S)
        for id in dead:
            self.forget(id)
            del self._leaving_s[id]
        return dead

    def owner(self, tag: str) -> str | None:
        """The batcher for a model (`name:version`); None when none is alive."""
        found = self._owners.get(tag)
        if found is None and self._heard_s:
            if len(self._owners) >= _MAX_REMEMBERED:
                self._owners.clear()
            found = self._owners[tag] = owner(tag, self._heard_s)
        return found
