"""A Series that is recorded: a list of values and every table of one column become it, whatever its name is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from vtsserving._codecs.csv_text import read_csv
from vtsserving._contract.arguments import Arguments
from vtsserving._model.contract import MethodContract
from vtsserving._model.parameters import Parameters
from vtsserving.exceptions import BadInput, BadShape, InvalidSignature, WrongType

pytestmark = pytest.mark.fast

TEXTS = ["a", "01067", None]
SERIES = pd.Series(TEXTS, name="review", dtype=str(pd.Series(["a"]).dtype))


def arguments(name: Any = "review", dtype: str = "str") -> Arguments:
    described = {"s": {"type": "series", "columns": [{"name": name, "dtype": dtype}]}}
    raw = {"batchable": True, "arguments": described}
    return Arguments(MethodContract.declared("f", raw).completed("f", Parameters(("s",))), {})


def conformed(value: Any, **options: Any) -> Any:
    return arguments(**options).conform([value], {})[0][0]


FORMS: dict[str, Any] = {
    "a list": TEXTS,
    "a tuple": tuple(TEXTS),
    "rows": [[text] for text in TEXTS],
    "records": [{"review": text} for text in TEXTS],
    "records of another name": [{"text": text} for text in TEXTS],
    "columns": {"review": TEXTS},
    "columns of another name": {"text": TEXTS},
    "split": {"columns": ["review"], "data": [[text] for text in TEXTS]},
    "an array": np.array(TEXTS, object),
    "an array of one column": np.array(TEXTS, object).reshape(-1, 1),
    "a Series": SERIES,
    "a frame": SERIES.to_frame(),
    "a frame of another name": SERIES.to_frame("text"),
    "CSV": read_csv(b'review\na\n01067\n""\n'),
    "CSV of another name": read_csv(b'text\na\n01067\n""\n'),
}


@pytest.mark.parametrize("value", FORMS.values(), ids=FORMS.keys())
def test_every_form_is_the_recorded_series(value: Any) -> None:
    pd.testing.assert_series_equal(conformed(value), SERIES)


def test_a_series_keeps_its_own_name_and_labels() -> None:
    given = pd.Series(["x", "y"], index=["p", "q"], name="mine", dtype=SERIES.dtype)
    pd.testing.assert_series_equal(conformed(given), given)


def test_a_series_without_a_name_stays_without() -> None:
    assert conformed(["a"], name="").name is None
    assert conformed([{"text": "a"}], name="").name is None


def test_values_are_cast_as_those_of_a_column() -> None:
    found = conformed([1, 2.0], dtype="int64")
    assert (found.dtype, found.tolist()) == (np.int64, [1, 2])
    with pytest.raises(WrongType, match=r"column 'review', row 1 is 1\.5; expected an integer"):
        conformed(pd.Series([1.0, 1.5]), dtype="int64")


@pytest.mark.parametrize(
    "value",
    [
        [{"review": "a", "more": 1}],
        {"columns": ["review", "more"], "data": [["a", 1]]},
        pd.DataFrame({"review": ["a"], "more": [1]}),
        np.ones((2, 2)),
        [["a", "b"]],
        [1],
        "a",
    ],
)
def test_what_is_not_one_value_for_each_row_is_refused(value: Any) -> None:
    with pytest.raises(BadInput):
        conformed(value)


@pytest.mark.parametrize("columns", [None, ["a", "b"]])
def test_a_series_has_one_column(columns: Any) -> None:
    described = {"type": "series", **({"columns": columns} if columns else {})}
    with pytest.raises(InvalidSignature, match=r"needs `columns` with its only one"):
        MethodContract.declared("f", {"arguments": {"s": described}})


def test_a_table_of_one_column_is_the_list_that_an_array_of_one_dimension_means() -> None:
    raw = {"batchable": True, "arguments": {"s": {"dtype": "str", "shape": [-1]}}}
    known = Arguments(MethodContract.declared("f", raw).completed("f", Parameters(("s",))), {})
    for value in (pd.DataFrame({"t": ["a", "1"]}), read_csv(b"t\na\n1\n")):
        assert known.conform([value], {})[0][0].tolist() == ["a", "1"]
    with pytest.raises(BadShape, match="expected one value for each row, got a table of 2 columns"):
        known.conform([pd.DataFrame({"t": ["a"], "u": ["b"]})], {})
    with pytest.raises(WrongType, match="row 1 is missing; expected a string"):
        known.conform([pd.DataFrame({"t": ["a", None]})], {})
