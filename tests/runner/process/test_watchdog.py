"""A deadline that moves, on a clock in the test's hand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from vtsserving_runner.process.watchdog import NEVER_S, STALL_GRACE_S, Watchdog

pytestmark = pytest.mark.fast


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time is what the test says; it only ever runs what is due."""

    now_s = 1000.0
    timers = 0

    def time(self) -> float:
        return self.now_s

    def call_at(self, *args, **kwargs):
        self.timers += 1
        return super().call_at(*args, **kwargs)

    def pass_time(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass in small steps; a step beyond the resolution of timers is a stall."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s = min(end_s, self.now_s + step)
            self.call_soon(self.stop)
            self.run_forever()


@pytest.fixture
def loop() -> Iterator[Clock]:
    loop = Clock()
    yield loop
    loop.close()


@pytest.fixture
def barks(loop: Clock) -> list[float]:
    return []


@pytest.fixture
def dog(loop: Clock, barks: list[float]) -> Watchdog:
    async def make() -> Watchdog:
        return Watchdog(lambda: barks.append(loop.now_s - 1000.0))

    return loop.run_until_complete(make())


def test_silence_until_the_deadline_is_noticed_once(loop, dog, barks):
    dog.expect(2.0)
    loop.pass_time(1.9)
    assert barks == []
    loop.pass_time(10)
    assert barks == [pytest.approx(2.0, abs=0.05)]


def test_each_sign_of_life_moves_the_deadline_without_a_new_timer(loop, dog, barks):
    for _ in range(100):
        dog.expect(2.0)
        loop.pass_time(0.1)
    assert barks == []
    assert loop.timers < 12
    loop.pass_time(3)
    assert barks == [pytest.approx(9.9 + 2.0, abs=0.05)]


def test_a_shorter_limit_counts_at_once(loop, dog, barks):
    dog.expect(100.0)
    dog.expect(1.0)
    loop.pass_time(2)
    assert barks == [pytest.approx(1.0, abs=0.05)]


@pytest.mark.parametrize("end", ["rest", "stop"])
def test_nothing_is_expected_after_the_end(loop, dog, barks, end):
    dog.expect(1.0)
    getattr(dog, end)()
    loop.pass_time(5)
    assert barks == []
    dog.expect(1.0)
    loop.pass_time(2)
    assert len(barks) == 1


@pytest.mark.parametrize("limit_s", [0.0, -1.0, NEVER_S, 1e12])
def test_no_limit_is_none(loop, dog, barks, limit_s):
    dog.expect(1.0)
    dog.expect(limit_s)
    loop.pass_time(5)
    assert barks == []


def test_a_suspended_process_gets_time_to_hear_what_came(loop, dog, barks):
    dog.expect(1.0)
    loop.pass_time(30, step=30)
    assert barks == []
    loop.pass_time(STALL_GRACE_S - 0.1)
    assert barks == []
    loop.pass_time(1)
    assert len(barks) == 1
