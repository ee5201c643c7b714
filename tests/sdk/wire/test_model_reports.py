"""What batchers say of models in their heartbeats, and the words of frames."""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._bus.inprocess import InProcessBus
from vtsserving._wire.model_reports import MAX_REASON_CHARS, ModelReport
from vtsserving._wire.vocabulary import EventName, LoadState
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings


@pytest.mark.parametrize(
    ("report", "line"),
    [
        (ModelReport("iris:1", "loading"), "iris:1 loading "),
        (ModelReport("iris:1", "unloading"), "iris:1 unloading "),
        (ModelReport("iris:1", "failed", "no module\n 'x'"), "iris:1 failed no module 'x'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_report_is_one_line_with_blanks_between(report: ModelReport, line: str) -> None:
    assert report.encode() == line


@given(st.sampled_from(get_args(LoadState)), st.text(max_size=400))
def test_a_report_is_read_as_it_was_written_with_its_reason_on_one_line(
    state: LoadState, reason: str
) -> None:
    read = ModelReport.decode(ModelReport("iris:1", state, reason).encode())
    assert read == ModelReport("iris:1", state, " ".join(reason.split())[:MAX_REASON_CHARS])


@pytest.mark.parametrize("line", ["", "iris:1", "iris:1 ", "iris:1 resting ", "iris:1 resting since noon"])
def test_a_state_of_a_later_release_says_nothing(line: str) -> None:
    assert ModelReport.decode(line) is None


async def _events() -> set[str]:
    bus = InProcessBus()
    app = BatcherApp(bus, BatcherSettings())
    await bus.close()
    return set(app._events)


def test_a_batcher_acts_on_every_event_that_there_is() -> None:

    assert asyncio.run(_events()) == set(get_args(EventName))
