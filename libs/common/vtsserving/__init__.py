"""Save trained models in a versioned store and serve them over HTTP with adaptive batching.

    saved_model = vtsserving.sklearn.save_model("iris_clf", clf)
    runner = vtsserving.sklearn.get("iris_clf:latest").to_runner()

Everything here is loaded when it is first used: importing this package imports neither numpy nor a framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

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
    from vtsserving.apis import Service
    from vtsserving.client.awaiting import AsyncClient
    from vtsserving.client.blocking import Client
    from vtsserving.context import Context, Cookie
    from vtsserving.model import Model, ModelContext, ModelInfo
    from vtsserving.options import ModelOptions
    from vtsserving.remote_store import Store
    from vtsserving.runnable import Runnable
    from vtsserving.runner import Runner
    from vtsserving.signature import ModelSignature
    from vtsserving.tag import Tag

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
    "pytorch",
    "pytorch_lightning",
    "sklearn",
    "torchscript",
    "transformers",
    "xgboost",
]

_HOMES: Final = {
    "AsyncClient": "client.awaiting",
    "Client": "client.blocking",
    "Context": "context",
    "Cookie": "context",
    "Service": "apis",
    "Model": "model",
    "ModelContext": "model",
    "ModelInfo": "model",
    "ModelOptions": "options",
    "ModelSignature": "signature",
    "Runnable": "runnable",
    "Runner": "runner",
    "Store": "remote_store",
    "Tag": "tag",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    if name in _HOMES:
        value = getattr(importlib.import_module(f"vtsserving.{_HOMES[name]}"), name)
    elif name in __all__:
        value = importlib.import_module(f"vtsserving.{name}")
    else:
        raise AttributeError(f"module 'vtsserving' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(__all__)
