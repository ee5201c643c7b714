"""TorchScript programs: loading them runs no Python of theirs."""

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
from vtsserving._saving.torch_module import import_torch, is_coarse, module_parameters, serve_module
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]

MODEL_FILE: Final = "model.pt"


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a scripted or traced module.

    Args:
        name: `name` or `name:version`.
        model: a torch.jit.ScriptModule.
        details: signatures (default: `__call__`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    torch = import_torch()
    if not isinstance(model, torch.jit.ScriptModule):
        raise InvalidArgument(
            f"vtsserving.torchscript saves torch.jit.ScriptModule; not {type(model).__name__}"
        )

    def write(path: Path) -> Written:
        torch.jit.save(model, str(path / MODEL_FILE))
        return Written(runs_code=False, served=serve_module(model), coarse=is_coarse(model))

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


def _read(model: Model, device: str = "cpu") -> Any:
    torch = import_torch()
    return torch.jit.load(str(model.path_of(MODEL_FILE)), map_location=device)


FRAMEWORK: Final = Framework(
    module="vtsserving.torchscript",
    name="torchscript",
    distributions=("torch",),
    read=_read,
    serve=serve_module,
    takes_device=True,
    taking=Taking(tables=False),
    parameters=module_parameters,
    packages=("torch",),
)
