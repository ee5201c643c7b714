from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import vtsserving_batcher.policy
from vtsserving._wire.limits import MAX_ENTRIES
from vtsserving_batcher.policy import (
    MIN_SAMPLES,
    BatchLimits,
    Cost,
    Queued,
    Take,
    WaitUntil,
    decide,
    fill,
    finish_s,
)

pytestmark = pytest.mark.fast


def queued(rows: list[int], oldest_s: float = 0.0, size_bytes: int = 1) -> Queued:
    entries = [SimpleNamespace(rows=count, size_bytes=size_bytes) for count in rows]
    return Queued(entries, len(rows), sum(rows), size_bytes * len(rows), oldest_s)


def limits(max_rows: int = 32, max_bytes: int = 1_000, max_wait_s: float = 0.0) -> BatchLimits:
    return BatchLimits(max_rows, max_bytes, max_wait_s)


@pytest.mark.parametrize(
    ("rows", "running", "expected"),
    [
        pytest.param([1], 0, Take(1), id="one, idle process"),
        pytest.param([1, 2, 3], 0, Take(3), id="all that waits, idle process"),
        pytest.param([20, 20], 0, Take(1), id="the second does not fit"),
        pytest.param([16, 16, 1], 0, Take(2), id="exactly full"),
        pytest.param([50], 0, Take(1), id="too large for any batch goes alone"),
        pytest.param([1, 50], 0, Take(1), id="and does not take others with it"),
        pytest.param([1, 2], 8, WaitUntil(None), id="smaller than what runs: grows"),
        pytest.param([4, 4], 8, Take(2), id="as large as what runs: prefetched"),
        pytest.param([32], 64, Take(1), id="full: prefetched"),
        pytest.param([0], 9, Take(1), id="without a batch axis: prefetched"),
        pytest.param([0, 0], 0, Take(1), id="without a batch axis: alone"),
    ],
)
def test_what_a_process_gets(rows: list[int], running: int, expected: Any) -> None:
    limit = limits(max_rows=32 if any(rows) else 0)
    assert decide(queued(rows), 1.0, limit, running) == expected


def test_the_oldest_decides_how_long_all_wait_for_company() -> None:
    waiting = limits(max_wait_s=0.005)
    assert decide(queued([1, 1, 1], oldest_s=0.0), 0.001, waiting, 0) == WaitUntil(0.005)
    assert decide(queued([1, 1, 1], oldest_s=0.0), 0.005, waiting, 0) == Take(3)


def test_a_byte_limit_ends_a_batch_as_a_row_limit_does() -> None:
    assert decide(queued([1] * 5, size_bytes=400), 0.0, limits(max_bytes=1_000), 0) == Take(2)
    assert decide(queued([1], size_bytes=4_000), 0.0, limits(max_bytes=1_000), 0) == Take(1)


def test_a_batch_has_no_more_entries_than_a_frame() -> None:
    many = queued([1] * (MAX_ENTRIES + 5))
    assert decide(many, 0.0, limits(max_rows=10**9, max_bytes=10**9), 0) == Take(MAX_ENTRIES)


queues = st.lists(st.integers(1, 40), min_size=1, max_size=20)
any_limits = st.builds(BatchLimits, st.integers(1, 64), st.integers(1, 40), st.sampled_from([0.0, 0.01]))


@given(queues, any_limits, st.integers(0, 100), st.floats(0, 1))
def test_a_batch_is_within_its_limits_unless_it_is_one_entry(
    rows: list[int], limit: BatchLimits, running: int, now_s: float
) -> None:
    decision = decide(queued(rows), now_s, limit, running)
    if isinstance(decision, Take):
        assert 1 <= decision.entries <= len(rows)
        if decision.entries > 1:
            assert sum(rows[: decision.entries]) <= limit.max_rows
            assert decision.entries <= limit.max_bytes


@given(queues, any_limits, st.floats(0, 1))
def test_an_idle_process_always_gets_something_when_nobody_is_asked_to_wait(
    rows: list[int], limit: BatchLimits, now_s: float
) -> None:
    decision = decide(queued(rows), now_s, BatchLimits(limit.max_rows, limit.max_bytes), 0)
    assert isinstance(decision, Take)


@given(queues, any_limits, st.integers(0, 100), st.floats(0, 1))
def test_nobody_is_told_to_wait_for_a_time_that_is_past(
    rows: list[int], limit: BatchLimits, running: int, now_s: float
) -> None:
    decision = decide(queued(rows, oldest_s=0.0), now_s, limit, running)
    if isinstance(decision, WaitUntil) and decision.time_s is not None:
        assert now_s < decision.time_s <= limit.max_wait_s


@given(queues, any_limits)
def test_a_batch_is_as_large_as_its_limits_allow(rows: list[int], limit: BatchLimits) -> None:
    count, taken, full = fill(queued(rows), limit)
    assert taken == sum(rows[:count])
    assert full or count == len(rows)
    if count < len(rows):
        assert taken + rows[count] > limit.max_rows or count + 1 > limit.max_bytes


# --- cost and admission -------------------------------------------------------------------------------------------


@given(st.floats(0, 0.1), st.floats(0, 0.01), st.lists(st.integers(1, 64), min_size=40, max_size=60))
def test_the_cost_of_a_batch_is_learned(fixed_s: float, per_row_s: float, sizes: list[int]) -> None:
    assume(len(set(sizes[-10:])) > 2)
    cost = Cost()
    for rows in sizes:
        cost.learn(rows, fixed_s + per_row_s * rows)
    for rows in (1, 32, 64):
        assert cost.estimate_s(rows) == pytest.approx(fixed_s + per_row_s * rows, rel=0.01, abs=1e-6)


def test_costs_are_not_believed_before_a_few_batches_were_seen() -> None:
    cost = Cost()
    for _ in range(MIN_SAMPLES - 1):
        cost.learn(1, 30.0)
        assert (cost.known, cost.estimate_s(1)) == (False, 0.0)
        assert finish_s(1_000, 1_000, 1, limits(), cost, 1) == 0.0
    cost.learn(1, 30.0)
    assert cost.known


def test_a_slow_first_call_is_forgotten() -> None:
    cost = Cost()
    cost.learn(8, 30.0)
    for _ in range(60):
        cost.learn(8, 0.01)
    assert cost.estimate_s(8) < 0.02


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 10)), min_size=MIN_SAMPLES, max_size=40))
def test_an_estimate_is_never_negative_and_never_falls_with_more_rows(
    samples: list[tuple[int, float]],
) -> None:
    cost = Cost()
    for rows, time_s in samples:
        cost.learn(rows, time_s)
    estimates = [cost.estimate_s(rows) for rows in range(0, 200, 10)]
    assert estimates[0] >= 0.0
    assert estimates == sorted(estimates)


def learned(per_batch_s: float = 0.1) -> Cost:
    cost = Cost()
    for _ in range(MIN_SAMPLES):
        cost.learn(32, per_batch_s)
    return cost


def test_the_end_is_predicted_from_the_batches_before() -> None:
    cost = learned()
    assert finish_s(0, 0, 1, limits(), cost, 1) == pytest.approx(0.1)
    assert finish_s(64, 2, 1, limits(), cost, 1) == pytest.approx(0.3)
    assert finish_s(64, 2, 1, limits(), cost, 3) == pytest.approx(0.1)


def test_calls_that_are_not_merged_are_predicted_one_by_one() -> None:
    assert finish_s(0, 4, 0, limits(max_rows=0), learned(), 1) == pytest.approx(0.5)
    assert finish_s(0, 4, 0, limits(max_rows=0), learned(), 2) == pytest.approx(0.3)


def test_the_policy_is_pure() -> None:
    tree = ast.parse(Path(vtsserving_batcher.policy.__file__).read_text())
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert imported == {"__future__", "collections.abc", "dataclasses", "typing", "vtsserving._wire.limits"}
