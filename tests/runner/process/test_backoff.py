"""When a crashed process comes back."""

from __future__ import annotations

import pytest

from vtsserving_runner.process.backoff import DELAYS_S, MAX_IN_WINDOW, WINDOW_S, Backoff

pytestmark = pytest.mark.fast


def test_crashes_in_a_row_wait_longer_up_to_a_minute():
    backoff = Backoff()
    delays = [backoff.crashed(100.0 * i) for i in range(len(DELAYS_S) + 2)]
    assert delays == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_an_answer_in_between_starts_afresh():
    backoff = Backoff()
    for _ in range(5):
        backoff.crashed(0.0)
    backoff.succeeded()
    assert [backoff.crashed(1_000.0), backoff.crashed(1_000.0), backoff.crashed(1_000.0)] == [0, 0, 1]


def test_many_crashes_in_a_minute_wait_even_with_answers_in_between():
    backoff = Backoff()
    delays = []
    for i in range(MAX_IN_WINDOW + 2):
        delays.append(backoff.crashed(float(i)))
        backoff.succeeded()
    assert delays == [0.0] * MAX_IN_WINDOW + [1.0, 1.0]
    assert backoff.crashed(WINDOW_S * 3) == 0.0
