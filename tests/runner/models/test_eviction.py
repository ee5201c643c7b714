"""Who has to leave, and who stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving_runner.models.eviction import Resident, idle, surplus

pytestmark = pytest.mark.fast

A, B, C = Resident("a", 10.0, 100, True), Resident("b", 30.0, 200, True), Resident("c", 20.0, 300, True)


def test_the_least_recently_used_leave_first_and_no_more_than_needed():
    assert surplus([A, B, C], 600) == []
    assert surplus([A, B, C], 599) == ["a"]
    assert surplus([A, B, C], 500, needed_bytes=1) == ["a", "c"]


def test_without_a_limit_everybody_stays():
    assert surplus([A, B, C], 0, 10**12) == []


def test_who_may_not_leave_is_passed_over():
    assert surplus([A._replace(may_leave=False), B, C], 550) == ["c"]
    assert surplus([A._replace(may_leave=False)], 1) == []


def test_idle_models_leave_and_used_ones_stay():
    assert idle([A, B, C], 35.0, 12.0) == ["a", "c"]
    assert idle([A._replace(may_leave=False)], 100.0, 1.0) == []
    assert idle([A, B, C], 10_000.0, 0.0) == []


residents = st.lists(
    st.builds(Resident, st.uuids().map(str), st.floats(0, 1e6), st.integers(0, 1000), st.booleans()),
    max_size=12,
)


@given(residents, st.integers(1, 3000), st.integers(0, 1000))
def test_what_stays_fits_or_may_not_leave(models, limit_bytes, needed_bytes):
    leaving = set(surplus(models, limit_bytes, needed_bytes))
    staying = [m for m in models if m.key not in leaving]
    assert all(m.may_leave for m in models if m.key in leaving)
    fits = sum(m.rss_bytes for m in staying) + needed_bytes <= limit_bytes
    assert fits or not any(m.may_leave for m in staying)
