"""A bounded memory keeps what is used, whatever else is asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vtsserving._recent import RecentDict


def test_what_was_set_longest_ago_leaves_first() -> None:
    memory: RecentDict[str, int] = RecentDict(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        memory[key] = value
    assert dict(memory) == {"a": 3, "c": 4}


def test_what_is_renewed_outlives_any_number_of_others() -> None:
    memory: RecentDict[str, int] = RecentDict(100)
    for number in range(10_000):
        if number % 50 == 0:
            memory["used"] = number
        memory[f"made up {number}"] = number
        assert "used" in memory
        assert len(memory) <= 100


@given(st.lists(st.integers(0, 9), max_size=60), st.integers(1, 5))
def test_it_holds_the_last_keys_that_were_set(keys: list[int], most: int) -> None:
    memory: RecentDict[int, int] = RecentDict(most)
    for number, key in enumerate(keys):
        memory[key] = number
    last = list(dict.fromkeys(reversed(keys)))[:most]
    assert list(reversed(memory)) == last
    assert all(keys[memory[key]] == key for key in last)
