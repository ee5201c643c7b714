"""What a caller gets over HTTP is what the object of the author answers, where a format keeps less than the object."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.pipelines import bert, generator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def posted(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.frameworks("xgboost")
@pytest.mark.parametrize("batchable", [False, True])
def test_a_number_that_stands_for_missing(batchable: bool) -> None:
    import xgboost

    random = np.random.default_rng(21)
    rows = random.normal(size=(200, 4))
    target = rows[:, 1] * (rows[:, 0] > 0)
    rows[random.random(rows.shape) < 0.2] = -1234.5
    model = xgboost.XGBRegressor(n_estimators=15, max_depth=4, missing=-1234.5).fit(rows, target)
    signatures = {"predict": {"batchable": batchable}}
    saved = vtsserving.xgboost.save_model("gaps", model, signatures=signatures, input_example=rows[:5])
    with vtsserving.serve("gaps:latest", port=0) as server:
        by_json = posted(f"{server.url}/v1/models/{saved.tag}/predict", rows[:20].tolist())
        by_client = server.client().predict(str(saved.tag), rows[:20])
    assert np.allclose(by_json, model.predict(rows[:20]), rtol=1e-6)
    assert np.array_equal(by_client, model.predict(rows[:20]))


@pytest.mark.frameworks("transformers")
@pytest.mark.parametrize(
    ("kind", "settings", "text"),
    [
        ("SequenceClassification", {"top_k": None, "function_to_apply": "none", "truncation": True}, "very good " * 30),
        ("TokenClassification", {"aggregation_strategy": "first"}, "anna lives in rome"),
        ("generator", {"max_new_tokens": 5, "do_sample": False, "return_full_text": False}, "anna lives"),
    ],
)  # fmt: skip
def test_settings_of_a_pipeline(kind: str, settings: dict[str, Any], text: str, tmp_path: Path) -> None:
    pipeline = generator(tmp_path, **settings) if kind == "generator" else bert(kind, tmp_path, **settings)
    expected = pipeline(text)
    saved = vtsserving.transformers.save_model("set", pipeline, input_example=text)
    assert saved.info.extra["check"]["result"] == "equal"
    with vtsserving.serve("set:latest", port=0) as server:
        answer = posted(f"{server.url}/v1/models/{saved.tag}/__call__", {"args": [text]})
    # Some scores are numbers of numpy, whose text is short.
    assert answer == json.loads(json.dumps(expected, default=lambda number: float(str(number))))


@pytest.mark.frameworks("torch", "onnx")
def test_a_graph_whose_weights_are_in_another_file(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(31)
    net = torch.nn.Sequential(torch.nn.Linear(6, 400), torch.nn.ReLU(), torch.nn.Linear(400, 3)).eval()
    folder = tmp_path / "exported"
    folder.mkdir()
    rows = torch.randn(2, 6)
    torch.onnx.export(net, (rows,), str(folder / "graph.onnx"), dynamo=True, verbose=False)
    assert len(list(folder.iterdir())) > 1
    saved = vtsserving.onnx.save_model("graph", folder / "graph.onnx", input_example=rows.numpy())
    for file in folder.iterdir():
        file.unlink()
    with vtsserving.serve("graph:latest", port=0) as server:
        answer = posted(f"{server.url}/v1/models/{saved.tag}/run", rows.tolist())
    with torch.inference_mode():
        assert np.allclose(answer, net(rows).numpy(), atol=1e-5)
