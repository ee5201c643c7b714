"""`options={"threads": n}` holds for every library, whatever a model was trained with: real threads are counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from vtsserving._runtime.child_process import model_environment
from vtsserving._saving.framework import load_for_serving

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)

RANDOM = np.random.default_rng(2)
ROWS = RANDOM.normal(size=(4_000, 20)).astype(np.float32)
TARGET = (ROWS[:, 0] > 0).astype(int)

COUNT = """
import json, os, sys, threading
from pathlib import Path
import numpy as np
from vtsserving._saving.framework import load_for_serving

started, begin = [], threading.Thread.start
def start(thread):
    started.append(thread)
    begin(thread)
threading.Thread.start = start

def native():
    return len(os.listdir("/proc/self/task"))

served = load_for_serving(Path(sys.argv[1]))
rows = np.load(sys.argv[2])
most = [native()]
watching = True
def watch():
    while watching:
        most.append(native())
watcher = threading.Thread(target=watch)
begin(watcher)
for _ in range(3):
    getattr(served, sys.argv[3])(rows)
watching = False
watcher.join()
torch = sys.modules.get("torch")
print(json.dumps({
    "threads": max(most) - most[0] - 1,
    "busy": sum(number > most[0] + 1 for number in most) / len(most),
    "loaded": most[0],
    "started": len(started),
    "torch": torch and [torch.get_num_threads(), torch.get_num_interop_threads()],
    "tokenizers": os.environ.get("TOKENIZERS_PARALLELISM"),
}))
"""
"""Prints how many threads a served model has beside the main one, in a process as a runner starts it."""


def counted(
    saved: vtsserving.Model, rows: Any, threads: int | None, folder: Path, method: str = "predict"
) -> Any:
    np.save(folder / "rows.npy", rows)
    ran = subprocess.run(
        [sys.executable, "-c", COUNT, str(saved.path), str(folder / "rows.npy"), method],
        env=model_environment(os.environ, threads),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def forest() -> tuple[str, Any]:
    from sklearn.ensemble import RandomForestClassifier

    return "sklearn", RandomForestClassifier(60, n_jobs=4, max_depth=6).fit(ROWS, TARGET)


def nested() -> tuple[str, Any]:
    from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inner = RandomForestClassifier(10, n_jobs=-1, max_depth=4)
    search = GridSearchCV(BaggingClassifier(inner, 4, n_jobs=3), {"max_samples": [0.5]}, cv=2, n_jobs=1)
    return "sklearn", make_pipeline(StandardScaler(), search).fit(ROWS[:500], TARGET[:500])


def lightgbm_wrapper() -> tuple[str, Any]:
    import lightgbm

    return "lightgbm", lightgbm.LGBMClassifier(n_estimators=40, verbosity=-1, n_jobs=4).fit(ROWS, TARGET)


def lightgbm_default() -> tuple[str, Any]:
    import lightgbm

    return "lightgbm", lightgbm.LGBMClassifier(n_estimators=40, verbosity=-1, num_threads=4).fit(ROWS, TARGET)


def lightgbm_booster() -> tuple[str, Any]:
    import lightgbm

    data = lightgbm.Dataset(ROWS, TARGET)
    return "lightgbm", lightgbm.train({"verbosity": -1, "num_threads": 4}, data, 40)


def catboost() -> tuple[str, Any]:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=200, verbose=False, allow_writing_files=False, thread_count=4)
    return "catboost", model.fit(ROWS, TARGET)


def boosters_in_a_pipeline() -> tuple[str, Any]:
    import lightgbm
    import xgboost
    from catboost import CatBoostClassifier
    from sklearn.ensemble import VotingClassifier

    parts = [
        ("lightgbm", lightgbm.LGBMClassifier(n_estimators=20, verbosity=-1)),
        ("xgboost", xgboost.XGBClassifier(n_estimators=20, n_jobs=4)),
        ("catboost", CatBoostClassifier(iterations=50, verbose=False, allow_writing_files=False)),
    ]
    return "sklearn", VotingClassifier(parts, n_jobs=3).fit(ROWS, TARGET)


def xgboost_wrapper() -> tuple[str, Any]:
    import xgboost

    return "xgboost", xgboost.XGBClassifier(n_estimators=60, n_jobs=4).fit(ROWS, TARGET)


def xgboost_booster() -> tuple[str, Any]:
    import xgboost

    return "xgboost", xgboost.train({"nthread": 4}, xgboost.DMatrix(ROWS, TARGET), 60)


MODELS: dict[Callable[[], tuple[str, Any]], tuple[str, ...]] = {
    forest: (),
    nested: (),
    lightgbm_wrapper: ("lightgbm",),
    lightgbm_default: ("lightgbm",),
    lightgbm_booster: ("lightgbm",),
    catboost: ("catboost",),
    boosters_in_a_pipeline: ("lightgbm", "xgboost", "catboost"),
    xgboost_wrapper: ("xgboost",),
    xgboost_booster: ("xgboost",),
}
"""What makes a model, and the groups of frameworks that it needs."""


def param(build: Any) -> Any:
    groups = MODELS[build]
    marks = [pytest.mark.frameworks(*groups)] if groups else []
    return pytest.param(build, id=build.__name__, marks=[*marks, pytest.mark.slow])


@pytest.mark.parametrize("build", [param(build) for build in MODELS])
def test_a_model_has_no_more_threads_than_it_is_allowed(build: Any, tmp_path: Path) -> None:
    module, model = build()
    saved = getattr(vtsserving, module).save_model("many", model, options={"threads": 1})
    one = counted(saved, np.tile(ROWS, (10, 1)), 1, tmp_path)
    # CatBoost starts a thread for a moment, whatever it is told, while it looks at its input.
    has_catboost = build in (catboost, boosters_in_a_pipeline)
    assert one["busy"] < 0.4 if has_catboost else one["threads"] <= 0, one
    served = load_for_serving(saved.path)
    assert np.array_equal(served.predict(ROWS[:50]), _predict(model, ROWS[:50]))


def _predict(model: Any, rows: Any) -> Any:
    if type(model).__module__.startswith("xgboost.core"):
        import xgboost

        return model.predict(xgboost.DMatrix(rows))
    return model.predict(rows)


@pytest.mark.parametrize("build", [param(build) for build in (forest, catboost, lightgbm_wrapper)])
def test_without_a_limit_there_are_more(build: Any, tmp_path: Path) -> None:
    module, model = build()
    saved = getattr(vtsserving, module).save_model("many", model, options={"threads": None})
    found = counted(saved, np.tile(ROWS, (10, 1)), None, tmp_path)
    assert found["threads"] >= 1
    assert found["busy"] > 0.4


@pytest.mark.slow
def test_what_the_operator_changed_counts_instead_of_what_was_saved(tmp_path: Path) -> None:
    _, model = forest()
    saved = vtsserving.sklearn.save_model("many", model, options={"threads": 1})
    assert counted(saved, ROWS, 3, tmp_path)["threads"] >= 2


@pytest.mark.frameworks("torch", "onnx")
@pytest.mark.parametrize("threads", [1, 2])
def test_torch_and_the_onnx_runtime_obey(threads: int, tmp_path: Path) -> None:
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(20, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512)).eval()
    saved = vtsserving.pytorch.save_model("net", net, options={"threads": threads})
    found = counted(saved, ROWS, threads, tmp_path, "__call__")
    assert found["torch"] == [threads, threads]
    assert found["threads"] <= threads - 1
    torch.onnx.export(net, (torch.zeros(2, 20),), str(tmp_path / "net.onnx"), dynamo=True, verbose=False)
    saved = vtsserving.onnx.save_model("graph", tmp_path / "net.onnx", options={"threads": threads})
    session = load_for_serving(saved.path).session
    assert session.get_session_options().intra_op_num_threads == threads
    assert session.get_session_options().inter_op_num_threads == threads


@pytest.mark.frameworks("transformers")
def test_tokenizers_obey(tmp_path: Path) -> None:
    from support.pipelines import bert

    saved = vtsserving.transformers.save_model("texts", bert("SequenceClassification", tmp_path))
    rows = np.array(["good"])
    code = COUNT.replace("(rows)", "(['good bad very anna'] * 64)")
    np.save(tmp_path / "rows.npy", rows)
    for threads, more in ((1, False), (2, True)):
        ran = subprocess.run(
            [sys.executable, "-c", code, str(saved.path), str(tmp_path / "rows.npy"), "tokenizer"],
            env=model_environment(os.environ, threads),
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(ran.stdout.splitlines()[-1])
        assert (found["threads"] > 0) is more, found
        assert found["threads"] <= threads, found
