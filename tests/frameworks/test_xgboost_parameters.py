"""Parameters of XGBoost's wrappers that answers depend on: what is served has them, although the model file has not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.sdk import save_copy
from vtsserving._saving.framework import load_for_serving
from vtsserving.exceptions import SerializationError

pytestmark = pytest.mark.frameworks("xgboost")

MISSING = -777.0


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def rows_with_marks(seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose missing values are marked by a number, and targets that depend on what is missing."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(240, 3)).astype(np.float32)
    missing = random.random(rows.shape) < 0.25
    target = np.where(missing[:, 0], 2, (rows[:, 1] > 0).astype(int))
    rows[missing] = MISSING
    return rows, target


@pytest.mark.parametrize(
    "name", ["XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor"]
)
def test_every_wrapper_keeps_the_number_that_stands_for_missing(name: str) -> None:
    import xgboost

    rows, target = rows_with_marks()
    more = {"qid": np.zeros(len(rows), dtype=int)} if name == "XGBRanker" else {}
    model = getattr(xgboost, name)(n_estimators=8, max_depth=3, missing=MISSING).fit(rows, target, **more)
    saved = vtsserving.xgboost.save_model("marked", model)
    served = load_for_serving(saved.path)
    assert saved.info.runs_code is False
    assert np.array_equal(served.predict(rows), model.predict(rows))
    bare = type(model)()
    bare.load_model(saved.path / "model.ubj")
    assert not np.array_equal(bare.predict(rows), model.predict(rows)), "the mark makes no difference"
    assert served.get_params()["n_estimators"] == 8


@pytest.mark.parametrize("missing", [MISSING, math.inf, np.float32(-1), None, 0], ids=repr)
def test_any_value_of_missing_comes_back(missing: Any) -> None:
    import xgboost

    rows, target = rows_with_marks()
    model = xgboost.XGBRegressor(n_estimators=3).fit(rows, target)
    model.set_params(missing=missing)
    loaded = vtsserving.xgboost.load_model(vtsserving.xgboost.save_model("marked", model).tag)
    assert loaded.missing == missing


def test_parameters_of_every_kind_of_value_come_back() -> None:
    import xgboost

    rows, target = rows_with_marks()
    given = {
        "n_estimators": np.int64(3),
        "monotone_constraints": (1, 0, -1),
        "interaction_constraints": "[[0, 1], [2]]",
        "max_cat_to_onehot": 3,
        "eval_metric": ["mae", "rmse"],
        "importance_type": "gain",
        "n_jobs": 2,
        "max_bin": 64,
        "seed_per_iteration": True,
    }
    model = xgboost.XGBRegressor(**given).fit(rows, target)
    loaded = vtsserving.xgboost.load_model(vtsserving.xgboost.save_model("given", model).tag)
    params = loaded.get_params()
    assert {name: params[name] for name in given} == given
    assert type(params["monotone_constraints"]) is tuple
    assert np.array_equal(loaded.predict(rows), model.predict(rows))


def test_functions_that_only_training_needs_are_left_out() -> None:
    import xgboost

    def squared(target: Any, predicted: Any) -> Any:
        return predicted - target, np.ones_like(target)

    rows, target = rows_with_marks()
    random = np.random.RandomState(3)
    model = xgboost.XGBRegressor(
        n_estimators=3, objective=squared, missing=MISSING, eval_metric=lambda *_: 0.0, random_state=random
    ).fit(rows, target)
    before = random.get_state()[2]
    saved = vtsserving.xgboost.save_model("trained", model)
    assert random.get_state()[2] == before
    assert np.array_equal(load_for_serving(saved.path).predict(rows), model.predict(rows))


def test_a_parameter_that_is_no_data_is_refused_with_the_way_out() -> None:
    import xgboost

    rows, target = rows_with_marks()
    model = xgboost.XGBRegressor(n_estimators=3).fit(rows, target)
    model.set_params(missing=Path("here"))
    with pytest.raises(SerializationError, match=r"'missing'.*picklable_model"):
        vtsserving.xgboost.save_model("odd", model)
    assert vtsserving.models.list() == []


def test_a_model_without_recorded_parameters_is_loaded_as_before() -> None:
    import xgboost

    rows, target = rows_with_marks()
    model = xgboost.XGBClassifier(n_estimators=3, missing=MISSING).fit(rows, target)
    copy = save_copy(vtsserving.xgboost.save_model("new", model), {"parameters": None})
    loaded = vtsserving.xgboost.load_model(copy.tag)
    assert math.isnan(loaded.missing)
    unmarked = np.where(rows == MISSING, np.nan, rows)
    assert np.array_equal(loaded.predict(unmarked), model.predict(unmarked))
