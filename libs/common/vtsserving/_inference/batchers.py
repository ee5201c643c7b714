"""The batchers that a gateway hears of, and which of them gets a model's requests."""

from __future__ import annotations

from typing import Final

from vtsserving._inference.rendezvous import rendezvous_hash
from vtsserving._inference.stall_detector import StallDetector
from vtsserving._recent import RecentDict
from vtsserving._wire.limits import DEAD_AFTER_S

_MAX_REMEMBERED: Final = 4_096


class Batchers:
    """Live batchers by their heartbeats."""

    def __init__(self) -> None:
        """Start without any."""
        self._last_seen_s: dict[str, float] = {}
        self._leaving_s: dict[str, float] = {}
        self._owners: RecentDict[str, str] = RecentDict(_MAX_REMEMBERED)
        self._stalls = StallDetector()

    def __len__(self) -> int:
        """How many take requests."""
        return len(self._last_seen_s)

    def ids(self) -> list[str]:
        """Those who take requests."""
        return list(self._last_seen_s)

    def heartbeat(self, id: str, is_ready: bool, now_s: float) -> bool:
        """Take in one heartbeat; returns whether the set of batchers changed."""
        if not is_ready:
            known = self.remove(id)
            self._leaving_s[id] = now_s
            return known
        is_new = id not in self._last_seen_s
        self._last_seen_s[id] = now_s
        self._leaving_s.pop(id, None)
        if is_new:
            self._owners.clear()
        return is_new

    def remove(self, id: str) -> bool:
        """Send nothing more to a batcher until it is ready again; returns whether it was known.

        What it has may still be answered: it is dead only when it is silent.
        """
        self._owners.clear()
        last_seen_s = self._last_seen_s.pop(id, None)
        if last_seen_s is not None:
            self._leaving_s[id] = last_seen_s
        return last_seen_s is not None

    def touch_all(self, now_s: float) -> None:
        """Count all as heard now: nobody could be heard while the bus was down."""
        self._last_seen_s = dict.fromkeys(self._last_seen_s, now_s)
        self._leaving_s = dict.fromkeys(self._leaving_s, now_s)
        self._stalls.touch(now_s)

    def evict_stale(self, now_s: float) -> frozenset[str]:
        """Forget those who were silent for too long; returns them. Called at least every heartbeat."""
        if self._stalls.stalled(now_s):
            self.touch_all(now_s)
        everybody = (*self._last_seen_s.items(), *self._leaving_s.items())
        dead = frozenset(id for id, last_seen_s in everybody if now_s - last_seen_s > DEAD_AFTER_S)
        for id in dead:
            self.remove(id)
            del self._leaving_s[id]
        return dead

    def owner(self, tag: str) -> str | None:
        """The batcher for a model (`name:version`); None when none is alive."""
        found = self._owners.get(tag)
        if found is None and self._last_seen_s:
            found = self._owners[tag] = rendezvous_hash(tag, self._last_seen_s)
        return found
