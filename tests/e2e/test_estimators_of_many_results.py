"""Estimators whose results are easily cut wrongly: several targets, covariances, parameters beside rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier

import vtsserving
from support.callers import Given, check_client, check_json
from support.served_stack import serving_on

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(120, 3))
CLASSES = (X[:, :1] * [1.0, -2.0, 0.5] + X[:, 1:2] > [0.0, 0.3, -0.4]).astype(int)
CLASSES[:, 2] += X[:, 2] > 1


FOREST = RandomForestClassifier(8, random_state=0).fit(X, CLASSES[:, :2])
OF_THREE = RandomForestClassifier(8, random_state=0).fit(X, CLASSES)
EACH_APART = MultiOutputClassifier(LogisticRegression()).fit(X, CLASSES)
PROCESS = GaussianProcessRegressor(random_state=0).fit(X[:40], X[:40].sum(axis=1))
ESTIMATORS = {"forest": FOREST, "of_three": OF_THREE, "each_apart": EACH_APART, "process": PROCESS}

ONE_ROW: list[Given] = [((X[i : i + 1],), {}) for i in range(3)]
SOME_ROWS: list[Given] = [((X[10 * i : 10 * i + i + 1],), {}) for i in range(4)]
CASES: dict[str, tuple[str, str, list[Given]]] = {
    "two targets, two callers": ("forest", "predict_proba", ONE_ROW[:2]),
    "two targets": ("forest", "predict_proba", SOME_ROWS),
    "three targets, three callers": ("of_three", "predict_proba", ONE_ROW),
    "three targets": ("of_three", "predict", SOME_ROWS),
    "an estimator for each target": ("each_apart", "predict_proba", SOME_ROWS),
    "covariances": ("process", "predict", [((X[i : i + 2],), {"return_cov": True}) for i in range(3)]),
    "deviations": ("process", "predict", [((X[i : i + 2],), {"return_std": i != 2}) for i in range(4)]),
    "draws": ("process", "sample_y", [((X[i : i + 2],), {"n_samples": 1 + i}) for i in range(3)]),
}
"""Name to estimator, method and calls."""


@pytest.fixture(scope="module", params=["embedded", "nats"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VTSSERVING_HOME", str(tmp_path_factory.mktemp("home")))
        for tag, estimator in ESTIMATORS.items():
            methods = {method: {"batchable": True} for one, method, _ in CASES.values() if one == tag}
            vtsserving.sklearn.save_model(tag, estimator, signatures=methods, options={"max_wait_ms": 60})
        folder = tmp_path_factory.mktemp("nats")
        with serving_on(request.param, folder, tags=list(ESTIMATORS)) as running:
            yield running.url


@pytest.mark.parametrize("name", CASES)
def test_every_caller_gets_its_own(url: str, name: str) -> None:
    tag, method, calls = CASES[name]

    def right(given: Given) -> Any:
        args, kwargs = given
        return getattr(ESTIMATORS[tag], method)(*args, **kwargs)

    check_client(url, tag, method, calls, right)
    check_json(url, tag, method, calls, right)
