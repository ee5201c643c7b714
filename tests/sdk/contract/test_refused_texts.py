"""Text where a model takes numbers is the caller's mistake, where that is certain; a model's own fault stays it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils import check_array

import vtsserving
from vtsserving._contract.refused_texts import called
from vtsserving.exceptions import WrongType

SAID = "input, column 'b' holds 'x-ray'; expected a number"
RNG = np.random.default_rng(5)
TRAINED = pd.DataFrame({"a": RNG.random(40), "b": RNG.random(40), "town": RNG.choice(["01067", "NA"], 40)})
LABELS = (TRAINED["a"] > TRAINED["b"]).astype(int)
NUMBERS = TRAINED[["a", "b"]]
SENT = pd.DataFrame({"a": [1.0, 2.0], "b": ["7.5", "x-ray"]})


def of_numbers(*steps: Any) -> Any:
    return make_pipeline(*steps, LogisticRegression())


def columns(numbers: Any) -> ColumnTransformer:
    return ColumnTransformer([("n", numbers, ["a", "b"]), ("t", OneHotEncoder(), ["town"])])


SURE: dict[str, Callable[[], Any]] = {
    "an estimator": LogisticRegression,
    "a scaler first": lambda: of_numbers(StandardScaler()),
    "an imputer, with words of its own": lambda: of_numbers(SimpleImputer()),
    "a search": lambda: GridSearchCV(LogisticRegression(), {"C": [1, 2]}, cv=2),
    "trees": lambda: RandomForestClassifier(3),
    "trees of histograms": lambda: HistGradientBoostingClassifier(max_iter=2),
}


@pytest.mark.parametrize("name", SURE)
def test_the_very_table_that_came_is_named(name: str) -> None:
    model = SURE[name]().fit(NUMBERS, LABELS)
    with pytest.raises(WrongType) as raised:
        called(model.predict, [SENT], {})
    assert raised.value.message == SAID
    assert isinstance(raised.value.__cause__, ValueError)
    with pytest.raises(WrongType):
        called(model.predict, [], {"X": SENT})


@pytest.mark.parametrize("numbers", [StandardScaler(), make_pipeline(SimpleImputer(), StandardScaler())])
def test_so_are_columns_of_it_that_a_model_picks(numbers: Any) -> None:
    model = of_numbers(columns(numbers)).fit(TRAINED, LABELS)
    with pytest.raises(WrongType) as raised:
        called(model.predict, [SENT.assign(town=["NA", "01067"])], {})
    assert raised.value.message == SAID


def test_arrays_name_the_position_of_the_column() -> None:
    model = LogisticRegression().fit(NUMBERS.to_numpy(), LABELS)
    with pytest.raises(WrongType, match="column 1 holds 'x-ray'"):
        called(model.predict, [SENT.to_numpy(object)], {})


def text_in_the_middle(frame: Any) -> Any:
    return frame.assign(b="x-ray")


def raises_alike(frame: Any) -> Any:
    raise ValueError("could not convert string to float: 'x-ray'")


def checks_its_own(frame: Any) -> Any:
    return check_array(pd.DataFrame({"b": ["x-ray"]}))


def checks_something_made(frame: Any) -> Any:
    return check_array(frame.assign(b=frame["b"] + "!"))


def converts(frame: Any) -> Any:
    return frame["b"].astype(float)


class BadText(ValueError):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raises_without_text(frame: Any) -> Any:
    raise BadText("could not convert string to float")


@pytest.mark.parametrize(
    "function", [raises_alike, checks_its_own, checks_something_made, converts, raises_without_text]
)
def test_what_a_model_s_own_code_raises_stays_its_own(function: Callable[..., Any]) -> None:
    with pytest.raises(ValueError) as raised:
        called(function, [SENT], {})
    assert not isinstance(raised.value, WrongType)


def test_text_that_a_step_of_the_model_makes_is_its_own() -> None:
    model = of_numbers(FunctionTransformer(lambda frame: frame)).fit(NUMBERS, LABELS)
    model.steps[0] = ("f", FunctionTransformer(text_in_the_middle).fit(NUMBERS))
    with pytest.raises(ValueError, match="could not convert") as raised:
        called(model.predict, [NUMBERS], {})
    assert not isinstance(raised.value, WrongType)


def test_data_that_a_model_copied_first_is_not_told_apart() -> None:
    model = BaggingClassifier(LogisticRegression(), 2).fit(NUMBERS, LABELS)
    with pytest.raises(ValueError, match="could not convert") as raised:
        called(model.predict, [SENT], {})
    assert not isinstance(raised.value, WrongType)


@pytest.mark.parametrize("limit", [None, 2])
def test_a_local_runner_says_the_same(limit: int | None) -> None:
    model = of_numbers(StandardScaler()).fit(NUMBERS, LABELS)
    options = {} if limit is None else {"max_batch_size": limit}
    vtsserving.sklearn.save_model(
        "numbers", model, signatures={"predict": {"batchable": True}}, options=options
    )
    runner = vtsserving.models.get("numbers").to_runner()
    runner.init_local()
    long = pd.concat([NUMBERS.head(5).astype(object), SENT.astype(object)], ignore_index=True)
    for sent in (SENT, long, SENT.to_dict("records")):
        with pytest.raises(WrongType) as raised:
            runner.predict.run(sent)
        assert raised.value.message == SAID
    assert runner.predict.run(NUMBERS.head(3)).tolist() == model.predict(NUMBERS.head(3)).tolist()
