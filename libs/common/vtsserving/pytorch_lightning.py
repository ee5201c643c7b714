"""Modules of PyTorch Lightning, pickled with their code and without their trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import CALL, ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._saving import framework
from vtsserving._saving.framework import Framework, Written
from vtsserving._saving.taking import Taking
from vtsserving._saving.torch_module import module_parameters, read_module, serve_module, write_module
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a LightningModule with its weights and its code.

    Args:
        name: `name` or `name:version`.
        model: a LightningModule, of `lightning` or `pytorch_lightning`.
        details: signatures (default: `__call__`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    if not any(kind.__name__ == "LightningModule" for kind in type(model).__mro__):
        raise InvalidArgument(
            f"vtsserving.pytorch_lightning saves LightningModule; not {type(model).__name__}"
        )

    def write(path: Path) -> Written:
        return write_module(path, model, details.get("external_modules") or ())

    return framework.save(FRAMEWORK, name, model, write, default={CALL: ModelSignature()}, details=details)


def load_model(tag: str | Tag | Model, *, device: str = "cpu") -> Any:
    """Load a module back into memory.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.
        device: where its weights go, for example `cuda:0`.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
        IntegrityError: its files are damaged; nothing was loaded then.
        IncompatibleEnvironment: the framework's version does not fit.
        ModelLoadFailed: it cannot be loaded here.
    """
    return framework.load(FRAMEWORK, tag, device=device)


def get(tag: str | Tag) -> Model:
    """Find a model that this module saved.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
    """
    return framework.get(FRAMEWORK, tag)


FRAMEWORK: Final = Framework(
    module="vtsserving.pytorch_lightning",
    name="pytorch_lightning",
    distributions=("torch", "lightning"),
    read=read_module,
    serve=serve_module,
    takes_device=True,
    taking=Taking(tables=False),
    parameters=module_parameters,
    packages=("pytorch_lightning", "lightning", "torch"),
)
