"""Answers are equal within what computing elsewhere may change, and a difference says where it is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vtsserving._saving.compare import differences, unsteady

pytestmark = pytest.mark.fast

SPREAD = np.linspace(-1, 1, 11)

EQUAL: dict[str, tuple[Any, Any]] = {
    "float64, 1e-7 of the spread": (SPREAD, SPREAD + 2e-7),
    "float32, 1e-5 of the spread": (SPREAD.astype("f4"), SPREAD.astype("f4") + np.float32(2e-5)),
    "float16, 1e-2 of the spread": (SPREAD.astype("f2"), SPREAD.astype("f2") + np.float16(2e-2)),
    "roundings of large numbers": (np.float32([1e6, 1e6 + 1]), np.float32([1e6 + 0.5, 1e6 + 1])),
    "near zero among larger ones": (np.array([1e-12, 1.0]), np.array([3e-12, 1.0])),
    "one number": (np.array([1e-9]), np.array([1e-9 + 1e-16])),
    "missing and infinite": (np.array([np.nan, np.inf, 1.0]), np.array([np.nan, np.inf, 1.0])),
    "complex": (np.array([1 + 2j]), np.array([1 + 2j + 1e-8])),
    "plain numbers of several items": (
        [{"label": "a", "score": 0.9}, {"label": "b", "score": 1e-7}],
        [{"label": "a", "score": 0.9}, {"label": "b", "score": 2e-7}],
    ),
    "nothing": (np.zeros((0, 3)), np.zeros((0, 3))),
    "plain missing": ([math.nan, None], [math.nan, None]),
    "a table": (pd.DataFrame({"a": [0.0, 1.0], "b": ["x", "y"]}), pd.DataFrame({"a": [1e-8, 1.0], "b": ["x", "y"]})),
    "a series": (pd.Series([1, 2], name="n"), pd.Series([1, 2], name="n")),
}  # fmt: skip
DIFFERENT: dict[str, tuple[Any, Any, str]] = {
    "float64, 1e-5 of the spread": (SPREAD, SPREAD + 2e-5, r"\(float64, 11 of 11 numbers\)"),
    "float32, 1e-3 of the spread": (SPREAD.astype("f4"), SPREAD.astype("f4") * np.float32(1.002), "float32"),
    "a row": (SPREAD, SPREAD[::-1].copy(), "float64"),
    "whole numbers": (np.array([1, 2]), np.array([1, 3]), r"array\(\[1, 2\]\) became"),
    "a dtype": (SPREAD, SPREAD.astype("f4"), r"float64 \[11\] became float32 \[11\]"),
    "a shape": (SPREAD, SPREAD[None], r"float64 \[11\] became float64 \[1, 11\]"),
    "missing": (np.array([1.0, np.nan]), np.array([1.0, 2.0]), r"nan became 2.0 at \[1\]"),
    "a label": ([{"label": "a"}], [{"label": "b"}], r"\[0\]\['label'\]: 'a' became 'b'"),
    "a plain number": ([{"score": 0.5}], [{"score": 0.6}], r"\[0\]\['score'\]: 0.5 became 0.6"),
    "a list for a tuple": ([1, 2], (1, 2), "list of 2.*tuple of 2"),
    "a number for a text": (1, "1", "int 1 became str '1'"),
    "truth for a number": (True, 1, "bool True became int 1"),
    "an item more": ([1], [1, 2], "list of 1.*list of 2"),
    "a key less": ({"a": 1, "b": 2}, {"a": 1}, r"\['b'\]: 2 became nothing"),
    "an array for a list": (np.array([1.0]), [1.0], "became"),
    "a column's name": (pd.DataFrame({"a": [1]}), pd.DataFrame({"b": [1]}), "columns"),
    "a column's order": (pd.DataFrame({"a": [1], "b": [2]}), pd.DataFrame({"b": [2], "a": [1]}), "columns"),
    "an index": (pd.DataFrame({"a": [1]}, index=[7]), pd.DataFrame({"a": [1]}), "index"),
    "a table for an array": (np.array([[1.0]]), pd.DataFrame({"a": [1.0]}), "ndarray .* became DataFrame"),
}  # fmt: skip


@pytest.mark.parametrize(("expected", "found"), EQUAL.values(), ids=EQUAL.keys())
def test_what_computing_elsewhere_may_change_is_equal(expected: Any, found: Any) -> None:
    assert differences(expected, found) == []


@pytest.mark.parametrize(("expected", "found", "text"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_what_it_may_not_change_is_a_difference_and_says_where(expected: Any, found: Any, text: str) -> None:
    import re

    shown = "; ".join(str(one) for one in differences(expected, found))
    assert re.search(text, shown), shown


def test_plain_numbers_of_half_precision_are_compared_as_such() -> None:
    assert differences([0.5], [0.505]) != []
    assert differences([0.5], [0.505], coarse=True) == []
    assert differences([0.5], [0.6], coarse=True) != []
    plain, other = SPREAD.astype("f4"), SPREAD.astype("f4") + np.float32(1e-2)
    assert differences(plain, other) != []
    assert differences(plain, other, coarse=True) == []
    assert differences(plain, other * 2, coarse=True) != []


def test_what_differs_between_two_calls_is_not_compared() -> None:
    first, second = {"a": [1, 2], "b": np.array([1.0])}, {"a": [1, 3], "b": np.array([1.0])}
    parts = unsteady(first, second)
    assert parts == {("a", 1)}
    assert differences(first, {"a": [1, 9], "b": np.array([1.0])}, parts) == []
    assert differences(first, {"a": [7, 9], "b": np.array([1.0])}, parts) != []
    assert differences(first, {"a": [1, 9], "b": np.array([2.0])}, parts) != []


def test_an_answer_of_another_form_each_time_is_not_compared_at_all() -> None:
    assert unsteady([1], [1, 2]) == {()}
    assert differences([1], "something else", {()}) == []
