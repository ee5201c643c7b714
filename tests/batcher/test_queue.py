from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vtsserving_batcher.policy import BatchLimits
from vtsserving_batcher.queue import Entry, Queue

pytestmark = pytest.mark.fast


class QueueBesideAList(RuleBasedStateMachine):
    """Whatever is added, taken, put back and dropped, in any order: a queue is a list sorted by age."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue("predict", b"head", BatchLimits(8, 1_000), 1)
        self.waiting: list[Entry] = []
        self.taken: list[list[Entry]] = []

    @rule(rows=st.integers(0, 9), size=st.integers(0, 50), deadline_s=st.floats(0, 10))
    def add(self, rows: int, size: int, deadline_s: float) -> None:
        entry = Entry("gateway", len(self.waiting), rows, memoryview(bytes(size)), deadline_s, 0.0, 0)
        self.queue.add(entry)
        self.waiting.append(entry)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def take(self, data: Any) -> None:
        count = data.draw(st.integers(1, len(self.waiting)))
        taken = self.queue.take(count)
        assert taken == self.waiting[:count]
        self.taken.append(taken)
        del self.waiting[:count]

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def put_back(self, data: Any) -> None:
        entries = self.taken.pop(data.draw(st.integers(0, len(self.taken) - 1)))
        self.queue.put_back(entries)
        self.waiting = sorted([*entries, *self.waiting], key=lambda entry: entry.order)

    @rule(now_s=st.floats(0, 10))
    def drop(self, now_s: float) -> None:
        dead = [entry for entry in self.waiting if entry.is_dead(now_s)]
        assert self.queue.drop(lambda entry: entry.is_dead(now_s)) == dead
        self.waiting = [entry for entry in self.waiting if entry not in dead]

    @rule()
    def clear(self) -> None:
        assert self.queue.clear() == self.waiting
        self.waiting = []

    @invariant()
    def it_counts_what_waits(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert self.queue.rows == sum(entry.rows for entry in self.waiting)
        assert self.queue.size_bytes == sum(entry.size_bytes for entry in self.waiting)
        if self.waiting:
            assert list(self.queue.queued().entries) == self.waiting


TestQueueBesideAList = QueueBesideAList.TestCase
TestQueueBesideAList.settings = settings(stateful_step_count=30)


def test_an_entry_is_dead_at_its_deadline_and_when_its_caller_left() -> None:
    entry = Entry("gateway", 1, 1, memoryview(b""), 5.0, 0.0, 0)
    assert [entry.is_dead(4.999), entry.is_dead(5.0)] == [False, True]
    entry.abandoned = True
    assert entry.is_dead(0.0)
