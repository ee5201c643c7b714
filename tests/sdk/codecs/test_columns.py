"""Columns: values of JSON, texts of CSV and columns with a dtype become the recorded dtype, or are refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vtsserving._codecs.columns import Column
from vtsserving.exceptions import OutOfRange, WrongType

pytestmark = pytest.mark.fast

TEXT = str(pd.Series(["a"]).dtype)
ZONED = "datetime64[us, Europe/Berlin]"
CATEGORIES = ["x", "y", 3, True]


def series(values: Any) -> pd.Series[Any]:
    return pd.Series(values, dtype=getattr(values, "dtype", None))


def column(dtype: str, **more: Any) -> Column:
    return Column("c", dtype, **more)


ITEMS: list[tuple[str, list[Any], Any]] = [
    ("float64", [1, 2.5, None, float("nan")], np.array([1, 2.5, np.nan, np.nan])),
    ("float32", [0.1, None, True], np.array([0.1, np.nan, 1.0], np.float32)),
    ("int64", [9007199254740993, 2.0], np.array([9007199254740993, 2])),
    ("uint64", [2**64 - 1], np.array([2**64 - 1], np.uint64)),
    ("int8", [-128, 127], np.array([-128, 127], np.int8)),
    ("bool", [True, False], np.array([True, False])),
    ("Int64", [9007199254740993, None], pd.array([9007199254740993, None], dtype="Int64")),
    ("UInt8", [255, None], pd.array([255, None], dtype="UInt8")),
    ("Float32", [0.5, None], pd.array([0.5, None], dtype="Float32")),
    ("boolean", [True, None], pd.array([True, None], dtype="boolean")),
    ("string", ["01067", "NA", None], pd.array(["01067", "NA", None], dtype="string")),
    ("object", [1, "a", None, [1]], series([1, "a", None, [1]]).to_numpy()),
    ("datetime64[ns]", ["2024-05-01T12:30:00.123456789", None], pd.array(
        [pd.Timestamp("2024-05-01T12:30:00.123456789"), pd.NaT], dtype="datetime64[ns]")),
    ("datetime64[s]", ["2024-05-01"], pd.array([pd.Timestamp("2024-05-01")], dtype="datetime64[s]")),
    (ZONED, ["2024-05-01T12:30:00Z", None], pd.array([pd.Timestamp("2024-05-01T14:30:00", tz="Europe/Berlin"), pd.NaT],
        dtype=ZONED)),
    ("timedelta64[ms]", ["P1DT2H", "-PT1.5S", None], pd.array(
        [pd.Timedelta(hours=26), -pd.Timedelta(seconds=1.5), pd.NaT], dtype="timedelta64[ms]")),
    ("timedelta64[us]", ["1 days 02:00:00.5", "-1 days +23:59:50", "0 days", "1 day, 2:00:00"], pd.array(
        [pd.Timedelta(hours=26, seconds=0.5), -pd.Timedelta(seconds=10), pd.Timedelta(0), pd.Timedelta(hours=26)],
        dtype="timedelta64[us]")),
    ("period[M]", ["2024-05", None], pd.array([pd.Period("2024-05", "M"), pd.NaT], dtype="period[M]")),
    ("interval[float64, right]", ["(0.0, 1.5]", None], pd.arrays.IntervalArray.from_tuples([(0.0, 1.5), None])),
    ("Sparse[float64, nan]", [1.0, None], pd.arrays.SparseArray([1.0, np.nan])),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "items", "right"), ITEMS, ids=[row[0] for row in ITEMS])
def test_plain_values_become_the_recorded_dtype(dtype: str, items: list[Any], right: Any) -> None:
    found = series(column(dtype).of_items(items, "the table"))
    pd.testing.assert_series_equal(found, series(right), check_exact=True)
    pd.testing.assert_series_equal(column(dtype).of_series(found, "the table"), found)


@pytest.mark.parametrize(("dtype", "items", "right"), ITEMS, ids=[row[0] for row in ITEMS])
def test_a_column_of_the_same_values_as_objects_becomes_the_recorded_dtype(
    dtype: str, items: list[Any], right: Any
) -> None:
    given = pd.Series(items, dtype=object, index=range(5, 5 + len(items)))
    found = column(dtype).of_series(given, "the table")
    assert found.index.equals(given.index)
    pd.testing.assert_series_equal(found.reset_index(drop=True), series(right), check_exact=True)


@pytest.mark.parametrize(
    ("dtype", "items", "said"),
    [
        ("float64", [1.0, "2"], "row 1 is a string; expected a number"),
        ("float64", [[1.0]], "row 0 is a list; expected a number"),
        ("float32", [1.0, 1e300], "row 1 is too large for float32"),
        ("int64", [1, None], "row 1 is missing; expected an integer"),
        ("int64", [1.5], "row 0 is 1.5; expected an integer"),
        ("int8", [1, 300], "row 1 is 300, which is outside of int8"),
        ("Int8", [None, -200], "row 1 is -200, which is outside of int8"),
        ("bool", [None], "row 0 is missing; expected true or false"),
        ("bool", [1], "row 0 is a number; expected true or false"),
        (TEXT, ["a", 1], "row 1 is a number; expected a string"),
        ("datetime64[ns]", ["1/2/2024"], "expected a time like '2024-05-01T12:30:00'"),
        ("datetime64[ns]", ["today"], "expected a time like"),
        ("datetime64[ns]", [1714566600], "row 0 is a number; expected a time"),
        ("datetime64[ns]", ["2024-05-01T12:30:00Z"], "has an offset from UTC"),
        ("datetime64[ns]", ["9999-01-01"], "cannot hold"),
        ("datetime64[s]", ["2024-05-01T12:30:00.5"], "cannot hold"),
        (ZONED, ["2024-05-01"], "has no offset from UTC"),
        ("timedelta64[ns]", ["1 day"], "expected a duration like 'P1DT2H30M'"),
        ("period[M]", ["may"], "expected a period like '2024-05'"),
        ("interval[float64, right]", ["[0, 1]"], "expected an interval like '(0, 1]'"),
    ],
)
def test_what_would_lose_something_is_refused_with_its_row(dtype: str, items: list[Any], said: str) -> None:
    with pytest.raises((WrongType, OutOfRange), match="the table, column 'c'") as caught:
        column(dtype).of_items(items, "the table")
    assert said in str(caught.value)
    with pytest.raises((WrongType, OutOfRange)):
        column(dtype).of_series(pd.Series(items, dtype=object), "the table")


@pytest.mark.parametrize("dtype", ["datetime64[ns]", ZONED, "timedelta64[ns]", "int64", TEXT])
def test_the_form_that_an_error_shows_is_one_that_is_read(dtype: str) -> None:
    with pytest.raises(WrongType) as caught:
        column(dtype).of_items([{}], "the table")
    shown = str(caught.value).partition(" like '")[2].rstrip("'")
    values = {"int64": [5], TEXT: ["5"]}.get(dtype, [shown])
    assert len(column(dtype).of_items(values, "the table")) == 1


def test_categories_have_the_recorded_codes_however_they_come() -> None:
    described = column("category", categories=CATEGORIES, ordered=True)
    right = [1, -1, 2, 3]
    plain: list[Any] = ["y", None, 3, True]
    for found in (
        described.of_items(plain, "t"),
        described.of_texts(["y", "", "3", "True"], "t"),
        described.of_series(pd.Series(plain, dtype=object), "t").array,
        described.of_series(pd.Series(pd.Categorical(plain, categories=[True, "y", 3])), "t").array,
    ):
        assert list(found.codes) == right
        assert found.ordered
        assert found.categories.tolist() == CATEGORIES


@pytest.mark.parametrize("item", ["z", 1, False, "3", ["x"]])
def test_an_unknown_category_is_refused_by_its_name(item: Any) -> None:
    described = column("category", categories=CATEGORIES)
    with pytest.raises(WrongType, match=r"row 1 is .*, which is not among its categories 'x', 'y', 3, True"):
        described.of_items(["x", item], "t")
    if not isinstance(item, list):
        with pytest.raises(WrongType, match="row 1 is"):
            described.of_series(pd.Series(pd.Categorical(["x", item])), "t")


def test_a_category_that_no_row_has_is_no_obstacle() -> None:
    described = column("category", categories=["x", "y"])
    found = described.of_series(pd.Series(pd.Categorical(["y", None], categories=["z", "y"])), "t")
    assert (list(found.cat.codes), list(found.cat.categories)) == ([1, -1], ["x", "y"])


TEXTS: list[tuple[str, list[str], list[Any]]] = [
    ("float64", ["1E5", "NA", "", " 2 ", "-inf"], [1e5, None, None, 2.0, -np.inf]),
    ("int64", ["01067", "+5", "2.0"], [1067, 5, 2]),
    ("Int64", ["9007199254740993", "", "NA"], [9007199254740993, None, None]),
    (TEXT, ["01067", "1E5", "NA", "null", " x ", ""], ["01067", "1E5", "NA", "null", " x ", None]),
    ("string", ["01067", "NA", ""], ["01067", "NA", None]),
    ("object", ["01067", "NA", ""], ["01067", "NA", None]),
    ("bool", ["True", "false", "1"], [True, False, True]),
    ("boolean", ["True", "", "NA"], [True, None, None]),
    ("datetime64[us]", ["2024-05-01", ""], [pd.Timestamp("2024-05-01"), None]),
]


@pytest.mark.parametrize(("dtype", "texts", "right"), TEXTS, ids=[row[0] for row in TEXTS])
def test_texts_are_read_as_the_recorded_dtype_has_them(
    dtype: str, texts: list[str], right: list[Any]
) -> None:
    found = series(column(dtype).of_texts(texts, "t"))
    assert str(found.dtype) == dtype
    assert [None if value is pd.NA or value != value else value for value in found.astype(object)] == right


def test_an_empty_text_is_kept_where_nothing_may_be_missing() -> None:
    assert list(column(TEXT, nullable=False).of_texts(["", "a"], "t")) == ["", "a"]
    with pytest.raises(WrongType, match="row 0 is missing"):
        column("float64", nullable=False).of_texts([""], "t")


@pytest.mark.parametrize(
    ("dtype", "text"), [("int64", "1.5"), ("float64", "1_000"), ("bool", "yes"), ("float64", "x")]
)
def test_a_text_that_is_none_of_the_column_is_refused(dtype: str, text: str) -> None:
    with pytest.raises(WrongType, match="column 'c', row 0"):
        column(dtype).of_texts([text], "t")


def test_whole_numbers_that_may_be_missing_keep_every_digit() -> None:
    found = column("int64", nullable=True).of_items([9007199254740993, None], "t")
    assert (str(found.dtype), found[0]) == ("Int64", 9007199254740993)


@pytest.mark.parametrize(
    ("given", "dtype", "right"),
    [
        (pd.Series([1, 2]), "float64", [1.0, 2.0]),
        (pd.Series([1.0, 2.0]), "int64", [1, 2]),
        (pd.Series([True, False]), "float32", [1.0, 0.0]),
        (pd.Series(pd.array([1, None], dtype="Int64")), "float64", [1.0, None]),
        (pd.Series([1.0, np.nan]), "Int64", [1, None]),
        (pd.Series(["a", None], dtype="string"), "object", ["a", None]),
        (pd.Series(pd.Categorical(["a", "b"])), TEXT, ["a", "b"]),
        (pd.Series(pd.to_datetime(["2024-05-01"])), "datetime64[s]", [pd.Timestamp("2024-05-01")]),
    ],
)
def test_columns_of_other_dtypes_are_cast_where_no_value_changes(
    given: Any, dtype: str, right: list[Any]
) -> None:
    found = column(dtype).of_series(given, "t")
    assert str(found.dtype) == dtype
    assert [None if value is pd.NA or value != value else value for value in found.astype(object)] == right


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (pd.Series([1.5]), "int64"),
        (pd.Series([np.nan]), "int64"),
        (pd.Series([300]), "int8"),
        (pd.Series([-1]), "uint8"),
        (pd.Series([1e300]), "float32"),
        (pd.Series([1]), TEXT),
        (pd.Series(["1"]), "float64"),
        (pd.Series(pd.to_datetime(["2024-05-01T00:00:00.5"])), "datetime64[s]"),
        (pd.Series(pd.to_datetime(["2024-05-01"]).tz_localize("UTC")), "datetime64[ns]"),
    ],
)
def test_columns_are_not_cast_where_a_value_would_change(given: Any, dtype: str) -> None:
    with pytest.raises((WrongType, OutOfRange), match="column 'c'"):
        column(dtype).of_series(given, "t")


@pytest.mark.parametrize(
    ("items", "dtype"),
    [
        ([1, None], "float64"),
        ([9007199254740993, None], "Int64"),
        ([9007199254740993, 1], "int64"),
        ([0.5, None], "float64"),
        (["a", None], TEXT),
        ([[1], None], "object"),
        ([True, False], "bool"),
    ],
)
def test_of_an_unknown_column_no_digit_is_lost(items: list[Any], dtype: str) -> None:
    found = series(Column("c").of_items(items, "t"))
    assert str(found.dtype) == dtype
    assert found.iloc[0] == items[0]


def test_durations_are_read_as_pandas_writes_them_in_csv() -> None:
    whole = pd.Series(pd.to_timedelta([90_061, -1, 0], unit="s"), name="c")
    texts = whole.to_frame().to_csv(index=False).split()[1:]
    lines = whole.to_frame().to_csv(index=False).splitlines()[1:]
    assert len(texts) > len(lines)
    found = pd.Series(column(str(whole.dtype)).of_texts(lines, "the table"), name="c")
    pd.testing.assert_series_equal(found, whole)


def test_a_fraction_of_a_column_of_numpy_is_shown_as_a_number() -> None:
    with pytest.raises(WrongType, match=r"row 1 is 1\.5; expected an integer"):
        column("int64").of_series(pd.Series([1.0, 1.5]), "the table")


def test_a_column_of_nothing_but_null_is_nan() -> None:
    assert np.isnan(Column("c").of_items([None, None], "the table")).all()
