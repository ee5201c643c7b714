"""Tables of several callers that travel as records: joined they are what pandas makes of them."""

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
from vtsserving._wire import rows, tables, values
from vtsserving._wire.call_rule import CallRule
from vtsserving._wire.joined_labels import JoinedLabels, SharedLabels
from vtsserving._wire.leaves import Leaf
from vtsserving._wire.table_records import RECORDS_HOLE
from vtsserving.exceptions import BadFrame, TooDeep, UnsupportedValue

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
        with pytest.raises(BadFrame, match=r"rows say|rows, its entry|after the value"):
            rows.join_calls(one.head, bodies, counts, JoinedLabels(renumbers=False))


def body_of(*parts: bytes) -> bytes:
    rows_ = b"".join(parts)
    return len(rows_).to_bytes(8, "little") + rows_


@pytest.mark.parametrize(
    ("kind", "rows_"),
    [
        ("float64", bytes(7)),
        ("float64", bytes(9)),
        ("float64", bytes(8) + b"\x90"),
        ("str", b""),
        ("str", b"\x91\x90"),
        ("str", b"\x91\x92\xa1a\xa1b"),
        ("str", b"\x92\x91\xa1a\x91\xa1a"),
        ("str", b"\x91\x91\x07"),
        ("str", b"\x91\xa1a"),
        ("str", b"\xa1a"),
        ("category", b"\x03\0\0\0"),
        ("category", b"\xfe\xff\xff\xff"),
        ("Int64", bytes(8)),
    ],
)
def test_a_body_that_is_not_what_its_head_says_is_refused(kind: str, rows_: bytes) -> None:
    head = rows.pack_call((table([kind, "str"][: 1 + (kind != "str")], 1, 0),), {}, RULE).head
    ending = b"\x91\x91\xa1a" if kind != "str" else b""
    for bodies in ([body_of(rows_, ending)], [body_of(rows_, ending)] * 2):
        with pytest.raises(BadFrame):
            rows.join_calls(head, bodies, [1] * len(bodies), JoinedLabels(renumbers=False))


@pytest.mark.parametrize(
    "kind",
    [
        None,
        [],
        [["a"], ["float64"]],
        [["a"], ["float64", "float64"], None],
        [[], [], None],
        [["a", 1], ["float64", "float64"], None],
        [[1.5], ["float64"], None],
        [["a"], ["float65"], None],
        [["a"], [["category", "x", ["str", ["a"]]]], None],
        [["a"], [7], None],
        [["a"], ["float64"], "int64"],
        [["a"], ["float64"], ["int64"]],
        [["a"], ["float64"], ["int64", ["b"]]],
    ],
)
def test_a_hole_that_says_something_else_is_refused(kind: Any) -> None:
    hole = values.msgpack.ExtType(RECORDS_HOLE, values.encode_value(kind))
    with pytest.raises(BadFrame):
        rows.join_calls(values.msgpack.packb([[hole], {}]), [body_of(bytes(8))], [1])


def test_a_flag_is_true_whatever_bits_it_has() -> None:
    packed = rows.pack_call((pd.DataFrame({"a": [True], "b": pd.array([True], dtype="boolean")}),), {}, RULE)
    assert bytes(packed.body)[8:] == b"\x01\x01\x00"
    (found,), _ = rows.join_calls(packed.head, [body_of(b"\x07\xff\x00")], [1])
    assert is_same(found, pd.DataFrame({"a": [True], "b": pd.array([True], dtype="boolean")}))


LABELS: dict[str, Callable[[int, int], Any]] = {
    "int64": lambda first, n: pd.Index(range(first, first + n), dtype="int64", name="id"),
    "str": lambda first, n: pd.Index([f"row {first + i}" for i in range(n)]),
    "object": lambda first, n: pd.Index([(first + i, "a") for i in range(n)], tupleize_cols=False),
    "times": lambda first, n: pd.DatetimeIndex(np.arange(first, first + n).astype("M8[s]"), name=3),
    "range": lambda first, n: pd.RangeIndex(first, first + n),
    "zoned": lambda first, n: pd.DatetimeIndex(np.arange(first, first + n).astype("M8[s]"), tz="UTC"),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("kinds", [["float64"], ["float64", "str"]])
def test_labels_of_callers_stay_theirs(kind: str, kinds: list[str]) -> None:
    parts = [
        table(kinds, n, first).set_axis(LABELS[kind](first, n), axis=0)
        for first, n in ((3, 1), (4, 2), (6, 1))
    ]
    packed = [rows.pack_call((part,), {}, RULE) for part in parts]
    assert len({one.head for one in packed}) == 1
    join = JoinedLabels(renumbers=False)
    (found,), _ = rows.join_calls(packed[0].head, [one.body for one in packed], [1, 2, 1], join)
    expected = pd.concat(parts)
    expected.index = tables.joined_index(parts)
    pd.testing.assert_frame_equal(found, expected, check_index_type="equiv")
    assert [tuple(one) if isinstance(one, tuple) else one for one in found.index] == list(expected.index)
    assert found.index.name == parts[0].index.name


@pytest.mark.parametrize("kind", LABELS)
def test_labels_that_callers_share_are_numbered_afresh_and_given_back(kind: str) -> None:
    parts = [table(["float64", "str"], 2, n).set_axis(LABELS[kind](7, 2), axis=0) for n in range(2)]
    packed = [rows.pack_call((part,), {}, RULE) for part in parts]
    bodies = [one.body for one in packed]
    with pytest.raises(SharedLabels):
        rows.join_calls(packed[0].head, bodies, [2, 2], JoinedLabels(renumbers=False))
    join = JoinedLabels(renumbers=True)
    (found,), _ = rows.join_calls(packed[0].head, bodies, [2, 2], join)
    assert found.index.is_unique
    expected = pd.concat(parts)
    expected.index = tables.joined_index(parts)
    pd.testing.assert_frame_equal(join.restored(found), expected, check_index_type="equiv")


@given(
    kinds=st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=5),
    counts=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    is_labelled=st.booleans(),
)
def test_rows_are_cut_as_they_were_joined(kinds: list[str], counts: list[int], is_labelled: bool) -> None:
    whole = table(kinds, sum(counts), 5)
    if is_labelled:
        whole.index = LABELS["int64"](9, len(whole))
    packed = rows.pack_call((whole,), {}, RULE)
    cut = rows.layout(packed.head).cut(packed.body, packed.rows, counts)
    head, bodies = rows.cut_leaves(*marked(whole), counts)
    start = 0
    for count, body, result in zip(counts, cut, bodies, strict=True):
        expected = whole.iloc[start : start + count]
        expected = expected if is_labelled else expected.reset_index(drop=True)
        (found,), _ = rows.join_calls(packed.head, [body], [count])
        assert is_same(found, expected)
        assert is_same(rows.join_results([rows.Packed(head, count, result)]), expected)
        start += count


@pytest.mark.parametrize("item", ["\ud800", object(), {1: {2: object()}}])
def test_an_item_that_cannot_be_sent_is_named_with_its_column(item: Any) -> None:
    frame = pd.DataFrame({"a": [1.0], "b": pd.Series([item], dtype=object)})
    with pytest.raises(UnsupportedValue, match=r"argument 1, column 'b'"):
        rows.pack_call((frame,), {}, RULE)


def test_an_item_is_nested_as_deep_as_a_receiver_takes() -> None:
    def frame(depth: int) -> pd.DataFrame:
        item: Any = 1
        for _ in range(depth):
            item = [item]
        return pd.DataFrame({"a": pd.Series([item], dtype=object)})

    rows.unpack_call(rows.pack_call((frame(30),), {}, RULE))
    with pytest.raises(TooDeep):
        rows.pack_call((frame(31),), {}, RULE)


def test_another_value_in_place_of_a_table_is_refused() -> None:
    head = rows.pack_call((pd.DataFrame({"a": [1.0]}),), {}, RULE).head
    for value in ([["a"], [["tensor", np.ones(1)]], ["range", [0, 1, 1]], None], "text", pd.Series([1.0])):
        body = values.encode_value(value)
        sized = len(body).to_bytes(8, "little") + body
        with pytest.raises(BadFrame):
            rows.join_calls(head, [sized, sized], [1, 1], JoinedLabels(renumbers=False))
