"""Models that are any Python objects that cloudpickle can save."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import CALL, ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._saving import framework, pickles
from vtsserving._saving.framework import Framework, Written
from vtsserving._saving.taking import Taking

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]

MODEL_FILE: Final = "model.pkl"


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a function or an object.

    Args:
        name: `name` or `name:version`.
        model: anything that cloudpickle can pickle.
        details: signatures (default: `__call__`, not batchable), labels, metadata, custom_objects, external_modules,
            options, input_example, description, check; see `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """

    def write(path: Path) -> Written:
        modules = details.get("external_modules") or ()
        has_code = pickles.dump(model, path / MODEL_FILE, "the model", modules)
        return Written(runs_code=True, extra={"pickle_by_value": has_code})

    return framework.save(FRAMEWORK, name, model, write, default={CALL: ModelSignature()}, details=details)


def load_model(tag: str | Tag | Model) -> Any:
    """Load the object back into memory.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
        IntegrityError: its files are damaged; nothing was loaded then.
        PythonVersionMismatch: it carries code of another Python version.
        ModelLoadFailed: it cannot be loaded here.
    """
    return framework.load(FRAMEWORK, tag)


def get(tag: str | Tag) -> Model:
    """Find a model that this module saved.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
    """
    return framework.get(FRAMEWORK, tag)


def _read(model: Model) -> Any:
    return pickles.load_model_file(model, MODEL_FILE)


FRAMEWORK: Final = Framework(
    module="vtsserving.picklable_model",
    name="picklable_model",
    distributions=("cloudpickle",),
    read=_read,
    taking=Taking(arrays=False),
    packages=("cloudpickle",),
)
