"""Files whose rows are texts or bytes: the method gets the list of them, whatever the texts look like."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import vtsserving
from vtsserving.exceptions import BadShape, InvalidArgument, WrongType

pytestmark = pytest.mark.slow

TEXTS = ["123", "NA", 'a "b", c', "1E5", "true"]


def save_shouting(kind: str = "texts") -> None:
    def shouting(items: Any) -> list[str]:
        return [f"{type(items).__name__} {item!r}" for item in items]

    said = {"batchable": True, "arguments": {"items": {"type": kind}}}
    vtsserving.picklable_model.save_model("shouting", shouting, signatures={"__call__": said})


def score(folder: Path, frame: pd.DataFrame, **options: Any) -> list[str]:
    frame.to_csv(folder / "in.csv", index=False)
    vtsserving.predict_file("shouting", folder / "in.csv", folder / "out.csv", restart=True, **options)
    return pd.read_csv(folder / "out.csv", keep_default_na=False)["prediction"].tolist()


@pytest.mark.parametrize("rows_as", [None, "list", "table", "array"])
def test_texts_that_look_like_numbers_stay_texts(tmp_path: Path, rows_as: str | None) -> None:
    save_shouting()
    for texts in (TEXTS, TEXTS[:1], [*TEXTS, "words"]):
        right = [f"list {text!r}" for text in texts]
        assert score(tmp_path, pd.DataFrame({"t": texts}), rows_as=rows_as) == right


def test_a_missing_text_fails_alone_and_a_number_of_an_array_too(tmp_path: Path) -> None:
    save_shouting()
    assert score(tmp_path, pd.DataFrame({"t": ["a", None, "b"]})) == ["list 'a'", "", "list 'b'"]
    failed = (tmp_path / "out.csv.failed.csv").read_text()
    assert "missing; expected a string" in failed
    np.save(tmp_path / "in.npy", np.array(TEXTS))
    scored = vtsserving.predict_file("shouting", tmp_path / "in.npy", tmp_path / "of_npy.csv")
    assert (scored.rows, scored.failed) == (5, 0)
    np.save(tmp_path / "numbers.npy", np.array([1.5, 2.5]))
    with pytest.raises(WrongType, match="input is a number; expected a string"):
        vtsserving.predict_file("shouting", tmp_path / "numbers.npy", tmp_path / "no.csv")
    np.save(tmp_path / "wide.npy", np.array([["a", "b"]]))
    with pytest.raises(BadShape, match="expected one text for each row"):
        vtsserving.predict_file("shouting", tmp_path / "wide.npy", tmp_path / "no.csv")


@pytest.mark.parametrize("kind", ["texts", "bytes"])
def test_of_several_columns_the_error_says_what_to_do_and_that_works(tmp_path: Path, kind: str) -> None:
    save_shouting(kind)
    frame = pd.DataFrame({"t": ["YWI=", "YQ=="], "id": ["YzE=", "Yw=="]})
    right = ["list 'YWI='", "list 'YQ=='"] if kind == "texts" else ["list b'ab'", "list b'a'"]
    with pytest.raises(InvalidArgument) as raised:
        score(tmp_path, frame)
    said = re.fullmatch(
        rf"the method takes one column of {kind}, and would get 't', 'id'; keep what is not for it, "
        r"--keep '(\w+)', or choose its column, --column '(\w+)'",
        raised.value.message,
    )
    assert said is not None, raised.value.message
    assert score(tmp_path, frame, keep=[said.group(1)]) == right
    assert score(tmp_path, frame, columns=[said.group(2)]) == right


def test_a_text_model_of_scikit_learn_takes_such_files_too(tmp_path: Path) -> None:
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["very good", "bad"] * 4, [1, 0] * 4)
    vtsserving.sklearn.save_model("words", model, signatures={"predict": {"batchable": True}})
    texts = ["good", "bad", "very", "123"]
    pd.DataFrame({"t": texts}).to_csv(tmp_path / "in.csv", index=False)
    np.save(tmp_path / "in.npy", np.array(texts))
    np.save(tmp_path / "column.npy", np.array(texts)[:, None])
    for name in ("in.csv", "in.npy", "column.npy"):
        vtsserving.predict_file("words", tmp_path / name, tmp_path / "out.csv", restart=True)
        found = pd.read_csv(tmp_path / "out.csv")["prediction"].tolist()
        assert found == model.predict(texts).tolist(), name


def test_a_column_that_is_there_twice_gets_a_name_as_the_error_says(tmp_path: Path) -> None:
    save_shouting()
    (tmp_path / "in.csv").write_text("t,t\na,b\n")
    with pytest.raises(InvalidArgument, match="twice; each needs a name of its own"):
        vtsserving.predict_file("shouting", tmp_path / "in.csv", tmp_path / "out.csv", columns=["t"])
    (tmp_path / "in.csv").write_text("t,u\na,b\n")
    vtsserving.predict_file("shouting", tmp_path / "in.csv", tmp_path / "out.csv", columns=["t"])
    assert (tmp_path / "out.csv").read_text() == "prediction\nlist 'a'\n"
