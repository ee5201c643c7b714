"""Results that could be read in two ways: a list with an item for each row, or with parts that have all rows."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

import vtsserving
from vtsserving.exceptions import ModelFailed

pytestmark = pytest.mark.slow

RANDOM = np.random.default_rng(2)
X = RANDOM.normal(size=(60, 3))
OF_TWO = np.column_stack([X[:, 0] > 0, X[:, 1] > 0]).astype(int)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def scored(folder: Path, rows: Any, output: str = "out.csv", **options: Any) -> list[list[str]]:
    np.save(folder / "in.npy", rows)
    vtsserving.predict_file("model", folder / "in.npy", folder / output, **options)
    with (folder / output).open(newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8, 9, 16])
@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_of_two_targets_belong_to_their_rows(tmp_path: Path, rows: int, classes: int) -> None:
    """Two rows are as many as there are targets: nothing may take one for the other."""
    targets = OF_TWO + np.column_stack([X[:, 2] > 1, np.zeros(60)]).astype(int) * (classes - 2)
    forest = RandomForestClassifier(5, random_state=0).fit(X, targets)
    vtsserving.sklearn.save_model("model", forest, signatures={"predict_proba": {"batchable": True}})
    right = np.concatenate(forest.predict_proba(X[:rows]), axis=1)
    for batch_rows in (2, 16):
        header, *found = scored(tmp_path, X[:rows], batch_rows=batch_rows)
        second = [f"prediction_0_{at}" for at in range(classes)]
        assert header == [*second, "prediction_1_0", "prediction_1_1"]
        assert np.allclose(np.array(found, dtype=float), right)


def test_a_file_of_one_array_says_that_it_holds_no_parts(tmp_path: Path) -> None:
    forest = RandomForestClassifier(5, random_state=0).fit(X, OF_TWO)
    for example in (None, X[:4]):
        vtsserving.sklearn.save_model(
            "model", forest, signatures={"predict_proba": {"batchable": True}}, input_example=example
        )
        with pytest.raises(
            ModelFailed, match=r"a list of 2 parts, and \.npy holds one array; write \.parquet"
        ):
            scored(tmp_path, X[:8], "out.npy")


def lists_of_rows() -> dict[str, Callable[[Any], Any]]:
    """Functions whose results have an item for each row, as long as there are rows in some of the calls."""
    return {
        "arrays": lambda x: [row * 2 for row in np.asarray(x)],
        "lists": lambda x: [(row * 2).tolist() for row in np.asarray(x)],
    }


@pytest.mark.parametrize("kind", lists_of_rows())
def test_an_item_for_each_row_stays_one(tmp_path: Path, kind: str) -> None:
    vtsserving.picklable_model.save_model("model", lists_of_rows()[kind])
    rows = np.arange(9.0).reshape(3, 3)
    for count in (1, 2, 3):
        _, *found = scored(tmp_path, rows[:count])
        cells = [",".join(row).strip("[]").split(",") for row in found]
        assert np.allclose(np.array(cells, dtype=float), rows[:count] * 2)


def test_a_result_of_the_whole_call_is_none_of_as_many_rows(tmp_path: Path) -> None:
    vtsserving.picklable_model.save_model("model", lambda x: np.asarray(x).mean(axis=0))
    with pytest.raises(ModelFailed, match="the model returned 3 rows for 1"):
        scored(tmp_path, np.arange(18.0).reshape(6, 3))
