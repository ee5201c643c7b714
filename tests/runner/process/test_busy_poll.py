"""Staying awake between messages that follow each other closely: when, for how long, and never for nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from vtsserving_runner.process.busy_poll import BusyPollLoop, Polling, SpinPolicy

pytestmark = pytest.mark.alone

LONG_US = 10_000_000
SHORT_US = 1_000
SEVERAL_PROCESSORS = len(os.sched_getaffinity(0)) > 1
"""With one nobody stays awake: that would keep the other side from working."""


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def cpu_ms_of_a_wait(polling: Polling, pair: tuple[socket.socket, socket.socket], wait_s: float) -> float:
    """Processor time of this thread while it waits for a message that is sent after `wait_s`."""
    ours, theirs = pair
    timer = threading.Timer(wait_s, theirs.sendall, [b"x"])
    timer.start()
    began_ns = time.thread_time_ns()
    assert polling.receive(ours) == b"x"
    used_ms = (time.thread_time_ns() - began_ns) / 1e6
    timer.join()
    return used_ms


def test_the_wait_after_a_short_one_is_spent_awake(pair: tuple[socket.socket, socket.socket]) -> None:
    polling = Polling(LONG_US)
    asleep_ms = cpu_ms_of_a_wait(polling, pair, 0.2)
    awake_ms = cpu_ms_of_a_wait(polling, pair, 0.2)
    assert asleep_ms < 20
    if SEVERAL_PROCESSORS:
        assert awake_ms > 2 * asleep_ms
    else:
        assert awake_ms < 20


def test_a_long_wait_is_slept_through_but_for_the_limit(pair: tuple[socket.socket, socket.socket]) -> None:
    polling = Polling(SHORT_US)
    pair[1].sendall(b"y")
    assert polling.receive(pair[0]) == b"y"
    assert cpu_ms_of_a_wait(polling, pair, 0.3) < 30
    assert cpu_ms_of_a_wait(polling, pair, 0.3) < 30


def test_without_a_limit_every_wait_is_slept_through(pair: tuple[socket.socket, socket.socket]) -> None:
    polling = Polling(0)
    for _ in range(2):
        assert cpu_ms_of_a_wait(polling, pair, 0.05) < 20


def test_the_end_of_the_other_side_is_seen_awake_and_asleep(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    polling = Polling(LONG_US)
    pair[1].sendall(b"z")
    assert polling.receive(pair[0]) == b"z"
    pair[1].close()
    assert polling.receive(pair[0]) == b""
    assert Polling(LONG_US).receive(pair[0]) == b""


def test_attention_ends_when_the_limit_has_passed() -> None:
    attention = SpinPolicy(0)
    attention.begin()
    attention.end()
    assert not attention.awake


def test_a_loop_turns_while_it_waits_awake_and_rests_afterwards() -> None:
    awake_ms, asleep_ms = asyncio.run(cpu_ms_of_a_loop())
    assert asleep_ms < 20
    if SEVERAL_PROCESSORS:
        assert awake_ms > 2 * asleep_ms
    else:
        assert awake_ms < 20


async def cpu_ms_of_a_loop() -> tuple[float, float]:
    """Processor time of a loop during a wait that it spends awake, and after it."""
    loop = asyncio.get_running_loop()
    wakeful = BusyPollLoop(loop, 200_000)
    wakeful.begin()
    wakeful.end()  # a short wait, from now on it is worth it
    wakeful.begin()
    began_ns = time.process_time_ns()
    await asyncio.sleep(0.1)
    awake_ms = (time.process_time_ns() - began_ns) / 1e6
    wakeful.end()
    await asyncio.sleep(0)
    began_ns = time.process_time_ns()
    await asyncio.sleep(0.1)
    return awake_ms, (time.process_time_ns() - began_ns) / 1e6
