"""Small models that tests score files with. Made inside of functions, so that they are saved by value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import vtsserving
from support.runner_models import trouble
from vtsserving._local_store.model import Model

PREDICT = {"predict": {"batchable": True}}


def save_trouble(folder: Path, rows: int = 4) -> Model:
    """Doubles arrays [rows, 2], unless a row says otherwise (support.runner_models); `calls` in the folder has each."""
    example = np.ones((rows, 2))
    return vtsserving.picklable_model.save_model(
        "trouble", trouble(folder), signatures=PREDICT, input_example=example
    )


def save_people() -> Model:
    """A classifier of a table with the columns age, fare and town; returns the probability of each class, too."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = people(200)
    wanted = np.where(frame["age"] > 40, "old", "young")
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town"]), remainder="passthrough"
    )
    model = make_pipeline(encoder, LogisticRegression(max_iter=1_000)).fit(frame, wanted)
    signatures = {name: {"batchable": True} for name in ("predict", "predict_proba")}
    return vtsserving.sklearn.save_model("people", model, signatures=signatures, input_example=frame.head(8))


def save_riders() -> Model:
    """A function of a table whose columns are whole numbers, categories and fractions."""

    def total(rides: Any) -> list[float]:
        return [float(value) for value in rides["n"] + rides["x"]]

    example = pd.DataFrame({"n": [1, 2], "kind": pd.Categorical(["a", "b"]), "x": [0.5, 1.5]})
    return vtsserving.picklable_model.save_model("riders", total, input_example=example)


def people(rows: int) -> pd.DataFrame:
    """A table of people; towns are texts that look like numbers."""
    random = np.random.default_rng(rows)
    return pd.DataFrame(
        {
            "age": random.integers(1, 90, rows),
            "fare": random.random(rows).round(3),
            "town": random.choice(["01067", "1E5", "NA", 'a "b", c'], rows),
        }
    )


def save_echo(taken: str) -> Model:
    """Returns a text that shows what it was given for each row; methods for tables, lists, and two arguments."""

    class Echo:
        def table(self, rows: Any) -> Any:
            return [f"{row!r}" for row in rows.to_dict("records")]

        def texts(self, texts: Any) -> Any:
            return [f"{text!r}" for text in texts]

        def lengths(self, texts: Any) -> Any:
            # A missing text has no length.
            return np.array([2**60 if text == "huge" else len(text) for text in texts])

        def labelled(self, texts: Any) -> Any:
            return [{"label": text[:1], "score": len(text)} for text in texts]

        def two(self, a: Any, b: Any) -> Any:
            return {"sum": a + b, "both": np.stack([a, b], axis=1)}

        def mean(self, rows: Any) -> Any:
            return float(np.mean(rows))

        def shuffled(self, rows: Any) -> Any:
            return rows.iloc[::-1]

    return vtsserving.picklable_model.save_model("echo", Echo(), signatures={taken: {"batchable": True}})
