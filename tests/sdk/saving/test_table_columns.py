"""What a table among an input example records: names, dtypes, categories, in which order and of whom."""

from __future__ import annotations

import datetime
import decimal
import json
import uuid
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.sdk import iris_classifier, iris_rows
from vtsserving._codecs.columns import Column
from vtsserving._codecs.json_write import to_json
from vtsserving._model.contract import MethodContract
from vtsserving._model.parameters import Parameters
from vtsserving._saving.contract import with_columns
from vtsserving._saving.table_columns import columns_of, with_tables
from vtsserving.exceptions import WrongType

TEXT = str(pd.Series(["a"]).dtype)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def contract(described: dict[str, Any] | None = None, known: list[str] | None = None) -> MethodContract:
    raw: dict[str, Any] = {"batchable": True, "arguments": {"df": described} if described else {}}
    completed = MethodContract.declared("f", raw).completed("f", Parameters(("df", "w")))
    return with_columns(completed, "f", known or [])


def recorded(
    frame: pd.DataFrame, described: dict[str, Any] | None = None, known: list[str] | None = None, **more: Any
) -> list[dict[str, Any]]:
    found = with_tables({"f": contract(described, known)}, (frame, 1), **more)["f"].arguments["df"]
    assert found.type == "table"
    return [dict(column) for column in found.columns]


def test_dtypes_and_categories_are_recorded_in_their_order() -> None:
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(["b", "a"], categories=["c", "b", "a"], ordered=True),
            "age": [1.0, 2.0],
            "many": [1, 2],
            "id": pd.array([1, None], dtype="Int64"),
            "on": [True, False],
            "word": ["x", "y"],
            "at": pd.to_datetime(["2024-05-01", "2024-05-02"]).tz_localize("UTC"),
            7: [1, 2],
        }
    )
    assert recorded(frame) == [
        {
            "name": "kind",
            "dtype": "category",
            "nullable": True,
            "categories": ["c", "b", "a"],
            "ordered": True,
        },
        {"name": "age", "dtype": "float64", "nullable": True},
        {"name": "many", "dtype": "int64", "nullable": False},
        {"name": "id", "dtype": "Int64", "nullable": True},
        {"name": "on", "dtype": "bool", "nullable": False},
        {"name": "word", "dtype": TEXT, "nullable": True},
        {"name": "at", "dtype": str(frame["at"].dtype), "nullable": True},
        {"name": 7, "dtype": "int64", "nullable": False},
    ]


CATEGORIES: dict[str, Any] = {
    "intervals": pd.cut(np.array([0.5, 7, 3]), [-9, 0.1, 5, 9]),
    "times": pd.Categorical(pd.to_datetime(["2024-05-01T00:00:00", "2024-05-03T01:02:03"])),
    "zoned": pd.Categorical(pd.to_datetime(["2024-05-01", "2024-05-03"]).tz_localize("Europe/Berlin")),
    "durations": pd.Categorical(pd.to_timedelta([90, 1], unit="s")),
    "periods": pd.Categorical(pd.PeriodIndex(["2024-05", "2023-01"], freq="M")),
}


@pytest.mark.parametrize("values", CATEGORIES.values(), ids=CATEGORIES.keys())
def test_categories_that_are_no_plain_values_are_recorded_as_texts(values: Any) -> None:
    frame = pd.DataFrame({"bin": values, "n": 1})
    raw = recorded(frame)[0]
    assert all(isinstance(text, str) for text in raw["categories"])
    column = Column.of(raw)
    whole = pd.Series(values)
    texts = json.loads(to_json(whole))
    for found in (column.of_items(texts, "x"), column.of_texts([text or "" for text in texts], "x")):
        assert found.dtype == whole.dtype
        assert found.codes.tolist() == whole.cat.codes.tolist()
    # One value alone, of a table that has no other category: its code is the one of the whole column.
    alone = whole.iloc[[1]].cat.remove_unused_categories()
    assert column.of_series(alone, "x").cat.codes.tolist() == whole.cat.codes.tolist()[1:2]
    with pytest.raises(WrongType, match="row 0 is 'other', which is not among its categories"):
        column.of_items(["other"], "x")


def test_a_category_without_recorded_values_keeps_its_own() -> None:
    days = pd.Categorical(["never", datetime.date(2024, 5, 1)], ["other", datetime.date(2024, 5, 1), "never"])
    raw = recorded(pd.DataFrame({"day": days}))[0]
    assert "categories" not in raw
    alone = pd.Series(days).iloc[[0]]
    assert Column.of(raw).of_series(alone, "x").cat.codes.tolist() == [2]


OBJECTS = {
    "date": (datetime.date(2024, 5, 1), "2024-05-01"),
    "time": (datetime.time(12, 30), "12:30:00"),
    "decimal": (decimal.Decimal("1.20"), "1.20"),
    "uuid": (uuid.UUID(int=5), str(uuid.UUID(int=5))),
    "bytes": (b"ab", "YWI="),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_of_one_kind_are_recorded_and_read_from_texts(kind: str) -> None:
    value, text = OBJECTS[kind]
    raw = recorded(pd.DataFrame({"o": pd.Series([None, value], dtype=object)}))[0]
    assert raw["dtype"] == kind
    column = Column.of(raw)
    assert json.loads(to_json(pd.Series([value, None], dtype=object))) == [text, None]
    assert column.of_items([text, None, value], "x").tolist() == [value, None, value]
    assert column.of_texts([text, ""], "x").tolist() == [value, None]
    assert column.of_series(pd.Series([text, None]), "x").tolist() == [value, None]
    with pytest.raises(WrongType, match="column 'o', row 1 is 'no such'; expected"):
        column.of_items([text, "no such"], "the table")
    with pytest.raises(WrongType, match="column 'o', row 0 is a list; expected"):
        column.of_items([[text]], "the table")


def test_objects_of_several_kinds_stay_what_they_are() -> None:
    mixed = pd.Series([datetime.date(2024, 5, 1), "2024-05-01"], dtype=object)
    raw = recorded(pd.DataFrame({"o": mixed}))[0]
    assert raw["dtype"] == "object"
    assert Column.of(raw).of_items(["2024-05-01"], "x").tolist() == ["2024-05-01"]


def test_a_series_of_an_example_is_recorded_with_its_name_and_dtype() -> None:
    for name, shown in (("review", "review"), (None, ""), (3, 3)):
        found = with_tables({"f": contract()}, (pd.Series(["a", None], name=name), 1))["f"].arguments["df"]
        assert found.type == "series"
        assert [dict(column) for column in found.columns] == [
            {"name": shown, "dtype": TEXT, "nullable": True}
        ]
        made = replace(contract(), arguments={"df": found})
        assert MethodContract.from_dict(made.to_dict()).arguments["df"] == found


def test_a_record_of_columns_can_be_read_again() -> None:
    frame = pd.DataFrame({"kind": pd.Categorical([1, 2], ordered=True), 0: [np.float32(1), 2]})
    made = with_tables({"f": contract()}, (frame,))["f"]
    assert MethodContract.from_dict(made.to_dict()).arguments["df"] == made.arguments["df"]


def test_what_the_author_says_wins_and_is_completed() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": pd.Categorical(["x", "y"]), "c": [1.0, 2.0]})
    said = [{"name": "c", "dtype": "float32"}, {"name": "b"}, {"name": "a", "nullable": True}]
    assert recorded(frame, {"columns": said}) == [
        {"name": "c", "dtype": "float32"},
        {"name": "b", "dtype": "category", "nullable": True, "categories": ["x", "y"]},
        {"name": "a", "dtype": "int64", "nullable": True},
    ]


def test_the_order_that_a_framework_knows_is_kept() -> None:
    frame = pd.DataFrame({"b": [1.0], "a": [2]})
    found = recorded(frame, known=["a", "b"])
    assert [(column["name"], column["dtype"]) for column in found] == [("a", "int64"), ("b", "float64")]


def test_names_that_a_framework_writes_in_its_own_way_are_those_of_the_example() -> None:
    frame = pd.DataFrame({"to tal": [1.0], "a": [2]})
    assert [column["name"] for column in recorded(frame, known=["a", "to_tal"])] == ["a", "to tal"]


def test_categories_that_a_framework_was_trained_on_win_over_those_of_the_example() -> None:
    frame = pd.DataFrame({"n": [1.0], "kind": pd.Categorical(["x"])})
    assert recorded(frame, categories=[["z", "y", "x"]])[1]["categories"] == ["z", "y", "x"]
    assert recorded(frame, categories=[["z"], ["x"]])[1]["categories"] == ["x"]


@pytest.mark.parametrize("names", [["a", "a", "b"], ["1", 1, "b"]], ids=["twice", "the same as text"])
def test_columns_that_share_a_name_are_recorded_in_their_order(names: list[Any]) -> None:
    frame = pd.DataFrame({0: [1], 1: [0.5], 2: ["x"]}).set_axis(names, axis=1)
    found = columns_of(frame)
    assert [(column["name"], column["dtype"]) for column in found] == [
        (names[0], "int64"),
        (names[1], "float64"),
        ("b", TEXT),
    ]
    assert recorded(frame) == recorded(frame, known=list(map(str, names))) == found
    made = with_tables({"f": contract()}, (frame,))["f"]
    assert MethodContract.from_dict(made.to_dict()).arguments["df"] == made.arguments["df"]


def test_columns_of_several_levels_are_not_recorded() -> None:
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    assert columns_of(frame) == []
    assert recorded(frame) == []


CATEGORIES: dict[str, Any] = {
    "intervals": pd.cut([1, 5], [0, 3, 10]),
    "intervals of times": pd.Categorical(pd.interval_range(pd.Timestamp("2024-01-01"), periods=2)),
    "intervals of durations": pd.Categorical(pd.interval_range(pd.Timedelta("1h"), periods=2, freq="90min")),
    "times": pd.Categorical(pd.to_datetime(["2024-01-01 10:00", "2024-02-01 00:00"])),
    "times with a zone": pd.Categorical(
        pd.to_datetime(["2024-01-01", "2024-07-01"]).tz_localize("Europe/Rome")
    ),
    "durations": pd.Categorical(pd.to_timedelta(["1h", "2 days"])),
    "periods": pd.Categorical(pd.PeriodIndex(["2024-01", "2024-03"], freq="M")),
    "dates": pd.Categorical([datetime.date(2024, 1, 2), datetime.date(2024, 1, 3)]),
    "decimals": pd.Categorical([Decimal("1.20"), Decimal("3")]),
    "float32": pd.Categorical(np.array([0.1, 0.2], np.float32)),
    "int8": pd.Categorical(np.array([3, 1], np.int8)),
}


@pytest.mark.parametrize("kind", CATEGORIES)
def test_categories_of_every_kind_come_back_from_their_record(kind: str) -> None:
    frame = pd.DataFrame({"kind": CATEGORIES[kind]})
    (column,) = recorded(frame)
    assert json.loads(json.dumps(column)) == column
    read = Column.of(column).target
    assert read.categories.equals(frame["kind"].cat.categories)
    assert read.ordered == frame["kind"].cat.ordered
    shown = json.loads(to_json(frame["kind"]))
    again = Column.of(column).of_items([*shown, None], "input")
    assert list(again.codes) == [*frame["kind"].cat.codes, -1]
    with pytest.raises(WrongType, match="not among its categories"):
        Column.of(column).of_items(["else"], "input")


def test_categories_that_mix_objects_are_not_recorded() -> None:
    frame = pd.DataFrame({"kind": pd.Categorical([datetime.date(2024, 1, 2), Decimal(1)])})
    assert "categories" not in recorded(frame)[0]


@pytest.mark.parametrize(
    ("items", "dtype"),
    [
        ([datetime.date(2024, 1, 2), None], "date"),
        ([datetime.time(1, 2), datetime.time(3)], "time"),
        ([Decimal("1.20"), None], "decimal"),
        ([UUID(int=5)], "uuid"),
        ([b"ab", b""], "bytes"),
        ([datetime.date(2024, 1, 2), Decimal(1)], "object"),
        ([{"a": 1}], "object"),
        ([None], "object"),
    ],
)
def test_objects_of_one_kind_are_recorded_as_what_they_are(items: list[Any], dtype: str) -> None:
    assert recorded(pd.DataFrame({"a": pd.Series(items, dtype=object)}))[0]["dtype"] == dtype


def test_a_saved_model_has_the_columns_of_its_example() -> None:
    table = pd.DataFrame(iris_rows(), columns=["a", "b", "c", "d"])
    model = iris_classifier().fit(table, np.arange(150) % 3)
    vtsserving.sklearn.save_model(
        "iris", model, input_example=table.head(2)[["d", "a", "c", "b"]].loc[:, list("abcd")]
    )
    found = vtsserving.models.get("iris").info.contracts["predict"].arguments["X"]
    assert found.type == "table"
    assert [dict(column) for column in found.columns] == [
        {"name": name, "dtype": "float64", "nullable": True} for name in "abcd"
    ]


def test_a_runner_takes_what_the_gateway_takes() -> None:
    table = pd.DataFrame(iris_rows(), columns=["a", "b", "c", "d"])
    model = iris_classifier().fit(table, np.arange(150) % 3)
    saved = vtsserving.sklearn.save_model("iris", model, input_example=table.head(2))
    runner = saved.to_runner()
    runner.init_local()
    right = model.predict(table.head(3)).tolist()
    records = table.head(3).to_dict("records")
    for given in (
        table.head(3),
        table.head(3)[["d", "c", "b", "a"]],
        records,
        [dict(reversed(row.items())) for row in records],
        {"columns": list("abcd"), "data": table.head(3).to_numpy().tolist()},
        table.head(3).to_numpy(),
        table.head(3).to_numpy().tolist(),
    ):
        assert runner.predict.run(given).tolist() == right
    with pytest.raises(vtsserving.exceptions.BadShape, match="misses 'd'"):
        runner.predict.run(table.head(3)[["a", "b", "c"]])
