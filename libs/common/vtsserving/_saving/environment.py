"""The packages that a model needs: which are recorded, and whether those of this process fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from vtsserving._model.info import ModelInfo
from vtsserving.exceptions import IncompatibleEnvironment, MissingDependency

_SAME: Final = {
    "lightning": ("pytorch-lightning",),
    "onnxruntime": ("onnxruntime-gpu",),
    "xgboost": ("xgboost-cpu",),
}
"""Distributions that contain the same package; a model is recorded under the first name."""

_warned: set[tuple[str, str]] = set()


def installed_versions(distributions: Sequence[str]) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {distribution: installed_version(distribution) for distribution in distributions}
    return {distribution: version for distribution, version in found.items() if version}


def installed_version(distribution: str) -> str | None:
    """The version of a distribution, or of one with the same content; None if there is none."""
    from importlib.metadata import PackageNotFoundError, version

    for name in (distribution, *_SAME.get(distribution, ())):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def check_environment(info: ModelInfo) -> None:
    """Compare the recorded versions with the installed ones; another minor version warns once.

    Raises:
        MissingDependency: a package is not installed.
        IncompatibleEnvironment: a package has another major version.
    """
    for distribution, saved in info.context.framework_versions.items():
        here = installed_version(distribution)
        wanted = f"{distribution}=={saved.partition('+')[0]}"
        if here is None:
            raise MissingDependency(f"{info.tag} needs a package: pip install {wanted}")
        if here.split(".")[0] != saved.split(".")[0]:
            raise IncompatibleEnvironment(
                f"{info.tag} was saved with {distribution} {saved}; {here} is installed: pip install {wanted}"
            )
        if here.split(".")[:2] != saved.split(".")[:2] and (distribution, saved) not in _warned:
            _warned.add((distribution, saved))
            warnings.warn(
                f"{info.tag} was saved with {distribution} {saved}; {here} is installed",
                UserWarning,
                stacklevel=3,
            )


@contextmanager
def framework_import(package: str, extra: str) -> Iterator[None]:
    """Turn a failed import of a framework into an error that says how to install it.

    Args:
        package: what is imported.
        extra: the extra of this distribution that installs it.

    Raises:
        MissingDependency: the import fails.
    """
    try:
        yield
    except ImportError as error:
        raise MissingDependency(
            f"{package} cannot be imported ({error}): pip install 'vtsserving[{extra}]'"
        ) from error
