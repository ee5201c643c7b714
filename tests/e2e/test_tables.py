"""Tables from every form to a real model and back, alone and merged, embedded and over NATS: as it is in process."""

from __future__ import annotations

import asyncio
import io
import json
import urllib.request
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

import vtsserving
from support import table_models
from support.served_stack import ServedStack, serving_on
from vtsserving._wire.values import encode_value

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

COLUMNS = ["age", "fare", "sex", "zip"]


def passengers(count: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "age": np.where(rng.random(count) < 0.2, np.nan, rng.integers(1, 80, count).astype(float)),
            "fare": rng.random(count) * 100,
            "sex": rng.choice(["male", "female"], count),
            "zip": rng.choice(["01067", "1E5", "NA"], count),
        }
    )


def pipeline(frame: pd.DataFrame) -> Pipeline:
    """Takes its columns by name, and so no array, for ever."""
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(), ["age", "fare"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["sex", "zip"]),
        ]
    )
    survived = (frame["sex"] == "female") ^ (frame["zip"] == "01067")
    return Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(frame, survived)


class Served(NamedTuple):
    """A running stack, and what its model is in process."""

    stack: ServedStack
    model: Pipeline

    def right(self, frame: pd.DataFrame) -> Any:
        return self.model.predict_proba(frame)


@pytest.fixture(scope="module", params=["embedded", "nats"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(tmp_path_factory.mktemp("home")))
        frame = passengers()
        model = pipeline(frame)
        options = {"max_wait_ms": 100}
        vtsserving.sklearn.save_model(
            "titanic",
            model,
            signatures={"predict_proba": {"batchable": True}},
            input_example=frame.head(3),
            options=options,
        )
        vtsserving.sklearn.save_model("named", model, signatures={"predict_proba": {"batchable": True}})
        vtsserving.picklable_model.save_model(
            "older",
            table_models.older,
            input_example=pd.DataFrame({"age": [22.0], "sex": ["male"]}),
            external_modules=[table_models],
        )
        example = pd.DataFrame(
            {"id": [9007199254740993], "zip": ["01067"], "at": pd.to_datetime(["2024-05-01"])}
        )
        vtsserving.picklable_model.save_model(
            "shown", table_models.shown, input_example=example, external_modules=[table_models]
        )
        gaps = np.array([[1.0, np.nan], [2.0, 0.0], [3.0, 1.0], [4.0, np.nan]] * 10)
        trees = HistGradientBoostingClassifier(max_iter=3).fit(gaps, np.arange(40) % 2)
        vtsserving.sklearn.save_model("gaps", trees, signatures={"predict_proba": {"batchable": True}})
        tags = ["titanic", "named", "older", "shown", "gaps"]
        with serving_on(request.param, tmp_path_factory.mktemp("nats"), tags=tags) as stack:
            yield Served(stack, model)


def ask(world: Served, path: str, body: Any, kind: str = "application/json") -> httpx2.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx2.Client(trust_env=False, timeout=30) as client:
        return client.post(f"{world.stack.url}{path}", content=data, headers={"content-type": kind})


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {name: [row[name] for row in records(frame)] for name in frame.columns}


def forms(frame: pd.DataFrame) -> dict[str, tuple[Any, str]]:
    """A body and its content type, by the name of its form."""
    rows = [list(row.values()) for row in records(frame)]
    turned = frame[frame.columns[::-1]]
    csv = io.StringIO()
    turned.to_csv(csv, index=False)
    as_json = "application/json"
    return {
        "records": (records(frame), as_json),
        "records with sorted keys": (records(turned), as_json),
        "split": ({"columns": list(turned), "data": [row[::-1] for row in rows]}, as_json),
        "split with an index": (
            {"columns": COLUMNS, "index": [*range(7, 7 + len(rows))], "data": rows},
            as_json,
        ),
        "columns": (columns(turned), as_json),
        "columns as pandas writes them": (json.loads(frame.to_json()), as_json),
        "rows": (rows, as_json),
        "args of records": ({"args": [records(turned)]}, as_json),
        "kwargs of columns": ({"kwargs": {"X": columns(turned)}}, as_json),
        "args of split": ({"args": [{"columns": COLUMNS, "data": rows}], "kwargs": {}}, as_json),
        "msgpack of a frame": (encode_value(turned), "application/msgpack"),
        "msgpack of records": (encode_value(records(frame)), "application/msgpack"),
        "CSV": (csv.getvalue().encode(), "text/csv"),
        "CSV with a charset": (csv.getvalue().encode(), "text/csv; charset=utf-8"),
    }


# Texts that look like numbers are texts in a CSV only where a dtype is recorded: `named` has its names alone.
CASES = [(form, "titanic") for form in forms(passengers(2))]
CASES += [(form, "named") for form in forms(passengers(2)) if not form.startswith("CSV")]


@pytest.mark.parametrize(("form", "model"), CASES)
def test_every_form_becomes_the_recorded_frame(world: Served, form: str, model: str) -> None:
    frame = passengers(4)
    body, kind = forms(frame)[form]
    answer = ask(world, f"/v1/models/{model}/predict_proba", body, kind)
    assert answer.status_code == 200, answer.text
    assert np.allclose(answer.json(), world.right(frame))


def oip(frame: pd.DataFrame, *, wide: bool) -> list[dict[str, Any]]:
    shape = [len(frame), 1] if wide else [len(frame)]
    kinds = {"age": "FP64", "fare": "FP64", "sex": "BYTES", "zip": "BYTES"}
    return [
        {"name": name, "shape": shape, "datatype": kinds[name], "data": values}
        for name, values in columns(frame[frame.columns[::-1]]).items()
    ]


@pytest.mark.parametrize("parameters", [{}, {"content_type": "pd"}], ids=str)
@pytest.mark.parametrize("wide", [False, True], ids=["n", "n x 1"])
def test_inputs_of_the_protocol_are_columns(world: Served, parameters: dict[str, str], wide: bool) -> None:
    frame = passengers(3)
    request = {"inputs": oip(frame, wide=wide), "parameters": {**parameters, "method": "predict_proba"}}
    answer = ask(world, "/v2/models/titanic/infer", request)
    assert answer.status_code == 200, answer.text
    assert np.allclose(np.reshape(answer.json()["outputs"][0]["data"], (3, 2)), world.right(frame))


def test_the_metadata_of_the_protocol_names_the_columns_as_they_are_sent(world: Served) -> None:
    with urllib.request.urlopen(f"{world.stack.url}/v2/models/titanic") as response:
        inputs = json.loads(response.read())["inputs"]
    assert [(one["name"], one["datatype"], one["shape"]) for one in inputs] == [
        ("age", "FP64", [-1]),
        ("fare", "FP64", [-1]),
        ("sex", "BYTES", [-1]),
        ("zip", "BYTES", [-1]),
    ]


def test_many_callers_at_once_get_their_own_rows(world: Served) -> None:
    frames = [passengers(60).iloc[at : at + 1 + at % 3] for at in range(24)]
    sent = [list(forms(frame).values())[at % 14] for at, frame in enumerate(frames)]

    async def all_of_them() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
            return await asyncio.gather(
                *(
                    client.post(
                        f"{world.stack.url}/v1/models/titanic/predict_proba",
                        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
                        headers={"content-type": kind},
                    )
                    for body, kind in sent
                )
            )

    answers = asyncio.run(all_of_them())
    for frame, answer in zip(frames, answers, strict=True):
        assert answer.status_code == 200, answer.text
        assert np.allclose(answer.json(), world.right(frame))
    assert max(int(answer.headers["x-vts-batch-size"]) for answer in answers) > 3


@pytest.mark.parametrize("model", ["titanic", "older", "shown"])
def test_the_example_on_the_page_of_the_documentation_works_when_it_is_sent(
    world: Served, model: str
) -> None:
    with urllib.request.urlopen(f"{world.stack.url}/openapi.json") as response:
        paths = json.loads(response.read())["paths"]
    path, item = next((path, item) for path, item in paths.items() if path.startswith(f"/v1/models/{model}/"))
    example = item["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = ask(world, path, example)
    assert answer.status_code == 200, answer.text


def test_values_keep_every_digit_and_every_character(world: Served) -> None:
    dtypes = ["int64", str(pd.Series(["a"]).dtype), str(pd.to_datetime(pd.Series(["2024-05-01"])).dtype)]
    right = [["9007199254740993", "01067", "2024-05-01 00:00:00", *dtypes]]
    row = {"id": 9007199254740993, "zip": "01067", "at": "2024-05-01"}
    csv = b"zip,id,at\n01067,9007199254740993,2024-05-01\n"
    for body, kind in (
        ([row], "application/json"),
        (csv, "text/csv"),
        ({"columns": list(row), "data": [list(row.values())]}, "application/json"),
    ):
        answer = ask(world, "/v1/models/shown", body, kind)
        assert (answer.status_code, answer.json()) == (200, right), answer.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([{"age": 1.0, "fare": 2.0, "sex": "male"}], "misses 'zip'"),
        ([{"age": 1.0, "fare": 2.0, "sex": "male", "zip": "1", "name": "x"}], "unknown 'name'"),
        ([[1.0, 2.0, "male"]], "3 values"),
        (
            {"age": [1.0], "fare": [2.0], "sex": ["male"], "zap": ["1"]},
            "misses 'zip' and has the unknown 'zap'",
        ),
        ({"columns": COLUMNS[:3], "data": [[1.0, 2.0, "male"]]}, "misses 'zip'"),
        ([{"age": "old", "fare": 2.0, "sex": "male", "zip": "1"}], "column 'age', row 0 is a string"),
        (
            [{"age": 1.0, "fare": 2.0, "sex": 3, "zip": "1"}],
            "column 'sex', row 0 is a number; expected a string",
        ),
        ({"age": [1.0, 2.0], "fare": [2.0], "sex": ["male"], "zip": ["1"]}, "different numbers of rows"),
    ],
)
def test_what_does_not_fit_is_422_and_says_what(world: Served, body: Any, said: str) -> None:
    answer = ask(world, "/v1/models/titanic/predict_proba", body)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["error"]["message"]


def test_null_is_a_missing_value_and_the_answer_can_be_sent_back(world: Served) -> None:
    answer = ask(world, "/v1/models/gaps/predict_proba", b"[[5.1, null]]")
    assert answer.status_code == 200, answer.text
    with vtsserving.Client(world.stack.url) as client:
        for value in (np.array([[5.1, np.nan]]), [[5.1, float("nan")]], [[5.1, None]]):
            assert np.allclose(client.predict_proba("gaps", value), answer.json())
    tensor = {"name": "X", "shape": [1, 2], "datatype": "FP64", "data": [5.1, None]}
    found = ask(
        world, "/v2/models/gaps/infer", {"inputs": [tensor], "parameters": {"method": "predict_proba"}}
    )
    assert np.allclose(found.json()["outputs"][0]["data"], np.ravel(answer.json()))


def test_a_client_sends_frames_in_any_order(world: Served) -> None:
    frame = passengers(5)
    with vtsserving.Client(world.stack.url) as client:
        for sent in (frame, frame[["zip", "sex", "fare", "age"]], frame.set_axis(list("abcde"))):
            assert np.allclose(client.predict_proba("titanic", sent), world.right(frame))
        with pytest.raises(vtsserving.exceptions.BadShape, match="misses 'zip'"):
            client.predict_proba("titanic", frame[["sex", "fare", "age"]])
