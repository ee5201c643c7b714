"""Networks, pipelines and boosters whose results or arguments are easily taken for rows, or for none."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.callers import Given, check_client, check_json
from support.pipelines import bert
from support.served_stack import serving_on

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

BATCHABLE = {"batchable": True}
OPTIONS = {"max_wait_ms": 60}
RANDOM = np.random.default_rng(8)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


@contextlib.contextmanager
def served(bus: str, tag: str, folder: Path) -> Iterator[str]:
    with serving_on(bus, folder, tags=[tag]) as running:
        yield running.url


buses = pytest.mark.parametrize("bus", ["embedded", "nats"])


def rows(*counts: int, tail: tuple[int, ...]) -> list[Given]:
    return [((RANDOM.normal(size=(n, *tail)).astype("f4"),), {}) for n in counts]


def as_arrays(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(as_arrays(one) for one in value)
    return value.detach().numpy()


@buses
@pytest.mark.frameworks("torch")
@pytest.mark.parametrize("kind", ["heads", "states", "similarity"])
def test_networks(kind: str, bus: str, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(3)
    module, method, calls = network(kind)
    own = [] if kind == "states" else [importlib.import_module("support.networks")]
    vtsserving.pytorch.save_model(
        kind, module, signatures={"__call__": BATCHABLE}, options=OPTIONS, external_modules=own
    )

    def right(given: Given) -> Any:
        with torch.inference_mode():
            return as_arrays(module(*[torch.from_numpy(one) for one in given[0]]))

    with served(bus, kind, tmp_path) as url:
        check_client(url, kind, method, calls, right)
        check_json(url, kind, method, calls, right)


def network(kind: str) -> tuple[Any, str, list[Given]]:
    from torch import nn

    if kind == "states":
        return nn.LSTM(3, 4, num_layers=2, batch_first=True).eval(), "__call__", rows(1, 2, 2, 3, tail=(5, 3))
    from support.networks import Heads, Similarity

    if kind == "heads":
        return Heads().eval(), "__call__", rows(1, 1, 1, 2, tail=(3,))
    pairs = zip(rows(1, 2, 2, tail=(3,)), rows(2, 2, 1, tail=(3,)), strict=True)
    return Similarity().eval(), "__call__", [((*one[0], *other[0]), {}) for one, other in pairs]


@buses
@pytest.mark.frameworks("transformers")
def test_candidate_labels_of_a_pipeline(bus: str, tmp_path: Path) -> None:
    pipeline = bert("SequenceClassification", tmp_path, task="zero-shot-classification")
    vtsserving.transformers.save_model("zero", pipeline, signatures={"__call__": BATCHABLE}, options=OPTIONS)
    calls: list[Given] = [
        ((["very good", "bad"],), {"candidate_labels": ["good", "bad"]}),
        ((["very bad"],), {"candidate_labels": ["good", "bad"]}),
        ((["anna lives in rome", "good"],), {"candidate_labels": ["anna", "rome", "very"]}),
    ]

    def right(given: Given) -> Any:
        return pipeline(*given[0], **given[1])

    with served(bus, "zero", tmp_path) as url:
        check_json(url, "zero", "__call__", calls, right)
        check_client(url, "zero", "__call__", calls, right)


@buses
@pytest.mark.frameworks("transformers")
def test_texts_to_a_pipeline(bus: str, tmp_path: Path) -> None:
    pipeline = bert("MaskedLM", tmp_path, top_k=2)
    vtsserving.transformers.save_model("fill", pipeline, signatures={"__call__": BATCHABLE}, options=OPTIONS)
    calls: list[Given] = [
        ((["anna [MASK] in rome"],), {}),
        ((["very [MASK]", "[MASK] lives"],), {}),
        (("bad [MASK]",), {}),
    ]

    def right(given: Given) -> Any:
        return pipeline(*given[0])

    with served(bus, "fill", tmp_path) as url:
        check_json(url, "fill", "__call__", calls, right)


@buses
@pytest.mark.frameworks("xgboost")
def test_iterations_of_a_booster(bus: str, tmp_path: Path) -> None:
    import xgboost

    data = RANDOM.normal(size=(80, 3))
    model = xgboost.XGBRegressor(n_estimators=12).fit(data, data.sum(axis=1))
    vtsserving.xgboost.save_model("steps", model, signatures={"predict": BATCHABLE}, options=OPTIONS)
    calls: list[Given] = [((data[i : i + 2],), {"iteration_range": [0, 3 + i]}) for i in range(3)]

    def right(given: Given) -> Any:
        return model.predict(given[0][0], iteration_range=tuple(given[1]["iteration_range"]))

    with served(bus, "steps", tmp_path) as url:
        check_client(url, "steps", "predict", calls, right)
        check_json(url, "steps", "predict", calls, right)
