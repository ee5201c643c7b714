"""A column of texts to pipelines of Transformers, and text among numbers to boosted trees, in every form."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import vtsserving
from support.callers import ORDERS
from support.pipelines import bert, generator
from support.served_stack import ServedStack, serving_on
from vtsserving._wire.values import encode_value
from vtsserving.exceptions import BadShape, VtsServingException, WrongType

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

TEXTS = ["very good", "bad"]
ROWS = {"batchable": True}
WAITING = {"max_wait_ms": 100}
PACKED = "application/msgpack"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def arrow(frame: pd.DataFrame) -> bytes:
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def parquet(frame: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    frame.to_parquet(file)
    return file.getvalue()


def bodies(frame: pd.DataFrame) -> dict[str, tuple[bytes, str]]:
    return {
        "CSV": (frame.to_csv(index=False).encode(), "text/csv"),
        "Arrow": (arrow(frame), "application/vnd.apache.arrow.stream"),
        "Parquet": (parquet(frame), "application/vnd.apache.parquet"),
        "a frame": (encode_value(frame), PACKED),
    }


def ask(url: str, path: str, body: bytes, kind: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=60) as client:
        return client.post(f"{url}{path}", content=body, headers={"content-type": kind})


def values(texts: list[str]) -> dict[str, Any]:
    """Forms of one column, as a client's code has them."""
    import polars as pl
    import pyarrow as pa

    return {
        "a list": texts,
        "a tuple": tuple(texts),
        "an array": np.array(texts),
        "an array of one column": np.array(texts, object)[:, None],
        "a Series": pd.Series(texts, index=range(7, 7 + len(texts))),
        "categories": pd.Series(texts, dtype="category"),
        "a frame": pd.DataFrame({"t": texts}),
        "a table of pyarrow": pa.table({"t": texts}),
        "a dictionary of pyarrow": pa.table({"t": pa.array(texts).dictionary_encode()}),
        "a column of pyarrow": pa.chunked_array([texts]),
        "a table of polars": pl.DataFrame({"t": texts}),
        "a column of polars": pl.Series("t", texts),
    }


@pytest.fixture
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServedStack]:
    """A classifier, a writer, and a text model of scikit-learn; embedded or over NATS."""
    signatures = {"__call__": ROWS}
    save = vtsserving.transformers.save_model
    save("classifier", bert("SequenceClassification", tmp_path), signatures=signatures, options=WAITING)
    settings = {"max_new_tokens": 2, "do_sample": False, "return_full_text": False}
    save("writer", generator(tmp_path, **settings))
    words = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS * 4, [1, 0] * 4)
    vtsserving.sklearn.save_model("words", words, signatures={"predict_proba": ROWS}, options=WAITING)
    tags = ["classifier", "writer", "words"]
    with serving_on(request.param, tmp_path, tags=tags) as stack:
        yield stack


METHODS = {"classifier": "__call__", "writer": "__call__", "words": "predict_proba"}


@pytest.mark.frameworks("transformers", "tables")
@pytest.mark.parametrize("served", ["embedded", "nats"], indirect=True)
def test_every_form_of_one_column_is_the_list_of_its_texts(served: ServedStack, tmp_path: Path) -> None:
    for tag, method in METHODS.items():
        runner = vtsserving.models.get(tag).to_runner()
        runner.init_local()
        local = getattr(runner, method)
        with vtsserving.Client(served.url, timeout=60) as client:
            right = client.call_model(tag, method, (TEXTS,))
            for name, value in values(TEXTS).items():
                agree(client.call_model(tag, method, (value,)), right, f"{tag}, {name}")
                agree(local.run(value), right, f"{tag}, {name}, in process")
        path = f"/v1/models/{tag}/{method}"
        frame = pd.DataFrame({"t": TEXTS})
        sent = {**bodies(frame), "npy": (npy(np.array(TEXTS)), "application/x-npy")}
        for name, (body, kind) in sent.items():
            answer = ask(served.url, path, body, kind)
            assert answer.status_code == 200, answer.text
            agree(answer.json(), np.asarray(right).tolist() if tag == "words" else right, f"{tag}, {name}")
        tensor = {"name": "t", "shape": [2, 1], "datatype": "BYTES", "data": TEXTS}
        if tag == "classifier":
            body = json.dumps({"inputs": [tensor]}).encode()
            assert ask(served.url, f"/v2/models/{tag}/infer", body, "application/json").status_code == 200
        for name, value in wrong().items():
            refused(served.url, tag, method, value, name)


def agree(found: Any, right: Any, what: str) -> None:
    if isinstance(right, np.ndarray) or isinstance(
        right[0][0] if right and isinstance(right[0], list) else "", float
    ):
        assert np.allclose(found, right), what
        return
    assert len(found) == len(right), what
    for one, other in zip(found, right, strict=True):
        if isinstance(other, dict) and "score" in other:
            assert one["label"] == other["label"], what
            assert one["score"] == pytest.approx(other["score"], rel=1e-4), what
        else:
            assert one == other, what


def wrong() -> dict[str, Any]:
    return {
        "two columns": pd.DataFrame({"t": TEXTS, "u": TEXTS}),
        "numbers": pd.DataFrame({"t": [1, 2]}),
        "a missing text": pd.DataFrame({"t": ["a", None]}),
        "an array of numbers": np.array([1.5]),
        "a list of numbers": [1, 2],
        "a list with a gap": ["a", None],
    }


def refused(url: str, tag: str, method: str, value: Any, what: str) -> None:
    with vtsserving.Client(url, timeout=60) as client, pytest.raises(VtsServingException) as raised:
        client.call_model(tag, method, (value,))
    assert raised.value.status == 422, what
    assert "expected" in raised.value.message, what
    if isinstance(value, pd.DataFrame):
        for name, (body, kind) in bodies(value).items():
            if (what, name) != ("numbers", "CSV"):  # they are texts there
                answer = ask(url, f"/v1/models/{tag}/{method}", body, kind)
                assert answer.status_code == 422, f"{what}, {name}: {answer.text}"


@pytest.mark.frameworks("transformers", "tables")
@pytest.mark.parametrize("served", ["embedded", "nats"], indirect=True)
def test_callers_of_all_forms_get_their_own(served: ServedStack) -> None:
    texts = [[f"very good {word}", word] for word in ("bad", "anna", "lives", "in", "rome", "good")]
    with vtsserving.Client(served.url, timeout=60) as client:
        right = [client.call_model("classifier", "__call__", (own,)) for own in texts]
    sent = [values(own)[name] for own in texts for name in values(own)]

    def call(at: int) -> Any:
        with vtsserving.Client(served.url, timeout=60) as client:
            return client.call_model("classifier", "__call__", (sent[at],))

    for order in ORDERS.values():
        for at, found in enumerate(order(len(sent), call)):
            agree(found, right[at * len(texts) // len(sent)], str(at))


@pytest.mark.frameworks("transformers", "tables")
def test_pairs_and_chats_stay_what_they_are(tmp_path: Path) -> None:
    pipeline = bert("SequenceClassification", tmp_path)
    pairs = [{"text": "very good", "text_pair": "bad"}, {"text": "bad", "text_pair": "in rome"}]
    for example in (None, TEXTS, "bad"):
        saved = vtsserving.transformers.save_model("classifier", pipeline, input_example=example)
        assert saved.info.input_specs["__call__"]["args"][0]["dtype"] == "str"
        runner = saved.to_runner()
        runner.init_local()
        agree(runner.run(pairs), pipeline(pairs), "pairs")
        agree(runner.run(pd.Series(TEXTS)), pipeline(TEXTS), "a Series")
        with pytest.raises(BadShape, match="has no rows; at least one text is needed"):
            runner.run(pd.DataFrame({"t": []}))


@pytest.mark.frameworks("transformers", "tables")
def test_a_file_of_one_column_is_scored(tmp_path: Path) -> None:
    pipeline = bert("SequenceClassification", tmp_path)
    vtsserving.transformers.save_model("classifier", pipeline)
    texts = ["123", "NA", "very good", "", "bad"]
    frame = pd.DataFrame({"id": range(5), "t": texts})
    frame.to_csv(tmp_path / "in.csv", index=False)
    frame.to_parquet(tmp_path / "in.parquet")
    np.save(tmp_path / "in.npy", np.array(texts))
    for name, options in (("in.csv", {"keep": ["id"]}), ("in.parquet", {"columns": ["t"]}), ("in.npy", {})):
        out = tmp_path / "out.csv"
        scored = vtsserving.predict_file("classifier", tmp_path / name, out, **options)  # type: ignore[arg-type]
        found = pd.read_csv(out)
        given = [pipeline(text)[0] for text in texts]
        assert scored.failed == (name == "in.csv"), name
        for at, one in enumerate(given):
            if at != 3 or name != "in.csv":  # an empty cell is a missing text
                assert found["label"][at] == one["label"]
                assert found["score"][at] == pytest.approx(one["score"], rel=1e-4)
    with pytest.raises(VtsServingException, match="takes one column of texts, and would get 'id', 't'"):
        vtsserving.predict_file("classifier", tmp_path / "in.csv", tmp_path / "other.csv")


@pytest.mark.frameworks("tables")
def test_a_function_that_was_shown_a_list_gets_the_list_of_a_table_of_one_column() -> None:
    def shown(texts: Any) -> list[str]:
        return [f"{type(texts).__name__} {text}" for text in texts]

    runner = vtsserving.picklable_model.save_model("shown", shown, input_example=TEXTS).to_runner()
    runner.init_local()
    for name, value in values(TEXTS).items():
        if "frame" in name or "table" in name or "dictionary" in name:
            assert runner.run(value) == [f"list {text}" for text in TEXTS], name
    with vtsserving.serve("shown", port=0) as server:
        for body, kind in bodies(pd.DataFrame({"t": TEXTS})).values():
            assert ask(server.url, "/v1/models/shown", body, kind).json() == [
                f"list {text}" for text in TEXTS
            ]


BOOSTERS = ("xgboost", "lightgbm", "catboost")


def boosted(name: str, frame: pd.DataFrame, labels: Any) -> Any:
    if name == "xgboost":
        import xgboost

        return xgboost.XGBClassifier(n_estimators=3).fit(frame, labels)
    if name == "lightgbm":
        import lightgbm

        return lightgbm.LGBMClassifier(n_estimators=3, verbosity=-1).fit(frame, labels)
    import catboost

    return catboost.CatBoostClassifier(iterations=3, verbose=False, allow_writing_files=False).fit(
        frame, labels
    )


@pytest.mark.frameworks("xgboost", "lightgbm", "catboost", "tables")
@pytest.mark.parametrize("name", BOOSTERS)
def test_text_among_numbers_is_its_callers_mistake(name: str) -> None:
    trained = pd.DataFrame({"a": np.arange(40.0), "b": np.linspace(0, 1, 40)})
    model = boosted(name, trained, [0, 1] * 20)
    module = getattr(vtsserving, name)
    saved = module.save_model("trees", model, signatures={"predict": ROWS}, options=WAITING)
    bad = pd.DataFrame({"a": [1.0], "b": ["x-ray"]})
    runner = saved.to_runner()
    runner.init_local()
    with pytest.raises(
        WrongType, match=r"column 'b'.* 'x-ray'; expected a number|column 'b', row 0 is a string"
    ):
        runner.predict.run(bad)
    good = trained.head(2)
    with vtsserving.serve("trees", port=0) as server:
        sent = [*bodies(bad).values(), *[(encode_value(good), PACKED)] * 4]
        for order in ORDERS.values():
            for at, answer in enumerate(
                order(len(sent), lambda at: ask(server.url, "/v1/models/trees/predict", *sent[at]))
            ):
                assert answer.status_code == (422 if at < len(bodies(bad)) else 200), answer.text
                if at >= len(bodies(bad)):
                    assert answer.json() == np.asarray(model.predict(good)).tolist()
                else:
                    assert "column 'b'" in answer.text
                    assert "x-ray" in answer.text
