"""Tables of several callers in one batch: none of them shows in the answer, or in the call, of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from support.call_rules import every
from support.executor_batches import answers_of, batch_of
from support.value_kinds import check_same
from vtsserving._model.contract import MethodContract
from vtsserving._wire import frames, rows
from vtsserving_runner.child.executor import BatchExecutor

pytestmark = pytest.mark.fast

ROWS = MethodContract.declared("predict", {"batchable": True, "result": {"axis": 0}})
DATA = replace(ROWS, undescribed="parameter")
"""Of a framework that takes data first, and does not look at its labels."""


class Model:
    """Remembers the tables that its method was called with."""

    def __init__(self, function: Any) -> None:
        self.seen: list[Any] = []
        self._function = function

    def predict(self, x: Any) -> Any:
        self.seen.append(x)
        return self._function(x)


def batch(tables: list[Any]) -> frames.Batch:
    return batch_of([rows.pack_call((table,), {}, every(0)) for table in tables])


def check(function: Any, tables: list[Any], contract: MethodContract = ROWS, **more: Any) -> list[Any]:
    """The tables that the method was called with; each caller gets what its own call gives in process."""
    model = Model(function)
    executor = BatchExecutor(model, {"predict": contract}, **more)
    for _ in range(2):
        for got, table in zip(answers_of(executor, batch(tables)), tables, strict=True):
            assert not isinstance(got, frames.Fault), got
            check_same(got, function(table))
    return model.seen


def labelled(labels: Any, values: Any = None, **options: Any) -> pd.DataFrame:
    values = range(len(labels)) if values is None else values
    return pd.DataFrame({"a": np.array(values)}, index=pd.Index(labels, **options))


def same(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    "options", [{"name": "id"}, {"dtype": object}, {"dtype": "int8"}, {"dtype": "category"}], ids=str
)
def test_labels_that_no_other_caller_has_reach_the_model_and_come_back(options: dict[str, Any]) -> None:
    tables = [labelled([value], **options) for value in (3, 7, 5)]
    if options.get("dtype") == "category":
        tables = [table.set_axis(pd.CategoricalIndex(table.index, [3, 5, 7])) for table in tables]
    seen = check(same, tables)
    assert any(len(table) == 3 and list(table.index) == [3, 7, 5] for table in seen)


def test_texts_as_labels_keep_their_dtype() -> None:
    check(same, [labelled([text], dtype=object, name="row") for text in "abc"])


def test_a_model_sees_no_label_twice_that_two_callers_have() -> None:
    seen = check(lambda x: x.loc[x.index], [labelled([3], [1]), labelled([3], [2]), labelled([4], [3])])
    assert all(table.index.is_unique for table in seen)


def test_data_of_callers_with_one_label_is_numbered_afresh_and_labelled_again() -> None:
    tables = [labelled([3], name="id"), labelled([3, 4], name="id"), labelled([4], name="id")]
    seen = check(same, tables, DATA)
    merged = [table for table in seen if len(table) == 4]
    assert merged
    assert all(table.index.is_unique for table in merged)


def test_what_a_model_numbers_anew_is_not_labelled_again() -> None:
    check(lambda x: x.reset_index(drop=True), [labelled([3]), labelled([3, 4])], DATA)
    check(lambda x: pd.Series(x["a"].to_numpy(), name="p"), [labelled([3]), labelled([3, 4])], DATA)


def test_labels_come_back_in_every_part_of_a_result() -> None:
    parts = replace(DATA, result=MethodContract.declared("p", {"result": [{"axis": 0}, {"axis": 0}]}).result)
    tables = [labelled([3], name="id"), labelled([3], name="id")]
    model = Model(lambda x: (x["a"], x))
    executor = BatchExecutor(model, {"predict": parts})
    for got in answers_of(executor, batch(tables)):
        series, table = got
        check_same(series, tables[0]["a"])
        check_same(table, tables[0])


def test_a_missing_value_of_a_neighbour_changes_no_dtype() -> None:
    def inferred(x: Any) -> Any:
        return pd.DataFrame({"v": [None if value < 0 else value for value in x["a"].tolist()]})

    check(inferred, [pd.DataFrame({"a": [value]}) for value in (1, -1, 2)])
    check(inferred, [pd.DataFrame({"a": [value]}) for value in (-1, -2, 3, 4)])


TEXTS = [
    [["x"], [None], ["y"]],
    [[None, None], ["x", None], ["y"]],
    [["x", None], [None], ["y", None]],
]


@pytest.mark.parametrize("texts", TEXTS, ids=str)
@pytest.mark.parametrize("dtype", ["str", "string", object])
def test_a_request_that_misses_all_values_has_the_dtype_of_its_own_call(texts: Any, dtype: Any) -> None:
    tables = [pd.DataFrame({"a": pd.Series(some, dtype=dtype), "n": 1.0}) for some in texts]
    check(lambda x: pd.DataFrame({"v": x["a"].tolist(), "n": x["n"]}), tables)
    check(lambda x: pd.Series(x["a"].tolist(), index=x.index), tables)


@pytest.mark.parametrize("dtype", ["str", "string", object, "category", "Int64"])
def test_columns_that_keep_their_dtype_without_a_value_are_merged(dtype: Any) -> None:
    kind = pd.CategoricalDtype([1, 2]) if dtype == "category" else dtype
    tables = [pd.DataFrame({"a": pd.Series([value], dtype=kind)}) for value in (1, None, 2)]
    if dtype in ("str", "string"):
        tables = [pd.DataFrame({"a": pd.Series([value], dtype=kind)}) for value in ("x", None, "y")]
    seen = check(same, tables)
    assert len(seen[-1]) == len(tables)


def test_categories_of_a_neighbour_are_not_in_an_answer() -> None:
    check(
        lambda x: x["a"].astype(str).astype("category"), [pd.DataFrame({"a": [value]}) for value in (1, 2, 3)]
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pd.Series(pd.Categorical(["x"], ["x", "y"])), pd.Series(pd.Categorical(["x"], ["y", "x"]))),
        (pd.Series(pd.Categorical(["x"], ["x"])), pd.Series(pd.Categorical(["x"], ["x"], ordered=True))),
        (pd.Series([1.5]), pd.Series([1], dtype="Int64")),
        (pd.Series(np.zeros(1, "M8[s]")), pd.Series(np.zeros(1, "M8[ns]"))),
        (pd.Series([0.5], name="a"), pd.Series([0.5], name="b")),
        (pd.Series(pd.DatetimeIndex(["2024"], tz="UTC")), pd.Series(pd.DatetimeIndex(["2024"], tz="Asia/Tokyo"))),
        (pd.Series([1], index=pd.Index([5], name="i")), pd.Series([1], index=pd.Index([5], name="j"))),
        (pd.Series(pd.PeriodIndex(["2024"], freq="D")), pd.Series(pd.PeriodIndex(["2024"], freq="M"))),
    ],
    ids=["categories", "order", "nullable", "unit", "name", "zone", "name of the index", "frequency"],
)  # fmt: skip
def test_tables_that_could_not_be_joined_without_changing_a_value_share_no_batch(
    one: Any, other: Any
) -> None:
    heads = [rows.pack_call((table,), {}, every(0)).head for table in (one, other)]
    assert heads[0] != heads[1]


FILLED = ([labelled([7, 3], [1.5, 4.0])], [labelled([7]), labelled([3, 5], [8, 9])])


@pytest.mark.parametrize("contract", [ROWS, DATA], ids=["labels count", "data"])
def test_labels_of_a_batch_that_is_filled_up_are_those_of_its_rows(contract: MethodContract) -> None:
    for tables in FILLED:
        seen = check(same, tables, contract, pad_to=(4, 8))
        assert all(table.index.is_unique for table in seen)


@pytest.mark.parametrize(
    "function",
    [
        same,
        lambda x: x - x.mean(),
        lambda x: x.assign(n=len(x)),
        lambda x: x.rank(),
        lambda x: pd.Series(x["a"].sum(), index=x.index),
        lambda x: {"rows": x, "mean": float(x["a"].mean())},
    ],
    ids=["rows", "centered", "counted", "ranked", "summed", "beside"],
)
def test_rows_that_a_batch_is_filled_up_with_leave_no_trace_in_a_result(function: Any) -> None:
    unknown = MethodContract.declared("predict", {"batchable": True})
    for tables in FILLED:
        seen = check_all(function, tables, unknown, pad_to=(4, 8))
        assert all(table.index.is_unique for table in seen)


def check_all(function: Any, tables: list[Any], contract: MethodContract, **more: Any) -> list[Any]:
    """Like `check`, for results that are dicts, too."""
    if not isinstance(function(tables[0]), dict):
        return check(function, tables, contract, **more)
    seen = check(lambda x: function(x)["rows"], tables, contract, **more)
    return seen + check(
        lambda x: pd.Series([function(x)["mean"]] * len(x), index=x.index), tables, contract, **more
    )
