"""Keeps a loaded model to the threads that its options allow, where the environment of its process does not do that.

OpenMP, BLAS and most others read a variable (`_runtime/child_process.py`). The libraries here take the number from the
object or the call instead: one that suited the machine it was trained on, or that of all processors.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Iterable
from typing import Any, Final

from vtsserving._model.options import ModelOptions
from vtsserving._runtime.child_process import PROCESS_THREADS

MAX_OBJECTS: Final = 20_000

_JOBS: Final = "n_jobs"
_BOOSTERS: Final = ("catboost", "lightgbm", "xgboost")
_LIGHTGBM_NAMES: Final = ("num_threads", "num_thread", "nthread", "nthreads")
_PREDICTIONS: Final = ("predict", "predict_proba", "predict_log_proba", "calc_leaf_indexes")


def allowed_threads(options: ModelOptions) -> int | None:
    """How many threads a model may have in this process.

    Args:
        options: the model's own; those of its process, which an operator may have changed, win.

    Returns:
        The number; None: as many as its libraries take.
    """
    own = os.environ.get(PROCESS_THREADS)
    if own is None:
        return options.threads
    return int(own) if own else None


def limit_threads(model: Any, threads: int | None) -> None:
    """Lower the number of threads of a model and of those within it, such as the steps of a pipeline.

    In a process of a model's own, what counts for the whole process is limited, too.

    Args:
        model: an estimator of scikit-learn, LightGBM, XGBoost or CatBoost, or what has one; the rest stays as it is.
        threads: at most so many; less stays less. None: no limit.
    """
    if threads is None:
        return
    if PROCESS_THREADS in os.environ:
        _limit_process(threads)
    seen: dict[int, Any] = {}
    waiting = [model]
    while waiting and len(seen) < MAX_OBJECTS:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if isinstance(one, dict):
            waiting.extend(_worth_a_look(one.values()))
        elif isinstance(one, list | tuple):
            waiting.extend(_worth_a_look(one))
        elif hasattr(one, "__dict__"):
            _limit(one, threads)
            waiting.extend(_worth_a_look(vars(one).values()))


def _limit_process(threads: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
        with contextlib.suppress(RuntimeError):  # that pool runs already
            torch.set_num_interop_threads(threads)


def _limit(one: Any, threads: int) -> None:
    library = _library(one)
    attributes = vars(one)
    jobs = attributes.get(_JOBS)
    chosen = isinstance(jobs, int) and not isinstance(jobs, bool) and 0 < jobs <= threads
    # Without a number, LightGBM takes all cores and scikit-learn one.
    if _JOBS in attributes and not chosen and (jobs is not None or library == "lightgbm"):
        attributes[_JOBS] = threads
    if library == "lightgbm":
        _limit_lightgbm(one, threads)
    elif library == "xgboost":
        _limit_xgboost(one, threads)
    elif library == "catboost":
        _bind(one, "thread_count", threads)


def _limit_lightgbm(one: Any, threads: int) -> None:
    if hasattr(one, "get_params"):
        named = {name: threads for name in _LIGHTGBM_NAMES if name in one.get_params()}
        if named:
            one.set_params(**named)
    elif type(one).__name__ == "Booster":
        _bind(one, "num_threads", threads)


def _limit_xgboost(one: Any, threads: int) -> None:
    with contextlib.suppress(Exception):  # not fitted
        booster = one.get_booster() if hasattr(one, "get_booster") else one
        booster.set_param({"nthread": threads})


def _bind(one: Any, argument: str, threads: int) -> None:
    """Give the calls of one object, not of its class, another default."""
    for name in _PREDICTIONS:
        method = getattr(one, name, None)
        if callable(method):
            vars(one)[name] = functools.partial(method, **{argument: threads})


def _library(one: Any) -> str:
    """The library of boosters that an object's class, or one of its bases, is from."""
    for kind in type(one).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in _BOOSTERS:
            return root
    return ""


def _worth_a_look(values: Iterable[Any]) -> list[Any]:
    """Containers, and objects that may have a number of threads; a million numbers are not looked at one by one."""
    return [value for value in list(values)[:MAX_OBJECTS] if _may_have_threads(value)]


def _may_have_threads(value: Any) -> bool:
    kind = type(value)
    if kind in (list, tuple, dict):
        return True
    return hasattr(value, "__dict__") and (hasattr(kind, "get_params") or _library(value) != "")
