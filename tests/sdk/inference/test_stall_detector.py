"""Whoever stood still takes nobody for dead because of what it did not hear meanwhile."""

from __future__ import annotations

import pytest

from vtsserving._inference.batchers import Batchers
from vtsserving._wire.frames import Heartbeat
from vtsserving._wire.limits import DEAD_AFTER_S, HEARTBEAT_S
from vtsserving._wire.model_reports import ModelReport
from vtsserving_batcher.fleet import Fleet

pytestmark = pytest.mark.fast

RUNNER = "1" * 16
BATCHER = "2" * 16
PAUSE_S = 2 * DEAD_AFTER_S


def looks(until_s: float, since_s: float = 0.0) -> list[float]:
    """When somebody looks who is well, from `since_s` until `until_s`."""
    count = round((until_s - since_s) / HEARTBEAT_S)
    return [since_s + HEARTBEAT_S * number for number in range(1, count + 1)]


def test_a_batcher_that_stood_still_buries_only_runners_that_are_silent_afterwards() -> None:
    fleet = Fleet("0" * 16)
    fleet.evict_stale(0.0)
    fleet.heartbeat(Heartbeat("runner", RUNNER, "ready", 0, [ModelReport("iris:1", "ready")], {}), 0.0)
    assert fleet.evict_stale(PAUSE_S) == []
    buried = {
        now_s: fleet.evict_stale(now_s) for now_s in looks(PAUSE_S + DEAD_AFTER_S + HEARTBEAT_S, PAUSE_S)
    }
    assert [now_s - PAUSE_S for now_s, dead in buried.items() if dead == [RUNNER]] == [DEAD_AFTER_S]


def test_a_gateway_that_stood_still_buries_only_batchers_that_are_silent_afterwards() -> None:
    batchers = Batchers()
    batchers.evict_stale(0.0)
    batchers.heartbeat(BATCHER, True, 0.0)
    assert batchers.evict_stale(PAUSE_S) == frozenset()
    buried = {now_s: batchers.evict_stale(now_s) for now_s in looks(PAUSE_S + 2 * DEAD_AFTER_S, PAUSE_S)}
    first_s = min(now_s for now_s, dead in buried.items() if dead == {BATCHER})
    assert DEAD_AFTER_S < first_s - PAUSE_S <= DEAD_AFTER_S + HEARTBEAT_S


def test_silence_is_death_to_those_who_look_on() -> None:
    fleet = Fleet("0" * 16)
    fleet.evict_stale(0.0)
    fleet.heartbeat(Heartbeat("runner", RUNNER, "ready", 0, [ModelReport("iris:1", "ready")], {}), 0.0)
    buried = {now_s: fleet.evict_stale(now_s) for now_s in looks(2 * DEAD_AFTER_S)}
    assert [now_s for now_s, dead in buried.items() if dead == [RUNNER]] == [DEAD_AFTER_S]
