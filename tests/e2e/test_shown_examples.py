"""Each example that the documentation shows is of that very method, and answered when it is sent as it stands."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import httpx2
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import vtsserving
from support import shown_models
from support.served_stack import serving
from vtsserving.io import JSON, File, Image, Multipart, NumpyNdarray, PandasDataFrame, PandasSeries, Text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = {"__call__": {"batchable": True}}
FRAME = pd.DataFrame(
    {
        "age": [22.0, np.nan, 35.5],
        "sex": ["male", "female", "male"],
        "kind": pd.cut([1, 5, 9], [0, 3, 10]),
        "at": pd.to_datetime(["2024-01-02", "2024-03-04", "2024-05-06"]),
        "price": [Decimal("1.20"), Decimal("3"), None],
        "born": [datetime.date(2000, 1, 2), None, datetime.date(2001, 1, 2)],
    }
)
LONG = pd.DataFrame({"age": np.arange(200.0), "sex": ["male", "female"] * 100})


class Given(NamedTuple):
    """A function that is saved, and what with.

    Attributes:
        call: of `shown_models`.
        saved: keyword arguments of `save_model`.
        shows: the body that is shown; None: none, since JSON has no such call.
    """

    call: Any
    saved: dict[str, Any]
    shows: Any


def described(*columns: dict[str, Any]) -> dict[str, Any]:
    return {"signatures": {"__call__": {"arguments": {"df": {"type": "table", "columns": list(columns)}}}}}


def with_example(example: Any, signatures: Any = None) -> dict[str, Any]:
    return {"input_example": example, **({"signatures": signatures} if signatures else {})}


SHAPE = {"type": "tensor", "dtype": "float32", "shape": [-1, 3]}
IMAGES = {"type": "tensor", "dtype": "float32", "shape": [-1, 28, 28]}
WEIGHTED = {"__call__": {"batchable": True, "parameters": ["weights"]}}
GIVEN = {
    "array": Given(shown_models.doubled, with_example(np.ones((4, 2), np.float32), ROWS), [[1, 1]]),
    "gaps": Given(shown_models.doubled, with_example(np.array([[np.nan, 2.5]]), ROWS), [[None, 2.5]]),
    "list": Given(shown_models.lengths, with_example(["ab", "c"], ROWS), ["ab"]),
    "number": Given(shown_models.doubled, with_example(5), {"args": [5]}),
    "text": Given(shown_models.doubled, with_example("ab", ROWS), {"args": ["ab"]}),
    "two arguments": Given(
        shown_models.weighted,
        with_example((np.ones((3, 2)), np.array([0.5, 0.25])), WEIGHTED),
        {"args": [[[1, 1]], [0.5, 0.25]]},
    ),
    "object": Given(
        shown_models.total, with_example({"price": 2.5, "count": 2}), {"args": [{"price": 2.5, "count": 2}]}
    ),
    "columns": Given(
        shown_models.columns,
        with_example(
            np.array([[1.0, 2.0], [3.0, 4.0]]), {"__call__": {"batchable": True, "batch_dim": (1, 0)}}
        ),
        [[1], [3]],
    ),
    "whole": Given(
        shown_models.scores, with_example(np.array([[1.0], [2.0], [4.0]]), {"__call__": {}}), [[1], [2], [4]]
    ),
    "long table": Given(shown_models.cells, with_example(LONG), [{"age": 0, "sex": "male"}]),
    "table": Given(
        shown_models.cells,
        with_example(FRAME, ROWS),
        [
            {
                "age": 22,
                "sex": "male",
                "kind": "(0, 3]",
                "at": "2024-01-02T00:00:00",
                "price": "1.20",
                "born": "2000-01-02",
            }
        ],
    ),
    "shared names": Given(
        shown_models.cells,
        with_example(pd.DataFrame([[1, 0.5, "x"]], columns=["a", "a", "b"]), ROWS),
        [[1, 0.5, "x"]],
    ),
    "described": Given(
        shown_models.months,
        described({"name": "at", "dtype": "datetime64[ns]"}, {"name": "n", "dtype": "Int64"}),
        [{"at": "2024-05-01T12:30:00", "n": 0}],
    ),
    "shape": Given(
        shown_models.doubled, {"signatures": {"__call__": {"arguments": {"x": SHAPE}}}}, [[0, 0, 0]]
    ),
    "texts of a table": Given(shown_models.cells, described({"name": "zip", "dtype": "str"}), None),
    "images": Given(shown_models.doubled, {"signatures": {"__call__": {"arguments": {"x": IMAGES}}}}, None),
    "nothing": Given(shown_models.doubled, {}, None),
    "named": Given(shown_models.scaled, {}, None),
    "bytes": Given(shown_models.sizes, with_example([b"ab"], ROWS), None),
    "arrays by name": Given(shown_models.sums, with_example({"a": np.ones((2, 2)), "b": np.ones(2)}), None),
    "series": Given(shown_models.upper, with_example(pd.Series(["a", "b"])), ["a", "b"]),
    "of several": Given(shown_models.of_several, with_example(np.ones((900, 2))), None),
    "complex": Given(shown_models.spectrum, with_example(np.ones((1, 4))), None),
}


def service() -> vtsserving.Service:
    svc = vtsserving.Service("shop", runners=[])
    for orient in ("records", "columns", "index", "split", "values"):
        table = PandasDataFrame.from_sample(FRAME, orient=orient)  # type: ignore[arg-type]
        svc.api(input=table, output=JSON(), name=f"table_{orient}")(lambda df: list(map(str, df.dtypes)))
    as_csv = PandasDataFrame.from_sample(FRAME, default_format="csv")
    svc.api(input=as_csv, output=JSON(), name="table_csv")(lambda df: list(map(str, df.dtypes)))
    named = PandasDataFrame(columns=["a", "b"])
    svc.api(input=named, output=JSON(), name="table_named")(lambda df: df["a"].tolist())
    for orient in ("records", "index", "split"):
        series = PandasSeries.from_sample(FRAME["at"], orient=orient)
        svc.api(input=series, output=JSON(), name=f"series_{orient}")(lambda one: one.dt.month.tolist())
    kinds = PandasSeries.from_sample(FRAME["kind"])
    svc.api(input=kinds, output=JSON(), name="series_kinds")(lambda one: [str(value) for value in one])
    array = NumpyNdarray.from_sample(np.array([[1.5, np.nan], [2.5, 3.0]], np.float32))
    svc.api(input=array, output=JSON(), name="array")(lambda x: list(x.shape))
    large = NumpyNdarray.from_sample(np.ones((5_000, 3)))
    svc.api(input=large, output=JSON(), name="array_large")(lambda x: list(x.shape))
    svc.api(input=NumpyNdarray(), output=JSON(), name="array_any")(lambda x: list(x.shape))
    svc.api(input=Text.from_sample("rose"), output=Text(), name="text")(lambda text: text)
    svc.api(input=JSON.from_sample({"a": [1]}), output=JSON(), name="json")(lambda value: value["a"])
    svc.api(input=File(), output=JSON(), name="file")(lambda file: len(file.read()))
    svc.api(input=Image(), output=JSON(), name="image")(lambda image: image.size)
    parts = Multipart(
        rows=NumpyNdarray.from_sample(np.ones((2, 2))),
        words=PandasSeries.from_sample(FRAME["sex"]),
        note=Text.from_sample("x"),
    )
    svc.api(input=parts, output=JSON(), name="parts")(
        lambda rows, words, note: [rows.shape, words.tolist(), note]
    )
    return svc


WITHOUT = {"/file", "/image", "/array_any", "/table_named"}
"""Functions whose input nobody gave an example of."""


def save_estimators() -> list[str]:
    passengers = FRAME[["age", "sex"]].fillna(0)
    survived = [0, 1, 0]
    encoded = ColumnTransformer([("sex", OneHotEncoder(), ["sex"])], remainder="passthrough")
    titanic = make_pipeline(encoded, LogisticRegression()).fit(passengers, survived)
    texts = pd.Series(["good film", "bad film", "good"])
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, survived)
    iris = LogisticRegression().fit(np.arange(12.0).reshape(3, 4), survived)
    for name, model, example in (
        ("titanic", titanic, passengers),
        ("titanic-unseen", titanic, None),
        ("titanic-long", titanic, pd.concat([passengers] * 100)),
        ("words", words, texts),
        ("words-list", words, list(texts)),
        ("iris", iris, None),
        ("iris-shown", iris, np.ones((2, 4))),
    ):
        vtsserving.sklearn.save_model(name, model, input_example=example)
    return ["titanic", "titanic-unseen", "titanic-long", "words", "words-list", "iris", "iris-shown"]


class Documented(NamedTuple):
    """A running gateway and its document."""

    url: str
    paths: dict[str, Any]

    def send(self, path: str, **request: Any) -> httpx2.Response:
        with httpx2.Client(trust_env=False, timeout=60) as client:
            return client.post(f"{self.url}{path}", **request)


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Documented]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(tmp_path_factory.mktemp("home")))
        tags = save_estimators()
        for name, given in GIVEN.items():
            tag = name.replace(" ", "-")
            vtsserving.picklable_model.save_model(
                tag, given.call, external_modules=[shown_models], check=False, **given.saved
            )
            tags.append(tag)
        with serving(service, tags=tags) as stack, httpx2.Client(trust_env=False, timeout=60) as client:
            document = client.get(f"{stack.url}/openapi.json").json()
            yield Documented(stack.url, document["paths"])


def examples_of(schema: dict[str, Any]) -> Iterator[Any]:
    """All examples anywhere in the schema of a body."""
    yield from schema.get("examples", ())
    for part in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        yield from examples_of(part)


def content_of(documented: Documented, path: str) -> dict[str, Any]:
    content: dict[str, Any] = documented.paths[path]["post"]["requestBody"]["content"]
    return content


@pytest.mark.parametrize("name", GIVEN)
def test_a_function_shows_what_it_answers_or_nothing(documented: Documented, name: str) -> None:
    path = f"/v1/models/{name.replace(' ', '-')}/__call__"
    body = content_of(documented, path)["application/json"]
    shown = [*examples_of(body["schema"]), *([body["example"]] if "example" in body else [])]
    if GIVEN[name].shows is None:
        assert shown == []
        return
    assert shown == [GIVEN[name].shows] * 2
    answer = documented.send(path, json=shown[0])
    assert answer.status_code == 200, answer.text


def test_a_table_s_example_is_what_the_model_was_saved_with(documented: Documented) -> None:
    answer = documented.send("/v1/models/table/__call__", json=GIVEN["table"].shows)
    assert answer.json() == shown_models.cells(FRAME.head(1))


def test_the_examples_of_estimators_are_answered(documented: Documented) -> None:
    without = []
    for path, item in documented.paths.items():
        if not path.endswith("/predict") or "{" in path:
            continue
        body = item["post"]["requestBody"]["content"]["application/json"]
        if "example" not in body:
            without.append(path)
            continue
        assert list(examples_of(body["schema"])) == [body["example"]]
        answer = documented.send(path, json=body["example"])
        assert answer.status_code == 200, (path, body["example"], answer.text)
    # Names alone do not say which texts a column may hold.
    assert without == ["/v1/models/titanic-unseen/predict"]


def test_no_example_stands_where_no_model_is_named(documented: Documented) -> None:
    for path, item in documented.paths.items():
        if "{" in path and "post" in item:
            assert '"examples"' not in json.dumps(item["post"].get("requestBody", {})), path


def test_the_examples_of_a_service_are_answered(documented: Documented) -> None:
    sent, without = 0, set()
    for path in (
        path for path in documented.paths if path.count("/") == 1 and "post" in documented.paths[path]
    ):
        content = content_of(documented, path)
        if "multipart/form-data" in content:
            parts = content["multipart/form-data"]["schema"]["properties"]
            kinds = content["multipart/form-data"]["encoding"]
            files = {}
            for name, part in parts.items():
                (example,) = part["examples"]
                text = example if isinstance(example, str) else json.dumps(example)
                files[name] = (None, text, kinds[name]["contentType"].split(",")[0])
            answer = documented.send(path, files=files)
            assert answer.status_code == 200, (path, answer.text)
            sent += 1
            continue
        shown = [(kind, one) for kind, form in content.items() for one in examples_of(form["schema"])]
        for kind, example in shown:
            text = json.dumps(example) if kind == "application/json" else example
            answer = documented.send(path, content=text, headers={"content-type": kind})
            assert answer.status_code == 200, (path, kind, example, answer.text)
            sent += 1
        if not shown:
            without.add(path)
    assert without == WITHOUT
    assert sent == 21
