"""Pickles that release 0.1.0 writes: a reference to each public class, and instances of those that can be pickled."""

from __future__ import annotations

import base64
import importlib
import pickle
import pkgutil
from types import FunctionType
from typing import Any

import cloudpickle

import vtsserving

OPTIONAL = ("paramiko", "gcsfs", "s3fs", "pyarrow")
"""Packages that some modules need, and this environment need not have."""


def references() -> dict[str, str]:
    """Dotted name -> pickle of that class or function, for all that the modules of the SDK define."""
    found = {}
    for name in sorted(modules()):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name in OPTIONAL:
                continue
            raise
        for attribute, value in sorted(vars(module).items()):
            is_own = isinstance(value, type | FunctionType) and value.__module__ == name
            if is_own and not attribute.startswith("_") and value.__qualname__ == attribute:
                found[f"{name}.{attribute}"] = _text(pickle.dumps(value, 4))
    return found


def modules() -> list[str]:
    """Every module of the SDK, whose name a pickle, a script or a configuration may hold."""
    walked = pkgutil.walk_packages(vtsserving.__path__, f"{vtsserving.__name__}.")
    return sorted(one.name for one in walked)


def public() -> dict[str, str]:
    """Public name -> where release 0.1.0 defined it."""
    named = {name: getattr(vtsserving, name) for name in vtsserving.__all__}
    return {
        name: f"{value.__module__}.{value.__qualname__}"
        for name, value in named.items()
        if isinstance(value, type)
    }


def instances() -> dict[str, dict[str, str]]:
    """Name -> pickles of an instance by pickle and by cloudpickle, and its representation."""
    model = vtsserving.models.get("twice:latest")
    values: dict[str, Any] = {
        "Tag": vtsserving.Tag("iris", "second"),
        "ModelSignature": vtsserving.ModelSignature(True, (1, 0)),
        "ModelOptions": vtsserving.ModelOptions(max_batch_size=8, device="cpu"),
        "Model": model,
        "ModelInfo": model.info,
        "ModelContext": model.info.context,
        "Manifest": model.manifest,
        "Runner": model.to_runner(max_batch_size=4),
        "Cookie": vtsserving.Cookie("name", "value"),
        "JSON": vtsserving.io.JSON(),
        "NumpyNdarray": vtsserving.io.NumpyNdarray(dtype="float32", shape=(-1, 4)),
        "NotFound": vtsserving.exceptions.ModelNotFound("no model 'iris'"),
    }
    found = {}
    for name, value in values.items():
        text = repr(value) if type(value).__repr__ is not object.__repr__ else ""
        plain = _text(pickle.dumps(value, 4))
        by_cloudpickle = _text(cloudpickle.dumps(value, 4))
        found[name] = {"pickle": plain, "cloudpickle": by_cloudpickle, "repr": text}
    return found


def subclass() -> str:
    """A class that only cloudpickle can carry, whose base is ours: what a packed class consists of."""

    class Doubler(vtsserving.Runnable):
        SUPPORTED_RESOURCES = ("cpu",)

        @vtsserving.Runnable.method(batchable=True)
        def double(self, rows: Any) -> Any:
            return rows * 2

    return _text(cloudpickle.dumps(Doubler, 4))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
