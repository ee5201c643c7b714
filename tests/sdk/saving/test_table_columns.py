"""What a table among an input example records: names, dtypes, categories, in which order and of whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.sdk import iris_classifier, iris_rows
from vtsserving._model.contract import MethodContract
from vtsserving._model.parameters import Parameters
from vtsserving._saving.contract import with_columns
from vtsserving._saving.table_columns import columns_of, with_tables

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


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=["1", 1]),
        pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
    ],
    ids=["twice", "the same as text", "of several levels"],
)
def test_columns_without_names_of_their_own_are_not_recorded(frame: pd.DataFrame) -> None:
    assert columns_of(frame) == []
    assert recorded(frame) == []


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
