"""Tables of frameworks that take columns by position: by name they go, whatever form they come in."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest

import vtsserving
from vtsserving._codecs.csv_text import read_csv
from vtsserving.exceptions import BadShape, WrongType

pytestmark = pytest.mark.slow

ROWS = 80
FRAME = pd.DataFrame(
    {"to tal": np.linspace(0, 1, ROWS), "many": np.arange(ROWS) % 7, "part": np.linspace(1, 0, ROWS) ** 2}
)
TARGET = FRAME["to tal"] * 3 + FRAME["many"]


def lightgbm() -> Any:
    from lightgbm import LGBMRegressor

    return LGBMRegressor(n_estimators=10, min_child_samples=2, verbose=-1).fit(FRAME, TARGET)


def xgboost() -> Any:
    from xgboost import XGBRegressor

    return XGBRegressor(n_estimators=10).fit(FRAME, TARGET)


def catboost() -> Any:
    from catboost import CatBoostRegressor

    return CatBoostRegressor(iterations=10, verbose=0).fit(FRAME, TARGET)


MODELS = {"lightgbm": lightgbm, "xgboost": xgboost, "catboost": catboost}
GROUPS = [pytest.param(name, marks=pytest.mark.frameworks(name)) for name in MODELS]


def forms(frame: pd.DataFrame) -> dict[str, Any]:
    turned = frame[frame.columns[::-1]]
    csv = io.StringIO()
    turned.to_csv(csv, index=False)
    return {
        "a frame": frame,
        "a frame in another order": turned,
        "records": turned.to_dict("records"),
        "split": {"columns": list(turned), "data": turned.to_numpy().tolist()},
        "columns": turned.to_dict("list"),
        "rows": frame.to_numpy().tolist(),
        "an array": frame.to_numpy(),
        "CSV": read_csv(csv.getvalue().encode()),
    }


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")  # of arrays, which have none
@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("with_example", [False, True])
def test_columns_go_by_name_in_every_form(
    name: str, with_example: bool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    model = MODELS[name]()
    frame = FRAME if name != "lightgbm" or with_example else FRAME.rename(columns={"to tal": "to_tal"})
    example = {"input_example": FRAME.head(3)} if with_example else {}
    saved = getattr(vtsserving, name).save_model(
        "table", model, signatures={"predict": {"batchable": True}}, **example
    )
    runner = saved.to_runner()
    runner.init_local()
    right = model.predict(FRAME.head(6))
    for form, given in forms(frame.head(6)).items():
        assert np.allclose(runner.predict.run(given), right), form
    with pytest.raises(BadShape, match="misses 'part' and has the unknown 'zz'"):
        runner.predict.run(frame.head(2).rename(columns={"part": "zz"}))


@pytest.mark.frameworks("catboost")
def test_texts_and_categories_of_catboost_are_the_recorded_frame(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    from catboost import CatBoostClassifier

    words = pd.DataFrame(
        {"text": ["good day", "bad night"] * 30, "kind": ["u", "v"] * 30, "n": np.arange(60.0)}
    )
    model = CatBoostClassifier(iterations=5, verbose=0, cat_features=["kind"], text_features=["text"])
    model.fit(words, [1, 0] * 30)
    saved = vtsserving.catboost.save_model(
        "words", model, signatures={"predict_proba": {"batchable": True}}, input_example=words.head(2)
    )
    runner = saved.to_runner()
    runner.init_local()
    right = model.predict_proba(words.head(4))
    for form, given in forms(words.head(4)).items():
        assert np.allclose(runner.predict_proba.run(given), right), form
    with pytest.raises(WrongType, match="column 'kind', row 0 is a number; expected a string"):
        runner.predict_proba.run([{"text": "a", "kind": 3, "n": 1}])


KINDS = pd.DataFrame(
    {
        "kind": pd.Categorical(["u", "v", "w", "v"] * 20, categories=["w", "v", "u"]),
        "n": np.arange(80.0),
        "size": pd.Categorical([3, 1, 2, 1] * 20),
    }
)


def trained_on_categories(name: str) -> Any:
    target = (KINDS["kind"] == "v").astype(float) + KINDS["n"] / 80
    if name == "lightgbm":
        from lightgbm import LGBMRegressor

        return LGBMRegressor(n_estimators=10, min_child_samples=2, verbose=-1).fit(KINDS, target)
    from xgboost import XGBRegressor

    return XGBRegressor(n_estimators=10, enable_categorical=True).fit(KINDS, target)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("lightgbm", marks=pytest.mark.frameworks("lightgbm")),
        pytest.param("xgboost", marks=pytest.mark.frameworks("xgboost", "tables")),
    ],
)
def test_categories_are_known_without_an_example(
    name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    model = trained_on_categories(name)
    module = getattr(vtsserving, name)
    booster = model.booster_ if name == "lightgbm" else model.get_booster()
    for saved in (module.save_model("kinds", model), module.save_model("booster", booster)):
        runner = saved.to_runner()
        runner.init_local()
        right = model.predict(KINDS.head(6))
        plain = KINDS.head(6).astype({"kind": object, "size": object})
        for form, given in forms(plain).items():
            if form != "an array":
                assert np.allclose(runner.predict.run(given), right), form
        with pytest.raises(WrongType, match="column 'kind', row 0 is 'x', which is not among"):
            runner.predict.run([{"kind": "x", "n": 1.0, "size": 1}])
