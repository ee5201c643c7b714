"""Declarations that are checked against the method, its framework and its example when a model is saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vtsserving
from support.sdk import iris_classifier, iris_rows
from vtsserving._model.parameters import Parameters
from vtsserving._model.result_form import ResultForm
from vtsserving._saving.contract import contracts_of
from vtsserving._saving.taking import Taking
from vtsserving.exceptions import InvalidSignature


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def functions() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions that are pickled with their code, since they are local."""

    def scale(x: Any, weights: Any = 1.0, *, offset: float = 0.0) -> Any:
        return x * weights + offset

    def parts(x: Any) -> dict[str, Any]:
        return {"twice": x * 2, "classes": np.array(["a", "b"])}

    return scale, parts


scale, parts = functions()


def save(function: Callable[..., Any], signature: dict[str, Any], **more: Any) -> vtsserving.Model:
    """Save a function; batchable unless it says otherwise."""
    signatures = {"__call__": {"batchable": True, **signature}}
    return vtsserving.picklable_model.save_model("scale", function, signatures=signatures, **more)


PATH = "signatures['__call__']"
ROWS = np.arange(10.0).reshape(5, 2)

REFUSED: dict[str, tuple[Callable[..., Any], dict[str, Any], Any, str]] = {
    "an unknown argument": (
        scale,
        {"arguments": {"wheights": {"kind": "rows"}}},
        None,
        f"{PATH}.arguments['wheights']: the method has no such argument, did you mean 'weights'?; it takes "
        "x, weights, offset",
    ),
    "an unknown parameter": (scale, {"parameters": ["alpha"]}, None, f"{PATH}.parameters names 'alpha'"),
    "an unknown key": (scale, {"args": {}}, None, f"{PATH} has the unknown key 'args'"),
    "an axis that the example does not have": (
        scale,
        {"arguments": {"x": {"axis": 2}}},
        ROWS,
        f"{PATH}.arguments['x'].axis is 2, but in the input example 'x' has only 2 dimensions",
    ),
    "an axis of the second argument": (
        scale,
        {"arguments": {"weights": {"axis": 1}}},
        (ROWS, np.ones(5)),
        f"{PATH}.arguments['weights'].axis is 1, but in the input example 'weights' has only 1 dimensions",
    ),
    "a batch_dim that the example does not have": (
        scale,
        {"batch_dim": 2},
        ROWS,
        f"{PATH}.batch_dim is 2, but in the input example 'x' has only 2 dimensions",
    ),
    "a number that is declared to be rows": (
        scale,
        {"arguments": {"weights": {"kind": "rows"}}},
        (ROWS, 2.0),
        f"{PATH}.batch_dim is 0, but in the input example 'weights' has only 0 dimensions",
    ),
    "extra_columns of a table without columns": (
        scale,
        {"arguments": {"x": {"type": "table", "extra_columns": "ignore"}}},
        None,
        f"{PATH}.arguments['x'].extra_columns needs `columns`",
    ),
    "a result along an axis that it does not have": (
        scale,
        {"result": {"axis": 2}},
        ROWS,
        f"{PATH}.result is a ndarray, which has no rows along axis 2, with the input example",
    ),
    "a result with another number of rows": (
        scale,
        {"result": {"axis": 1}},
        ROWS,
        f"{PATH}.result has 2 rows for 5, with the input example",
    ),
    "a result with parts that it does not have": (
        parts,
        {"result": {"twice": {"axis": 0}, "labels": {"same": True}}},
        ROWS,
        f"{PATH}.result is a dict, not a dict of twice, labels",
    ),
    "a part that has no rows": (
        parts,
        {"result": {"twice": {"axis": 0}, "classes": {"axis": 0}}},
        ROWS,
        f"{PATH}.result['classes'] has 2 rows for 5",
    ),
}


@pytest.mark.parametrize(
    ("function", "signature", "example", "beginning"), REFUSED.values(), ids=REFUSED.keys()
)
def test_what_the_method_cannot_have_is_refused_and_nothing_is_saved(
    function: Callable[..., Any], signature: dict[str, Any], example: Any, beginning: str
) -> None:
    with pytest.raises(InvalidSignature) as caught:
        save(function, signature, input_example=example)
    assert caught.value.message.startswith(beginning), caught.value.message
    assert vtsserving.models.list() == []


def test_a_table_for_what_takes_arrays_is_refused() -> None:
    has, taking = Parameters(("x",), takes_more=False), Taking(tables=False)
    for described, key in (({"type": "table"}, "type"), ({"columns": ["a"]}, "columns")):
        with pytest.raises(InvalidSignature) as caught:
            contracts_of({"forward": {"arguments": {"x": described}}}, taking, lambda *_: has, None)
        assert caught.value.message == (
            f"signatures['forward'].arguments['x'].{key} says that it is a table, but the method takes arrays"
        )


def test_an_argument_of_its_own_axis_may_have_any_number_of_rows_along_it() -> None:
    def joined(x: Any, y: Any) -> Any:
        return x + y.T

    saved = save(joined, {"arguments": {"y": {"axis": 1}}}, input_example=(ROWS, ROWS.T))
    assert [spec["shape"] for spec in saved.info.input_specs["__call__"]["args"]] == [[-1, 2], [2, -1]]


def test_a_number_beside_rows_is_no_obstacle_for_an_example() -> None:
    saved = save(scale, {}, input_example=(ROWS, 2.0))
    assert saved.info.contracts["__call__"].result is not None


@pytest.mark.parametrize("batchable", [True, False])
def test_no_dtype_and_shape_are_recorded_of_a_result_of_several_tensors(batchable: bool) -> None:
    def pair(x: Any) -> Any:
        return x, x + 1

    def pair_in_a_list(x: Any) -> Any:
        return [x, x + 1]

    def a_list_of_rows(x: Any) -> Any:
        return [float(row[0]) for row in x]

    def spec(function: Any) -> Any:
        saved = save(function, {"batchable": batchable}, input_example=ROWS)
        return saved.info.output_specs["__call__"]

    assert spec(pair) == spec(pair_in_a_list) == {"dtype": "object"}
    assert spec(a_list_of_rows) == {"dtype": "float64", "shape": [-1]}


def test_the_warning_says_why_a_part_of_the_example_is_refused() -> None:
    def of_five(x: Any) -> Any:
        if len(x) != 5:
            raise ValueError(f"Got {len(x)}, expected 5")
        return x

    with pytest.warns(
        UserWarning, match=r"a call of some of its rows raises ValueError: Got 3, expected 5\. Its"
    ):
        saved = save(of_five, {}, input_example=ROWS)
    assert not saved.info.contracts["__call__"].merged


def test_labels_of_other_lengths_follow_the_rows_as_numbers_do() -> None:
    rows = np.arange(10.0).reshape(10, 1)
    labels = np.where(rows[:, 0] < 5, "low", "high")
    saved = vtsserving.sklearn.save_model(
        "levels",
        iris_classifier().fit(rows, labels),
        signatures={"predict": {"batchable": True}},
        input_example=rows[3:8],
    )
    contract = saved.info.contracts["predict"]
    assert contract.merged
    assert contract.result == ResultForm(0)


def test_a_parameter_of_another_form_than_the_rows_is_no_obstacle_for_an_example() -> None:
    saved = save(scale, {"batch_dim": 1, "parameters": ["weights"]}, input_example=(ROWS, np.ones(1)))
    assert saved.info.contracts["__call__"].arguments["weights"].kind == "parameter"


def test_the_names_of_a_trained_tables_columns_are_recorded_beside_what_its_author_says() -> None:
    table = pd.DataFrame(iris_rows(), columns=["a", "b", "c", "d"])
    model = iris_classifier().fit(table, np.arange(150) % 3)
    described = {"X": {"type": "table", "extra_columns": "ignore"}}
    saved = vtsserving.sklearn.save_model(
        "iris", model, signatures={"predict": {"batchable": True, "arguments": described}}
    )
    found = saved.info.contracts["predict"].arguments["X"]
    assert [column["name"] for column in found.columns] == ["a", "b", "c", "d"]
    assert (found.type, found.extra_columns) == ("table", "ignore")


@pytest.mark.parametrize("described", [{"axis": 1}, {"dtype": "float64", "shape": [-1, 4]}], ids=str)
def test_what_is_no_table_of_rows_gets_no_columns(described: dict[str, Any]) -> None:
    table = pd.DataFrame(iris_rows(), columns=["a", "b", "c", "d"])
    model = iris_classifier().fit(table, np.arange(150) % 3)
    signatures = {"predict": {"batchable": True, "arguments": {"X": described}}}
    saved = vtsserving.sklearn.save_model("iris", model, signatures=signatures, check=False)
    assert vtsserving.models.get(saved.tag).info.contracts["predict"].arguments["X"].columns == ()


def test_what_comes_later_is_stored_as_it_is_given() -> None:
    columns = [
        {"name": "job", "dtype": "category", "categories": ["cook", "smith"], "nullable": False},
        {"name": "age", "dtype": "Int64", "nullable": True},
    ]
    described = {"x": {"kind": "rows", "type": "table", "columns": columns, "extra_columns": "ignore"}}
    saved = save(scale, {"arguments": described, "deterministic": "tolerant"})
    recorded = vtsserving.models.get(saved.tag).info.extra["contract"]
    assert recorded["number"] == 1
    assert recorded["methods"]["__call__"]["arguments"] == described
    assert recorded["methods"]["__call__"]["deterministic"] == "tolerant"
