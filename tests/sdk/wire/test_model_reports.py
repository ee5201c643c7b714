"""What batchers say of models in their heartbeats, and the words of frames."""

from __future__ import annotations

import asyncio
from typing import get_args

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._bus.inprocess import InProcessBus
from vtsserving._wire import frames, subjects
from vtsserving._wire.limits import MAX_COUNTERS, MAX_REASON_CHARS
from vtsserving._wire.model_reports import (
    ModelReport,
    one_line,
    pack_counters,
    pack_reports,
    unpack_counters,
    unpack_reports,
)
from vtsserving._wire.vocabulary import EventName, ModelStateName
from vtsserving.exceptions import BadFrame
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_gateway.cluster.view import NOT_LOADED, ClusterView, ModelStatus

counts = st.dictionaries(st.text(min_size=1, max_size=16), st.integers(0, 2**64 - 1), max_size=8)


@given(st.sampled_from(get_args(ModelStateName)), st.text(max_size=400), st.integers(0, 256), counts)
def test_a_report_is_read_as_it_was_written_with_its_reason_on_one_line(
    state: ModelStateName, reason: str, replicas: int, counters: dict[str, int]
) -> None:
    sent = ModelReport("iris:1", state, reason, replicas, counters)
    (read,) = unpack_reports(pack_reports([sent]))
    assert read == sent._replace(reason=one_line(reason))
    assert len(read.reason) <= MAX_REASON_CHARS


def test_fields_of_a_later_release_are_left_out_and_its_states_are_kept_as_they_came() -> None:
    packed = msgpack.packb([["iris:1", "resting", "since noon", 1, {}, "more", [1, {"and": "more"}]]])
    assert unpack_reports(packed) == [ModelReport("iris:1", "resting", "since noon", 1, {})]  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["", "resting", "READY"])
def test_a_state_of_a_later_release_says_nothing_to_a_gateway(state: ModelStateName) -> None:
    async def scenario() -> ModelStatus:
        bus = InProcessBus()
        view = ClusterView(bus, asyncio.get_running_loop().time)
        await view.start()
        for role in ("runner", "batcher"):
            beat = frames.Heartbeat(role, "0" * 16, "ready", 0, [ModelReport("iris:1", state)], {})
            bus.publish(subjects.heartbeat(role), frames.encode(beat))
        await asyncio.sleep(0)
        found = view.state("iris:1")
        await view.close()
        await bus.close()
        return found

    assert asyncio.run(scenario()) == NOT_LOADED


def test_counters_beyond_the_limits_are_cut_by_the_sender_and_refused_by_the_receiver() -> None:
    counters = {"too large": 2**70, "below": -1, "x" * 65: 1, **{f"n{i}": i for i in range(100)}}
    sent = unpack_counters(pack_counters(counters))
    assert (sent["too large"], sent["below"], len(sent)) == (2**64 - 1, 0, MAX_COUNTERS)
    with pytest.raises(BadFrame):
        unpack_counters(msgpack.packb({f"n{i}": i for i in range(MAX_COUNTERS + 1)}))


async def _events() -> set[str]:
    bus = InProcessBus()
    app = BatcherApp(bus, BatcherSettings())
    await bus.close()
    return set(app._events)


def test_a_batcher_acts_on_every_event_that_there_is() -> None:

    assert asyncio.run(_events()) == set(get_args(EventName))
