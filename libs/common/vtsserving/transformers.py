"""Pipelines of Hugging Face Transformers: configuration, tokenizer, settings, weights as safetensors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.model import Model
from vtsserving._model.options import ModelOptions
from vtsserving._model.parameters import parameters_of
from vtsserving._model.signature import CALL, ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._saving import framework
from vtsserving._saving.environment import framework_import
from vtsserving._saving.framework import Framework, Written
from vtsserving._saving.pipeline_settings import dtype_option, read_settings, restore_settings, write_settings
from vtsserving._saving.taking import Taking
from vtsserving._saving.torch_module import is_coarse
from vtsserving.exceptions import InvalidArgument, SerializationError

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vtsserving._saving.framework import SaveDetails

__all__ = ["ModelOptions", "get", "load_model", "save_model"]

FOLDER: Final = "pipeline"

_TASKS_OF_TEXTS: Final = (
    "feature-extraction",
    "fill-mask",
    "summarization",
    "text-classification",
    "text-generation",
    "text-to-audio",
    "text2text-generation",
    "token-classification",
    "translation",
    "zero-shot-classification",
)
"""Tasks whose pipelines take texts first; some of them pairs or chats in their place, too."""


def save_model(name: str | Tag, model: Any, **details: Unpack[SaveDetails]) -> Model:
    """Save a pipeline.

    Args:
        name: `name` or `name:version`.
        model: a transformers.Pipeline of a task that Transformers knows.
        details: signatures (default: `__call__`, not batchable), labels, metadata, custom_objects,
            external_modules, options, input_example, description, check; see
            `vtsserving._saving.framework.SaveDetails`.

    Returns:
        The saved model.

    Raises:
        VtsServingException: an argument is not valid, or the store refuses; nothing is saved then.
    """
    with framework_import("transformers", "transformers"):
        import transformers
    if not isinstance(model, transformers.Pipeline):
        raise InvalidArgument(f"vtsserving.transformers saves Pipeline; not {type(model).__name__}")

    def write(path: Path) -> Written:
        if not type(model).__module__.startswith("transformers."):
            raise SerializationError(
                f"{type(model).__name__} is no class of Transformers, so its code would be lost; save it with "
                "vtsserving.picklable_model"
            )
        task = _task(model)
        _write_pretrained(model, path / FOLDER)
        write_settings(model, path / FOLDER)
        # In the mode in which it is loaded; whoever saves puts its own back.
        model.model.eval()
        specs = _input_specs(model, task)
        return Written(
            runs_code=False, input_specs=specs, extra={"task": task}, coarse=is_coarse(model.model)
        )

    return framework.save(FRAMEWORK, name, model, write, default={CALL: ModelSignature()}, details=details)


def load_model(tag: str | Tag | Model, **options: Any) -> Any:
    """Load a pipeline back into memory.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix.
        options: those of `transformers.pipeline`, for example `device` or `dtype`.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
        IntegrityError: its files are damaged; nothing was loaded then.
        IncompatibleEnvironment: the framework's version does not fit.
        ModelLoadFailed: it cannot be loaded here.
    """
    return framework.load(FRAMEWORK, tag, **options)


def get(tag: str | Tag) -> Model:
    """Find a model that this module saved.

    Raises:
        ModelNotFound: it does not exist, or another framework module saved it.
    """
    return framework.get(FRAMEWORK, tag)


def _read(model: Model, **options: Any) -> Any:
    with framework_import("transformers", "transformers"):
        import transformers
    folder = model.path_of(FOLDER)
    settings = read_settings(folder)
    # Nothing is fetched: what the pipeline needs is in the model, and code of others is never run.
    defaults = {"device": "cpu", "trust_remote_code": False, **dtype_option(settings, options)}
    with _without_progress():
        loaded = transformers.pipeline(
            str(model.info.extra.get("task")), model=str(folder), **{**defaults, **options}
        )
    restore_settings(loaded, settings, options)
    return loaded


@contextmanager
def _without_progress() -> Iterator[None]:
    """Show no bars for files that lie here: a server and a command that scores a file have no use for them."""
    from transformers.utils import logging

    # Where this is set, Transformers warns of every attempt to change it.
    is_free = os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS") is None
    if not (is_free and logging.is_progress_bar_enabled()):
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _write_pretrained(pipeline: Any, folder: Path) -> None:
    try:
        with _without_progress():
            pipeline.save_pretrained(str(folder))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise SerializationError(
            f"Transformers cannot save this pipeline as data: {reason}; mend that, or save it with "
            "vtsserving.picklable_model, which keeps it as it is"
        ) from error


def _input_specs(pipeline: Any, task: str) -> dict[str, Any]:
    """The record of the first argument: texts without a shape, one of them or a list."""
    first = next(iter(parameters_of(pipeline).names), "inputs")
    is_known = task.partition("_")[0] in _TASKS_OF_TEXTS
    return {CALL: {"args": [{"name": first, "dtype": "str"}]}} if is_known else {}


def _task(pipeline: Any) -> str:
    """The pipeline's task; one that was made without the factory does not say it."""
    from transformers.pipelines import SUPPORTED_TASKS

    if pipeline.task in SUPPORTED_TASKS:
        return str(pipeline.task)
    kind = type(pipeline)
    for task, details in SUPPORTED_TASKS.items():
        # Version 4 has the class here, version 5 its name.
        if details["impl"] in (kind, f"{kind.__module__}.{kind.__qualname__}"):
            return str(task)
    raise SerializationError(f"Transformers knows no task for {type(pipeline).__name__}")


FRAMEWORK: Final = Framework(
    module="vtsserving.transformers",
    name="transformers",
    distributions=("transformers", "torch"),
    read=_read,
    takes_device=True,
    taking=Taking(arrays=False),
    packages=("transformers", "torch"),
)
