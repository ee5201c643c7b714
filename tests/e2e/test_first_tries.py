"""What is tried first: the examples of the OpenAPI document, a table as pandas writes it, a frame with the client."""

from __future__ import annotations

import concurrent.futures
import datetime
import decimal
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx2
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import vtsserving
from support import table_models
from support.served_stack import ServedStack, serving_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TEXTS = ["good film", "bad plot", "01067", "NA", "a good plot"]
MERGED = {"max_wait_ms": 50}
ROWS = {"__call__": {"batchable": True}}


def table() -> pd.DataFrame:
    """Columns whose values have no form of their own in JSON."""
    count = 12
    return pd.DataFrame(
        {
            "bin": pd.cut(np.linspace(-8, 8, count), [-9, 0.5, 2, 9]),
            "month": pd.Categorical(pd.PeriodIndex(["2024-05", "2023-01"] * 6, freq="M")),
            "day": [datetime.date(2024, 1, 1 + at) for at in range(count)],
            "price": [decimal.Decimal(at) / 8 for at in range(count)],
            "took": pd.to_timedelta(np.arange(count) * 40_000, unit="s"),
        }
    )


class Try(NamedTuple):
    """A model as it is in process, and what it is called with."""

    call: Callable[[Any], Any]
    value: Any


@pytest.fixture(scope="module", params=["embedded", "nats"])
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(tmp_path_factory.mktemp("home")))
        words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0, 1, 0, 1])
        vtsserving.sklearn.save_model("words", words, signatures={"predict_proba": {"batchable": True}})
        for name, example in (("codes", table().head(4)), ("lengths", pd.Series(TEXTS[:4], name="review"))):
            vtsserving.picklable_model.save_model(
                name,
                getattr(table_models, name),
                signatures=ROWS,
                input_example=example,
                external_modules=[table_models],
                options=MERGED,
            )
        weights = np.array([0.5, 0.25])
        vtsserving.picklable_model.save_model(
            "weighted",
            table_models.weighted,
            signatures={"__call__": {"batchable": True, "parameters": ["weights"]}},
            input_example=(np.ones((3, 2)), weights),
            external_modules=[table_models],
        )
        vtsserving.picklable_model.save_model(
            "shout",
            table_models.shout,
            signatures=ROWS,
            input_example="a text of its own",
            external_modules=[table_models],
        )
        tags = ["words", "codes", "lengths", "weighted", "shout"]
        with serving_on(request.param, tmp_path_factory.mktemp("nats"), tags=tags) as running:
            yield running


def post(stack: ServedStack, path: str, body: Any, kind: str = "application/json") -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx2.Client(trust_env=False, timeout=30) as client:
        answer = client.post(f"{stack.url}{path}", content=data, headers={"content-type": kind})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_every_example_of_the_document_is_answered(stack: ServedStack) -> None:
    with httpx2.Client(trust_env=False, timeout=30) as client:
        paths = client.get(f"{stack.url}/openapi.json").json()["paths"]
    sent = {}
    for path, operations in paths.items():
        if not path.startswith("/v1/models/") or "{" in path:
            continue
        content = operations["post"]["requestBody"]["content"]["application/json"]
        examples = [content["example"]] if "example" in content else content["schema"]["examples"]
        for example in examples:
            sent[path] = example
            post(stack, path, example)
    assert sorted(path.split("/")[3] for path in sent) == ["codes", "lengths", "shout", "weighted", "words"]
    assert sent["/v1/models/shout/__call__"] == {"args": ["a text of its own"]}
    assert sent["/v1/models/weighted/__call__"] == {"args": [[[1.0, 1.0]], [0.5, 0.25]]}
    assert sent["/v1/models/lengths/__call__"] == ["good film"]


def test_tables_of_intervals_dates_and_durations_are_what_they_were(stack: ServedStack) -> None:
    whole = table()
    from vtsserving._codecs.json_write import to_json

    for part in (whole.head(3), whole.iloc[7:8], whole.iloc[[11, 0]]):
        right = table_models.codes(part)
        path = "/v1/models/codes/__call__"
        assert post(stack, path, to_json(part)) == right
        assert post(stack, path, part.to_csv(index=False).encode(), "text/csv") == right


def test_callers_of_such_tables_share_batches_and_no_codes(stack: ServedStack) -> None:
    whole = table()
    parts = [whole.iloc[at : at + 1 + at % 3] for at in range(10)]
    cut = [part.assign(bin=part["bin"].cat.remove_unused_categories()) for part in parts]
    with vtsserving.Client(stack.url) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(client.model("codes"), [*parts, *cut]))
    assert found == [table_models.codes(part) for part in parts] * 2


@pytest.mark.parametrize("form", ["list", "records", "columns", "CSV", "client", "Series"])
def test_a_function_of_a_series_gets_one(stack: ServedStack, form: str) -> None:
    texts = pd.Series(["abc", None, "01067"], name="review", index=["x", "y", "z"])
    right = [3, 0, 5]
    items = ["abc", None, "01067"]
    path = "/v1/models/lengths/__call__"
    if form in ("client", "Series"):
        with vtsserving.Client(stack.url) as client:
            found = client.model("lengths")(items if form == "client" else texts)
        assert found.tolist() == right
        assert list(found.index) == (["x", "y", "z"] if form == "Series" else [0, 1, 2])
        return
    if form == "CSV":
        assert post(stack, path, b'review\nabc\n""\n01067\n', "text/csv") == right
        return
    bodies: dict[str, Any] = {
        "list": items,
        "records": [{"review": item} for item in items],
        "columns": {"review": items},
    }
    assert post(stack, path, bodies[form]) == right


def test_a_table_of_one_column_is_as_many_texts_as_it_has_rows(stack: ServedStack) -> None:
    path = "/v1/models/words/predict_proba"
    right = post(stack, path, TEXTS)
    assert len(right) == len(TEXTS)
    frame = pd.DataFrame({"review": TEXTS})
    assert post(stack, path, frame.to_csv(index=False).encode(), "text/csv") == right
    with vtsserving.Client(stack.url) as client:
        assert client.predict_proba("words", frame).tolist() == right
