"""PyTorch modules: those of torch's own layers as data, others pickled with their code."""

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
from vtsserving._saving.torch_module import (
    import_torch,
    module_parameters,
    read_module,
    serve_module,
    write_module,
)
from vtsserving.exceptions import InvalidArgument

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a module with its weights and its code.

    A module that is made of torch's own layers alone (`torch.nn.Sequential(torch.nn.Linear(4, 3))`, say) is read back
    by torch's restricted unpickler (`weights_only`), so loading it runs no code; any other class comes back by
    running its own. `model.info.runs_code` says which. To serve a class of your own without running its Python, save
    it with `vtsserving.torchscript`.

    Args:
        name: `name` or `name:version`.
        model: a torch.nn.Module.
        details: signatures (default: `__call__`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    torch = import_torch()
    if not isinstance(model, torch.nn.Module):
        raise InvalidArgument(f"vtsserving.pytorch saves torch.nn.Module; not {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise InvalidArgument("this is a ScriptModule; save it with vtsserving.torchscript")

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
    module="vtsserving.pytorch",
    name="torch",
    distributions=("torch",),
    read=read_module,
    serve=serve_module,
    takes_device=True,
    taking=Taking(tables=False),
    parameters=module_parameters,
    packages=("torch",),
)
