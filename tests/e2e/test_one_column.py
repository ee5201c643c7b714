"""One column of texts, true among numbers, text among numbers: one rule for every form, embedded and over NATS."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import vtsserving
from support.callers import ORDERS
from support.served_stack import ServedStack, serving_on
from vtsserving._wire.values import encode_value
from vtsserving.exceptions import BadShape, VtsServingException, WrongType
from vtsserving.io import JSON, PandasDataFrame

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = {"batchable": True}
WAITING = {"max_wait_ms": 100}
WORDS = ["very good", "NA", "01067", 'bad, "so" to say', "good"]
TRAINED = pd.DataFrame({"n": range(40), "x": np.linspace(0, 1, 40)})


def words() -> Pipeline:
    return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(WORDS * 4, [1, 0, 0, 0, 1] * 4)


def save_all() -> dict[str, Any]:
    """Save all models; made in here, so that functions are saved by value.

    Returns:
        Name to what the model is in process.
    """

    def shouting(texts: Any) -> list[str]:
        return [f"{type(texts).__name__} {text.upper()}" for text in texts]

    def sizes(files: Any) -> list[str]:
        return [f"{type(files).__name__} {len(file)}" for file in files]

    def shown(items: Any) -> list[str]:
        return [f"{type(items).__name__} {item!r}" for item in items]

    def cells(rows: Any) -> list[str]:
        return [f"{row!r}" for row in rows.itertuples(index=False, name=None)]

    model, numbers = words(), make_pipeline(StandardScaler(), LogisticRegression())
    numbers.fit(TRAINED, [0, 1] * 20)
    proba = {"predict_proba": ROWS}
    vtsserving.sklearn.save_model("words", model, signatures=proba, options=WAITING)
    vtsserving.sklearn.save_model("numbers", numbers, signatures=proba, options=WAITING)
    arrays = LogisticRegression().fit(TRAINED.to_numpy(), [0, 1] * 20)
    vtsserving.sklearn.save_model("arrays", arrays, signatures=proba)
    bags = BaggingClassifier(LogisticRegression(), 2).fit(TRAINED, [0, 1] * 20)
    vtsserving.sklearn.save_model("bags", bags, signatures=proba)
    vtsserving.sklearn.save_model("known_bags", bags, signatures=proba, input_example=TRAINED.head(3))
    for name, function, of in (("shouting", shouting, "texts"), ("sizes", sizes, "bytes")):
        said = {"__call__": {**ROWS, "arguments": {"texts" if of == "texts" else "files": {"type": of}}}}
        vtsserving.picklable_model.save_model(name, function, signatures=said, options=WAITING)
    for name, listed in (("words_shown", WORDS), ("numbers_shown", [1, 2.5, None])):
        vtsserving.picklable_model.save_model(
            name, shown, signatures={"__call__": ROWS}, input_example=listed, options=WAITING
        )
    example = pd.DataFrame({"n": [1, 2], "x": [0.5, 1.5]})
    vtsserving.picklable_model.save_model(
        "cells", cells, signatures={"__call__": ROWS}, input_example=example
    )
    predictors = {"words": model, "numbers": numbers, "arrays": arrays}
    return {"shouting": shouting, **{name: one.predict_proba for name, one in predictors.items()}}


def local_runner(name: str) -> Any:
    runner = vtsserving.models.get(name).to_runner()
    runner.init_local()
    return runner


def make_service() -> vtsserving.Service:
    runners = {name: vtsserving.models.get(name).to_runner() for name in ("words", "shouting")}
    service = vtsserving.Service("columns", runners=list(runners.values()))

    @service.api(input=PandasDataFrame(), output=JSON())
    def score(frame: Any) -> Any:
        return runners["words"].predict_proba.run(frame).tolist()

    @service.api(input=PandasDataFrame(), output=JSON())
    def shout(frame: Any) -> Any:
        return runners["shouting"].run(frame)

    return service


@pytest.fixture(scope="module", params=["embedded", "nats"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(tmp_path_factory.mktemp("home")))
        models = save_all()
        models["local"] = {name: local_runner(name) for name in PATHS}
        tags = ["words", "shouting", "sizes", "cells", "numbers", "arrays", "bags", "known_bags"]
        tags += ["words_shown", "numbers_shown"]
        with serving_on(request.param, tmp_path_factory.mktemp("nats"), make_service, tags=tags) as stack:
            yield stack, models


def ask(stack: ServedStack, path: str, body: Any, kind: str = "application/json") -> httpx2.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with httpx2.Client(trust_env=False, timeout=30) as client:
        return client.post(f"{stack.url}{path}", content=data, headers={"content-type": kind})


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def bodies(texts: list[str]) -> dict[str, tuple[Any, str]]:
    """A body and its media type, by the name of the form."""
    frame, packed = pd.DataFrame({"words": texts}), "application/msgpack"
    return {
        "JSON": (texts, "application/json"),
        "CSV": (csv(frame), "text/csv"),
        "npy": (npy(np.array(texts)), "application/x-npy"),
        "npy of a column": (npy(np.array(texts)[:, None]), "application/x-npy"),
        "a Series": (encode_value(frame["words"]), packed),
        "a frame": (encode_value(frame), packed),
        "a frame with labels": (encode_value(frame.set_axis([7] * len(texts))), packed),
        "categories": (encode_value(frame.astype("category")), packed),
        "nullable texts": (encode_value(frame.astype("string")), packed),
        "objects": (encode_value(np.array(texts, object)), packed),
        "a list": (encode_value(texts), packed),
        "a tuple": (encode_value(tuple(texts)), packed),
    }


FORMS = list(bodies(WORDS))
PATHS = {"words": "/v1/models/words/predict_proba", "shouting": "/v1/models/shouting"}


def agree(found: Any, right: Any) -> None:
    if isinstance(right, np.ndarray):
        assert np.allclose(found, right)
    else:
        assert found == right


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", PATHS)
def test_every_form_of_one_column_is_the_list_of_its_texts(world: Any, model: str, form: str) -> None:
    stack, models = world
    for texts in (WORDS, WORDS[:1]):
        answer = ask(stack, PATHS[model], *bodies(texts)[form])
        assert answer.status_code == 200, answer.text
        agree(answer.json(), models[model](texts))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("model", PATHS)
def test_callers_of_all_forms_share_batches_and_get_their_own(world: Any, model: str, order: str) -> None:
    stack, models = world
    sent = [WORDS[at % 5 : at % 5 + 1 + at % 3] for at in range(len(FORMS) * 2)]

    def call(at: int) -> httpx2.Response:
        return ask(stack, PATHS[model], *bodies(sent[at])[FORMS[at % len(FORMS)]])

    for _ in range(2):
        answers = ORDERS[order](len(sent), call)
        for texts, answer in zip(sent, answers, strict=True):
            assert answer.status_code == 200, answer.text
            agree(answer.json(), models[model](texts))
    if order == "merged":
        assert max(int(answer.headers["x-vts-batch-size"]) for answer in answers) > 3


@pytest.mark.parametrize("wide", [False, True], ids=["n", "n x 1"])
@pytest.mark.parametrize("model", PATHS)
def test_inputs_of_the_protocol_are_such_a_column(world: Any, model: str, wide: bool) -> None:
    stack, models = world
    name = "X" if model == "words" else "texts"
    shape = [len(WORDS), 1] if wide else [len(WORDS)]
    for parameters in ({}, {"content_type": "pd"}):
        given = {"name": name, "shape": shape, "datatype": "BYTES", "data": WORDS}
        method = {"method": "predict_proba"} if model == "words" else {}
        answer = ask(
            stack, f"/v2/models/{model}/infer", {"inputs": [given], "parameters": parameters | method}
        )
        assert answer.status_code == 200, answer.text
        output = answer.json()["outputs"][0]
        agree(np.reshape(output["data"], output["shape"]).tolist(), models[model](WORDS))
    assert (
        ask(stack, f"/v2/models/{model}/infer", {"inputs": [{**given, "datatype": "FP32"}]}).status_code
        == 400
    )


REFUSED: dict[str, tuple[Any, str]] = {
    "two columns": (pd.DataFrame({"a": ["x"], "b": ["y"]}), "columns"),
    "numbers": (pd.DataFrame({"a": [1.5]}), "row 0 is a number; expected a string"),
    "a missing text": (pd.DataFrame({"a": ["x", None]}), "row 1 is missing; expected a string"),
    "a Series of numbers": (pd.Series([1, 2]), "row 0 is a number; expected a string"),
    "a Series with a gap": (pd.Series(["x", None], dtype="category"), "row 1 is missing; expected a string"),
    "an array of two": (np.array([["x", "y"]]), "[1, 2]"),
    "an array of numbers": (np.array([1.5]), "expected"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("model", PATHS)
def test_anything_else_is_422_and_says_what_is_expected(world: Any, model: str, name: str) -> None:
    stack, models = world
    value, said = REFUSED[name]
    sent = [(encode_value(value), "application/msgpack")]
    if isinstance(value, pd.DataFrame) and name != "numbers":
        sent.append((csv(value), "text/csv"))
    if isinstance(value, np.ndarray):
        sent.append((npy(value), "application/x-npy"))
    for body, kind in sent:
        answer = ask(stack, PATHS[model], body, kind)
        assert answer.status_code == 422, answer.text
        assert said in answer.json()["error"]["message"]
    method = "predict_proba" if model == "words" else "__call__"
    with pytest.raises((BadShape, WrongType)) as raised:
        models["local"][model].handle.call(method, (value,), {})
    assert said in raised.value.message
    with vtsserving.Client(stack.url) as client, pytest.raises(VtsServingException) as raised:
        client.call_model(model, method, (value,))
    assert raised.value.status == 422


def test_runners_of_a_service_take_the_frame_that_its_function_got(world: Any) -> None:
    stack, models = world
    body = json.dumps([{"words": text} for text in WORDS]).encode()
    agree(ask(stack, "/score", body).json(), models["words"](WORDS))
    assert ask(stack, "/shout", body).json() == models["shouting"](WORDS)
    refused = ask(stack, "/shout", b'[{"words": "a", "more": "b"}]')
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bad_shape")


def test_bytes_come_in_a_column_too(world: Any) -> None:
    stack, _ = world
    frame = pd.DataFrame({"files": [b"abc", b"d"]})
    for body, kind in (
        (b"files\nYWJj\nZA==\n", "text/csv"),
        (encode_value(frame), "application/msgpack"),
        (["YWJj", "ZA=="], "application/json"),
    ):
        answer = ask(stack, "/v1/models/sizes", body, kind)
        assert answer.json() == ["list 3", "list 1"], answer.text
    answer = ask(stack, "/v1/models/sizes", b"files\nabc%\n", "text/csv")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_type")
    assert "column 'files', row 0 is 'abc%', which is not base64; expected bytes" in answer.text


TRUE_ROWS: dict[str, tuple[Any, str]] = {
    "records": ([{"n": True, "x": False}], "application/json"),
    "rows": ([[True, False]], "application/json"),
    "columns": ({"n": [True], "x": [False]}, "application/json"),
    "split": ({"columns": ["x", "n"], "data": [[False, True]]}, "application/json"),
    "CSV": (b"n,x\nTrue,false\n", "text/csv"),
    "npy": (npy(np.array([[True, False]])), "application/x-npy"),
    "a frame": (encode_value(pd.DataFrame({"n": [True], "x": [False]})), "application/msgpack"),
    "a nullable frame": (
        encode_value(pd.DataFrame({"n": [True], "x": [False]}, dtype="boolean")),
        "application/msgpack",
    ),
    "a frame of objects": (
        encode_value(pd.DataFrame({"n": [True], "x": [False]}, dtype=object)),
        "application/msgpack",
    ),
    "records of numpy": (encode_value([{"n": np.bool_(True), "x": np.bool_(False)}]), "application/msgpack"),
}


@pytest.mark.parametrize("form", TRUE_ROWS)
def test_true_and_false_are_numbers_in_every_form(world: Any, form: str) -> None:
    stack, models = world
    answer = ask(stack, "/v1/models/cells", *TRUE_ROWS[form])
    assert (answer.status_code, answer.json()) == (200, ["(1, 0.0)"]), answer.text
    answer = ask(stack, "/v1/models/numbers/predict_proba", *TRUE_ROWS[form])
    assert answer.status_code == 200, answer.text
    assert np.allclose(answer.json(), models["numbers"](pd.DataFrame({"n": [1], "x": [0.0]})))
    if form in ("rows", "CSV", "npy", "a frame"):
        answer = ask(stack, "/v1/models/arrays/predict_proba", *TRUE_ROWS[form])
        assert answer.status_code == 200, answer.text
        assert np.allclose(answer.json(), models["arrays"](np.array([[1, 0]])))


def test_inputs_of_the_protocol_may_be_true_too(world: Any) -> None:
    stack, _ = world
    inputs = [
        {"name": name, "shape": [1], "datatype": "BOOL", "data": [value]}
        for name, value in (("n", True), ("x", False))
    ]
    answer = ask(stack, "/v2/models/cells/infer", {"inputs": inputs})
    assert answer.json()["outputs"][0]["data"] == ["(1, 0.0)"], answer.text


TEXT_ROWS: dict[str, tuple[Any, str]] = {
    "records": ([{"n": 1, "x": "x-ray"}], "application/json"),
    "CSV": (b"n,x\n1,x-ray\n", "text/csv"),
    "a frame": (encode_value(pd.DataFrame({"n": [1], "x": ["x-ray"]})), "application/msgpack"),
    "columns": ({"n": [1], "x": ["x-ray"]}, "application/json"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_text_where_the_model_takes_numbers_is_its_callers_mistake_alone(world: Any, order: str) -> None:
    """Names of columns are known here, and no dtype: what scikit-learn refuses says it."""
    stack, models = world
    good = pd.DataFrame({"n": [3, 4], "x": [0.25, 0.5]})
    sent = [*TEXT_ROWS.values(), *[(encode_value(good), "application/msgpack")] * 8]
    answers = ORDERS[order](len(sent), lambda at: ask(stack, "/v1/models/numbers/predict_proba", *sent[at]))
    for at, answer in enumerate(answers):
        if at < len(TEXT_ROWS):
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_type"), answer.text
            assert "column 'x' holds 'x-ray'; expected a number" in answer.text
        else:
            assert np.allclose(answer.json(), models["numbers"](good))


def test_csv_for_an_array_of_numbers_names_the_column_and_the_row(world: Any) -> None:
    stack, models = world
    answer = ask(stack, "/v1/models/arrays/predict_proba", b"n,x\n1,True\n2,x-ray\n", "text/csv")
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_type")
    assert "column 'x', row 1 is 'x-ray'; expected a number" in answer.text
    answer = ask(stack, "/v1/models/arrays/predict_proba", b"n,n\n1,True\n2,.5\n", "text/csv")
    assert np.allclose(answer.json(), models["arrays"](np.array([[1, 1], [2, 0.5]])))


def test_what_may_be_the_model_s_own_fault_says_how_to_have_it_checked(world: Any) -> None:
    """The hint, followed: with an example, the same request is its caller's mistake."""
    stack, _ = world
    for body, kind in TEXT_ROWS.values():
        answer = ask(stack, "/v1/models/bags/predict_proba", body, kind)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "model_failed")
        assert "a model that is saved with an input_example refuses such text" in answer.text
        answer = ask(stack, "/v1/models/known_bags/predict_proba", body, kind)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "wrong_type")
        assert "column 'x', row 0 is" in answer.text


@pytest.mark.parametrize("order", ORDERS)
def test_a_function_that_was_shown_a_list_gets_the_list_of_a_table_of_one_column(
    world: Any, order: str
) -> None:
    stack, _ = world
    texts, numbers = pd.DataFrame({"t": ["123", "NA", None]}), pd.DataFrame({"n": [1.5, 2.0]})
    sent = [
        ("words_shown", csv(texts), "text/csv", ["list '123'", "list 'NA'", "list None"]),
        ("words_shown", encode_value(texts), "application/msgpack", ["list '123'", "list 'NA'", "list None"]),
        ("words_shown", ["123", None], "application/json", ["list '123'", "list None"]),
        ("numbers_shown", csv(numbers), "text/csv", ["list 1.5", "list 2.0"]),
        ("numbers_shown", encode_value(numbers), "application/msgpack", ["list 1.5", "list 2.0"]),
        ("numbers_shown", b"n\n1\n2\n", "text/csv", ["list 1", "list 2"]),
    ] * 2
    answers = ORDERS[order](len(sent), lambda at: ask(stack, f"/v1/models/{sent[at][0]}", *sent[at][1:3]))
    for (_, _, _, right), answer in zip(sent, answers, strict=True):
        assert (answer.status_code, answer.json()) == (200, right), answer.text
    wide = encode_value(pd.DataFrame({"a": ["x"], "b": ["y"]}))
    answer = ask(stack, "/v1/models/words_shown", wide, "application/msgpack")
    assert answer.json() != ["list 'x'"]  # a table of several columns stays one
    series = encode_value(pd.Series(["x"]))
    assert ask(stack, "/v1/models/words_shown", series, "application/msgpack").json() == ["Series 'x'"]
