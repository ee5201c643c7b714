"""What a model needs of a runner and what a runner has, as words: a model may go where all of its words are. Pure.

python=3.11          that minor version; only of models whose pickle carries code by value
scikit-learn=1       a distribution, with its major version
gpu, gpu=1           any GPU; the second that the runner may use
"""

from __future__ import annotations

import platform
import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from vtsserving._model.info import ModelInfo

DISTRIBUTIONS: Final = (
    "catboost",
    "cloudpickle",
    "lightgbm",
    "lightning",
    "onnxruntime",
    "scikit-learn",
    "torch",
    "transformers",
    "xgboost",
)
"""The packages that framework modules record; a runner says which of them it has."""

_CUDA: Final = re.compile(r"cuda(?::([0-9]{1,4}))?")


def required_traits(info: ModelInfo) -> tuple[str, ...]:
    """What a runner must have to load a model: what loading would refuse it for.

    Args:
        info: of the model.

    Returns:
        Words, in the order in which people would name them.
    """
    context, needs = info.context, []
    if info.extra.get("pickle_by_value") and context.python_version:
        needs.append(f"python={_minor(context.python_version)}")
    needs += [f"{name}={_major(version)}" for name, version in context.framework_versions.items()]
    device = info.options.device
    for name in (device,) if isinstance(device, str) else device or ():
        found = _CUDA.fullmatch(name)
        if found:
            needs.append("gpu" if found[1] is None else f"gpu={int(found[1])}")
    return tuple(dict.fromkeys(needs))


def traits_of(gpus: Sequence[str]) -> tuple[str, ...]:
    """What this process has.

    Args:
        gpus: those that may be used.
    """
    from vtsserving._saving.environment import installed_versions

    packages = [f"{name}={_major(version)}" for name, version in installed_versions(DISTRIBUTIONS).items()]
    numbered = [f"gpu={number}" for number in range(len(gpus))]
    return (f"python={_minor(platform.python_version())}", *packages, *(["gpu"] if gpus else []), *numbered)


def missing(needs: Iterable[str], runners: Sequence[Collection[str]]) -> str:
    """Why no runner can hold a model, as the end of a sentence.

    Args:
        needs: of the model.
        runners: the traits of each runner, at least one; none of them has all needs.
    """
    needed = list(needs)
    nowhere = [need for need in needed if not any(need in traits for traits in runners)]
    count = "the only runner has no" if len(runners) == 1 else f"none of the {len(runners)} runners has"
    if nowhere:
        return f"{count} {_listed(nowhere)}"
    return f"no runner has all of {_listed(needed)}"


def _listed(needs: Iterable[str]) -> str:
    return " and ".join(_spoken(need) for need in needs)


def _spoken(need: str) -> str:
    name, _, value = need.partition("=")
    if name == "python":
        return f"Python {value}"
    if name == "gpu":
        return f"GPU number {value}" if value else "GPU"
    return f"{name} {value}.x"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _major(version: str) -> str:
    return version.split(".", maxsplit=1)[0]
