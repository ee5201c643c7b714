"""Heartbeats on their way out: every process says so by itself that it is alive."""

from __future__ import annotations

import logging

from vtsserving._bus.interface import Bus
from vtsserving._wire import frames, subjects
from vtsserving._wire.vocabulary import BeatState
from vtsserving.exceptions import Unavailable

_log = logging.getLogger(__name__)


def send_beat(bus: Bus, beat: frames.Heartbeat) -> None:
    """Publish a heartbeat; one that the bus does not take is not missed, the next one follows."""
    try:
        bus.publish(subjects.heartbeat(beat.role), frames.encode(beat))
    except Unavailable:
        _log.debug("heartbeat_not_sent", extra={"role": beat.role, "reason": "the bus is down"})


def send_gateway_beat(bus: Bus, id: str, draining: bool, requests: int, in_flight: int, retries: int) -> None:
    """Publish the heartbeat of a gateway.

    Args:
        bus: to publish on.
        id: of the gateway.
        draining: whether it takes nothing new.
        requests: that it sent, parts of large ones counted each.
        in_flight: those that are not answered.
        retries: those that were sent again.
    """
    counters = {"requests": requests, "in_flight": in_flight, "retries": retries}
    state: BeatState = "draining" if draining else "ready"
    send_beat(bus, frames.Heartbeat("gateway", id, state, 0, [], counters))
