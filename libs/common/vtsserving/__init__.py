"""Save trained models in a versioned store and serve them over HTTP with adaptive batching.

    saved_model = vtsserving.sklearn.save_model("iris_clf", clf)
    runner = vtsserving.sklearn.get("iris_clf:latest").to_runner()

Everything here is loaded when it is first used: importing this package imports neither numpy nor a framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from vtsserving import _aliases
from vtsserving.version import __version__

if TYPE_CHECKING:
    from vtsserving import (
        catboost,
        exceptions,
        io,
        lightgbm,
        models,
        onnx,
        picklable_model,
        pytorch,
        pytorch_lightning,
        sklearn,
        torchscript,
        transformers,
        xgboost,
    )
    from vtsserving._embedded.server import Server, serve
    from vtsserving._local_store.model import Model
    from vtsserving._model.info import ModelContext, ModelInfo
    from vtsserving._model.options import ModelOptions
    from vtsserving._model.signature import ModelSignature
    from vtsserving._model.tag import Tag
    from vtsserving._scoring.score import ScoredFile, predict_file
    from vtsserving._store_client.remote_store import Store
    from vtsserving.client.async_client import AsyncClient
    from vtsserving.client.sync_client import Client
    from vtsserving.runner.runnable import Runnable
    from vtsserving.runner.runner import Runner
    from vtsserving.service.context import Context, Cookie
    from vtsserving.service.service import Service

__all__ = [
    "AsyncClient",
    "Client",
    "Context",
    "Cookie",
    "Model",
    "ModelContext",
    "ModelInfo",
    "ModelOptions",
    "ModelSignature",
    "Runnable",
    "Runner",
    "ScoredFile",
    "Server",
    "Service",
    "Store",
    "Tag",
    "__version__",
    "catboost",
    "exceptions",
    "io",
    "lightgbm",
    "models",
    "onnx",
    "picklable_model",
    "predict_file",
    "pytorch",
    "pytorch_lightning",
    "serve",
    "sklearn",
    "torchscript",
    "transformers",
    "xgboost",
]

_HOMES: Final = {
    "AsyncClient": "client.async_client",
    "Client": "client.sync_client",
    "Context": "service.context",
    "Cookie": "service.context",
    "Service": "service.service",
    "Model": "_local_store.model",
    "ModelContext": "_model.info",
    "ModelInfo": "_model.info",
    "ModelOptions": "_model.options",
    "ModelSignature": "_model.signature",
    "ScoredFile": "_scoring.score",
    "predict_file": "_scoring.score",
    "Server": "_embedded.server",
    "serve": "_embedded.server",
    "Runnable": "runner.runnable",
    "Runner": "runner.runner",
    "Store": "_store_client.remote_store",
    "Tag": "_model.tag",
}


_aliases.install()


def __getattr__(name: str) -> Any:
    """Load a public name, or a module by a name that it had in an earlier release, on first use."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"vtsserving.{_HOMES[name]}"), name)
    elif name in __all__ or _aliases.name_now(f"vtsserving.{name}") != f"vtsserving.{name}":
        value = importlib.import_module(f"vtsserving.{name}")
    else:
        raise AttributeError(f"module 'vtsserving' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(__all__)
