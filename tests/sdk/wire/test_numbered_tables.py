"""Numbered tables of several callers: joined column by column they are what pandas makes of them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.wire_values import is_same
from vtsserving._wire import rows, values
from vtsserving._wire.call_rule import CallRule
from vtsserving._wire.joined_labels import JoinedLabels
from vtsserving._wire.leaves import Leaf
from vtsserving.exceptions import BadFrame

pytestmark = pytest.mark.fast

RULE = CallRule(0, ("x",))

COLUMNS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "float64": lambda rng, n: rng.normal(size=n),
    "float32": lambda rng, n: rng.normal(size=n).astype("f4"),
    "int64": lambda rng, n: rng.integers(-9, 9, n),
    "bool": lambda rng, n: rng.random(n) > 0.5,
    "str": lambda rng, n: pd.array([["a", "bb", "é\0"][rng.integers(3)] for _ in range(n)], dtype="str"),
    "missing str": lambda rng, n: pd.array([["a", None][rng.integers(2)] for _ in range(n)], dtype="str"),
    "string": lambda rng, n: pd.array([["a", None][rng.integers(2)] for _ in range(n)], dtype="string"),
    "object": lambda rng, n: pd.Series([[1], None, "x", 2.5][:n] + [{}] * max(0, n - 4), dtype=object).array,
    "Int64": lambda rng, n: pd.array([2**62 + 1, None][:n] + [3] * max(0, n - 2), dtype="Int64"),
    "boolean": lambda rng, n: pd.array([rng.choice([True, None]) for _ in range(n)], dtype="boolean"),
    "category": lambda rng, n: pd.Categorical(rng.choice(["x", "y"], n), ["y", "x", "z"], ordered=True),
    "numbers as categories": lambda rng, n: pd.Categorical(rng.choice([1, 2], n), [2, 1]),
    "dates as categories": lambda rng, n: pd.Categorical([datetime.date(2024, 1, 2)] * n),
    "datetime64[s]": lambda rng, n: np.arange(n).astype("M8[s]"),
    "timedelta64[ns]": lambda rng, n: np.arange(n).astype("m8[ns]"),
    "zoned": lambda rng, n: pd.date_range("2024-01-01", periods=n, tz="Europe/Berlin").array,
    "periods": lambda rng, n: pd.period_range("2024-01", periods=n, freq="M").array,
}


def table(kinds: list[str], count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({f"{i} {kind}": COLUMNS[kind](rng, count) for i, kind in enumerate(kinds)})


@given(
    kinds=st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5),
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=6),
)
def test_they_are_what_pandas_makes_of_them(kinds: list[str], counts: list[int]) -> None:
    parts = [table(kinds, count, seed) for seed, count in enumerate(counts)]
    packed = [rows.pack_call((part,), {}, RULE) for part in parts]
    assert len({one.head for one in packed}) == 1
    labels = JoinedLabels(renumbers=False)
    (found,), _ = rows.join_calls(packed[0].head, [one.body for one in packed], counts, labels)
    expected = pd.concat([rows.unpack_call(one)[0][0] for one in packed], ignore_index=True)
    assert is_same(found, expected)
    for one, alone in zip(parts, packed, strict=True):
        assert is_same(rows.unpack_call(alone)[0][0], one)


NUMBERS = ["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_numbers_of_one_dtype_travel_as_rows_of_numbers(dtype: str) -> None:
    parts = [pd.DataFrame(np.arange(n * 2).reshape(n, 2).astype(dtype), columns=["b", "a"]) for n in (2, 1)]
    packed = [rows.pack_call((part,), {}, RULE) for part in parts]
    size = np.dtype(dtype).itemsize
    assert [len(one.body) for one in packed] == [4 * size, 2 * size]
    (found,), _ = rows.join_calls(
        packed[0].head, [one.body for one in packed], [2, 1], JoinedLabels(renumbers=False)
    )
    assert is_same(found, pd.concat(parts, ignore_index=True))
    found.iloc[0, 0] = found.iloc[1, 0]  # what a model gets may be written to
    (alone,), _ = rows.unpack_call(packed[0])
    alone.iloc[0, 0] = alone.iloc[1, 0]
    cut = [rows.unpack_call(one)[0][0] for one in rows.pieces(packed[0], 1)]
    assert all(is_same(one, parts[0].iloc[i : i + 1].reset_index(drop=True)) for i, one in enumerate(cut))


@pytest.mark.parametrize(
    "other",
    [
        pd.DataFrame({"a": [1.0], "b": [1]}),
        pd.DataFrame([[1.0]]),
        pd.DataFrame([[1.0]], columns=pd.Index(["a"], dtype=object)),
        pd.DataFrame([[1.0]], columns=pd.Index(["a"], name="n")),
        pd.DataFrame([[1.0]], columns=["a"], index=[3]),
        pd.DataFrame({"a": pd.array([1.0], dtype="Float64")}),
        pd.DataFrame(index=range(1)),
        pd.DataFrame({"a": np.array([1j])}),
        pd.DataFrame({"a": np.array(["2024"], "M8[s]")}),
    ],
)
def test_other_tables_keep_what_they_are(other: pd.DataFrame) -> None:
    packed = rows.pack_call((other,), {}, RULE)
    assert is_same(rows.unpack_call(packed)[0][0], other)


def test_results_of_numbers_are_cut_as_rows_of_numbers() -> None:
    head, bodies = rows.cut_leaves(*marked(pd.DataFrame({"p": [0.5, 0.25, 1.0]})), [1, 2])
    assert list(map(len, bodies)) == [8, 16]
    found = [rows.join_results([rows.Packed(head, n, body)]) for n, body in zip((1, 2), bodies, strict=True)]
    assert is_same(found[0], pd.DataFrame({"p": [0.5]}))
    assert is_same(found[1], pd.DataFrame({"p": [0.25, 1.0]}))


def marked(result: Any) -> tuple[Any, list[Leaf]]:
    leaf = Leaf(result, 0, "result")
    return leaf, [leaf]


def test_texts_of_numpy_in_a_column_are_texts() -> None:
    column = pd.array([np.str_("a\0"), np.str_("b")], dtype="str")
    (found,), _ = rows.unpack_call(rows.pack_call((pd.DataFrame({"a": column}),), {}, RULE))
    assert [(type(item), item) for item in found["a"]] == [(str, "a\0"), (str, "b")]


@pytest.mark.parametrize("kinds", [["float64"], ["float64", "str"], ["category"], ["Int64", "object"]])
def test_a_column_that_is_too_long_does_not_shift_the_rows_of_others(kinds: list[str]) -> None:
    """Two bodies whose rows are right in sum, and wrong each."""
    one, two = (rows.pack_call((table(kinds, count, 0),), {}, RULE) for count in (1, 3))
    for bodies, counts in (([two.body, one.body], [1, 3]), ([one.body, two.body], [2, 2])):
        with pytest.raises(BadFrame, match=r"its rows say|rows, its entry"):
            rows.join_calls(one.head, bodies, counts, JoinedLabels(renumbers=False))


@pytest.mark.parametrize(
    "fields",
    [
        [["a"], [["tensor", np.ones(2)]], ["range", [0, 1, 1]], None],
        [["a", "b"], [["tensor", np.ones(1)]], ["range", [0, 1, 1]], None],
        [["a"], [["list", 5]], ["range", [0, 1, 1]], None],
        [["a"], [["masked", [np.ones(1), np.zeros(2, bool)]]], ["range", [0, 1, 1]], None],
        [["a"], [["category", [np.zeros(1, "i1"), ["str", ["x"]]]]], ["range", [0, 1, 1]], None],
        [["a"], [[5, np.ones(1)]], ["range", [0, 1, 1]], None],
        [["a"], ["tensor"], ["range", [0, 1, 1]], None],
        [["a"], [["tensor", np.ones(1)]], ["range", [0, 2, 1]], None],
        ["a", [["tensor", np.ones(1)]], ["range", [0, 1, 1]], None],
        [],
    ],
)
def test_what_is_no_table_is_refused_as_each_alone_would_be(fields: list[Any]) -> None:
    head = rows.pack_call((pd.DataFrame({"a": [1.0]}),), {}, RULE).head
    raw = values.encode_value(fields)
    body = values.msgpack.packb(values.msgpack.ExtType(values.DATAFRAME, raw))
    sized = len(body).to_bytes(8, "little") + body
    with pytest.raises(BadFrame):
        rows.join_calls(head, [sized, sized], [1, 1], JoinedLabels(renumbers=False))


def test_another_value_in_place_of_a_table_is_refused() -> None:
    head = rows.pack_call((pd.DataFrame({"a": [1.0]}),), {}, RULE).head
    for value in ([["a"], [["tensor", np.ones(1)]], ["range", [0, 1, 1]], None], "text", pd.Series([1.0])):
        body = values.encode_value(value)
        sized = len(body).to_bytes(8, "little") + body
        with pytest.raises(BadFrame):
            rows.join_calls(head, [sized, sized], [1, 1], JoinedLabels(renumbers=False))
