"""The tables of a Service: dtypes before parsing, each column by itself, names in any order, bounds."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vtsserving.exceptions import BadInput, BadModelOutput
from vtsserving.io import PandasDataFrame, PandasSeries
from vtsserving.io.base import Body

pytestmark = pytest.mark.fast

TEXT = str(pd.Series(["a"]).dtype)


def read(descriptor: PandasDataFrame, body: Any, media_type: str = "application/json") -> pd.DataFrame:
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    frame: pd.DataFrame = descriptor.read(Body(data, media_type))
    return frame


def dtypes(frame: pd.DataFrame) -> list[str]:
    return [str(dtype) for dtype in frame.dtypes]


@pytest.mark.parametrize("enforce", [False, True])
@pytest.mark.parametrize("columns", [None, ["zip", "country", "id"]])
def test_a_dtype_holds_before_anything_is_parsed(enforce: bool, columns: list[str] | None) -> None:
    descriptor = PandasDataFrame(
        columns=columns, dtype={"zip": str, "country": str, "id": "Int64"}, enforce_dtype=enforce
    )
    csv = "zip,country,id\n01067,NA,9007199254740993\n1E5,DE,\n"
    records = [
        {"zip": "01067", "country": "NA", "id": 9007199254740993},
        {"zip": "1E5", "country": "DE", "id": None},
    ]
    for frame in (read(descriptor, csv, "text/csv"), read(descriptor, records)):
        assert dtypes(frame) == [TEXT, TEXT, "Int64"]
        assert frame.astype(object).to_numpy().tolist() == [
            ["01067", "NA", 9007199254740993],
            ["1E5", "DE", pd.NA],
        ]


def test_a_column_that_cannot_be_cast_keeps_no_other_from_it() -> None:
    descriptor = PandasDataFrame(dtype={"zip": str, "age": "int64", "id": "Int64"})
    frame = read(descriptor, "zip,age,id\n01067,young,1\n", "text/csv")
    assert dtypes(frame) == [TEXT, TEXT, "Int64"]
    assert frame["zip"].tolist() == ["01067"]
    frame = read(descriptor, [{"zip": "01067", "age": 1.5, "id": 1}])
    assert (dtypes(frame)[1:], frame["age"].tolist()) == (["float64", "Int64"], [1.5])


@pytest.mark.parametrize(
    ("dtype", "value"), [("int64", 1.5), ("int8", 300), ("int64", "x"), ("int64", None), ("bool", "x")]
)
def test_what_loses_something_is_refused_where_that_is_enforced(dtype: str, value: Any) -> None:
    descriptor = PandasDataFrame(dtype={"a": dtype}, enforce_dtype=True)
    with pytest.raises(BadInput, match="column 'a', row 0") as caught:
        read(descriptor, [{"a": value}])
    assert caught.value.code == "bad_dtype"
    with pytest.raises(BadInput):
        read(descriptor, f"a,b\n{'' if value is None else value},1\n", "text/csv")


def test_casts_that_lose_nothing_are_done_as_pandas_does_them() -> None:
    frame = read(PandasDataFrame(dtype={"a": str, "b": "int64", "c": "datetime64[ns]", "d": "float32"}), [
        {"a": 1067, "b": "22", "c": "1 May 2024", "d": 1}
    ])  # fmt: skip
    assert dtypes(frame) == [TEXT, "int64", "datetime64[ns]", "float32"]
    assert [str(value) for value in frame.iloc[0]] == ["1067", "22", "2024-05-01 00:00:00", "1.0"]
    assert dtypes(read(PandasDataFrame(dtype="float32"), [{"a": 1, "b": 2}])) == ["float32", "float32"]


def test_columns_go_by_name_and_others_are_named() -> None:
    descriptor = PandasDataFrame(columns=["b", "a"])
    for body in ([{"a": 2.0, "b": 1.0}], [{"b": 1.0, "a": 2.0}], [[1.0, 2.0]]):
        assert read(descriptor, body).to_dict("records") == [{"b": 1.0, "a": 2.0}]
    assert read(descriptor, "a,b\n2,1\n", "text/csv").to_numpy().tolist() == [[1, 2]]
    for body, said in (([{"a": 1}], "misses 'b'"), ([{"a": 1, "b": 2, "c": 3}], "unknown 'c'")):
        with pytest.raises(BadInput, match=said) as caught:
            read(descriptor, body)
        assert caught.value.code == "bad_shape"


def test_names_are_given_by_position_where_that_is_asked_for() -> None:
    descriptor = PandasDataFrame(columns=["a", "b"], apply_column_names=True, dtype={"a": str})
    assert read(descriptor, "x,y\n01067,2\n", "text/csv").to_dict("records") == [{"a": "01067", "b": 2}]
    assert read(descriptor, [{"x": "01067", "y": 2}]).to_dict("records") == [{"a": "01067", "b": 2}]
    with pytest.raises(BadInput, match="misses 'a', 'b'"):
        read(descriptor, [{"x": 1}])


def test_a_sample_gives_its_columns_dtypes_and_categories() -> None:
    sample = pd.DataFrame(
        {"k": pd.Categorical(["x"], categories=["y", "x"]), "n": [1], "f": [np.float32(0.5)], "t": ["a"]}
    )
    descriptor = PandasDataFrame.from_sample(sample)
    for empty in ([], {"columns": list(sample), "data": []}):
        one = PandasDataFrame.from_sample(sample, orient="split") if isinstance(empty, dict) else descriptor
        frame = read(one, empty)
        assert (list(frame.columns), dtypes(frame), len(frame)) == (list("knft"), dtypes(sample), 0)
    assert dtypes(read(descriptor, "t,f,n,k\n", "text/csv")) == dtypes(sample)
    frame = read(descriptor, [{"t": "01", "f": 0.1, "n": 2, "k": "x"}])
    assert dtypes(frame) == dtypes(sample)
    assert frame["k"].cat.codes.tolist() == [1]
    with pytest.raises(BadInput, match="'z', which is not among its categories 'y', 'x'"):
        read(descriptor, [{"t": "a", "f": 1, "n": 2, "k": "z"}])


@pytest.mark.parametrize("orient", ["records", "split", "columns", "index", "values"])
def test_digits_and_texts_survive_each_orient(orient: Any) -> None:
    frame = pd.DataFrame({"id": [9007199254740993, 1], "f": [0.1, np.nan], "z": ["01067", "NA"]})
    descriptor = PandasDataFrame(orient)
    back = descriptor.read(Body(descriptor.write(frame).data, "application/json"))
    assert back.astype(object).where(back.notna(), None).to_numpy().tolist() == [
        [9007199254740993, 0.1, "01067"],
        [1, None, "NA"],
    ]


def test_columns_of_one_name_are_not_lost_without_a_word() -> None:
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    with pytest.raises(BadModelOutput, match="two columns of the table have the same name"):
        PandasDataFrame().write(frame)
    assert json.loads(PandasDataFrame("split").write(frame).data)["data"] == [[1, 2]]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("a,b\n1\n", "ragged"),
        ("a,b\n1,2,3\n", "ragged"),
        ("", "bad_input"),
        ("\n", "empty_body"),
        ('a\n"x', "bad_input"),
        ("a\n\0\n", "bad_input"),
        ("\n".join(["a" * 3 + "," * 20_000]), "too_large"),
    ],
)
def test_csv_that_is_no_table_is_refused(body: str, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        read(PandasDataFrame(), body, "text/csv")
    assert caught.value.code == code


def test_a_byte_order_mark_and_quotes_are_read() -> None:
    frame = read(PandasDataFrame(), '\ufeffa,"b c"\r\n"x,\n""y""",2\r\n\r\n', "text/csv")
    assert frame.to_dict("records") == [{"a": 'x,\n"y"', "b c": 2}]
    with pytest.raises(BadInput, match="not UTF-8"):
        PandasDataFrame().read(Body(b"a\n\xff\n", "text/csv"))


def test_records_of_ever_new_names_are_refused_before_they_fill_the_memory() -> None:
    with pytest.raises(BadInput) as caught:
        read(PandasDataFrame(), [{f"c{at}": 1} for at in range(8_000)])
    assert caught.value.code == "too_large"


@pytest.mark.parametrize(
    ("orient", "body"),
    [
        ("records", [9007199254740993, None]),
        ("index", {"x": 9007199254740993, "y": None}),
        ("split", {"name": "n", "index": ["x", "y"], "data": [9007199254740993, None]}),
    ],
)
def test_a_series_keeps_every_digit_beside_a_missing_value(orient: Any, body: Any) -> None:
    found = PandasSeries(orient, dtype="Int64").read(Body(json.dumps(body).encode()))
    assert (str(found.dtype), found.iloc[0], found.iloc[1]) == ("Int64", 9007199254740993, pd.NA)


def test_a_series_of_a_sample_has_its_categories() -> None:
    descriptor = PandasSeries.from_sample(pd.Series(pd.Categorical(["x"], categories=["y", "x"])))
    assert descriptor.read(Body(b'["x", null]')).cat.codes.tolist() == [1, -1]
    with pytest.raises(BadInput, match="'z', which is not among its categories 'y', 'x'"):
        descriptor.read(Body(b'["z"]'))
