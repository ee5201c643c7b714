"""Custom Runnables as hidden models: the class and its parameters in one pickle, under the rules for all pickles.

They are packed by `vtsserving serve` for itself, and by `vtsserving services push` for runners elsewhere. Loading one
runs its author's code, so that happens in a model process only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vtsserving._local_store.files import storage_errors
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.draft import Draft
from vtsserving._packing.fingerprint import project_modules
from vtsserving._packing.package_tags import MAX_NEEDS, NEEDS, Need, packed_tag
from vtsserving._saving import framework, pickles
from vtsserving._saving.framework import Framework
from vtsserving._saving.taking import Taking
from vtsserving.exceptions import AlreadyExists, InvalidArgument, ModelLoadFailed, NotFound

if TYPE_CHECKING:
    from vtsserving.runner.runner import Runner, SavedModel

CLASS_FILE: Final = "runnable.pkl"


def pack(runner: Runner, store: LocalStore | None = None) -> Model:
    """Save a custom Runnable as a hidden model, unless it is there already.

    Args:
        runner: of a custom Runnable.
        store: where to; the local store by default.

    Returns:
        The model; the same class with the same parameters is the same model.

    Raises:
        InvalidArgument: the runner has no class of its own, or a parameter has no content that could be named.
        SerializationError: the class or a parameter cannot be pickled.
        StorageError: the store cannot be written to.
    """
    if runner.runnable_class is None:
        raise InvalidArgument(f"the runner {runner.name!r} runs a saved model; there is nothing to pack")
    if len(runner.models) > MAX_NEEDS:
        raise InvalidArgument(f"the runner {runner.name!r} uses more than {MAX_NEEDS} models")
    store = store or LocalStore()
    tag = packed_tag(runner)
    try:
        return store.get(tag)
    except NotFound:
        pass
    try:
        return _save(runner, store, Draft(tag, FRAMEWORK.module, framework.context(FRAMEWORK)))
    except AlreadyExists:
        return store.get(tag)  # another process packed it at the same time


def _save(runner: Runner, store: LocalStore, draft: Draft) -> Model:
    import dataclasses

    cls = runner.runnable_class
    assert cls is not None
    modules = project_modules(sys.modules[cls.__module__])
    with store.staging() as staged:
        with storage_errors(f"cannot pack the runner {runner.name}"):
            has_code = pickles.dump(
                (cls, runner.runnable_init_params),
                staged / CLASS_FILE,
                f"the runner {runner.name!r}",
                [module for module in modules if module.__name__ != "__main__"],
            )
        extra = {
            "runs_code": True,
            "pickle_by_value": has_code,
            "description": f"The runner {runner.name!r}: {cls.__module__}.{cls.__qualname__}",
            **write_contracts(runner.contracts),
            NEEDS: [_need(model, store).to_dict() for model in runner.models],
        }
        whole = dataclasses.replace(draft, options=runner.options, signatures=runner.signatures, extra=extra)
        return store.save(staged, whole)


def _need(model: SavedModel, store: LocalStore) -> Need:
    aliases = [
        alias for alias, version in store.aliases(model.tag.name).items() if version == model.tag.version
    ]
    return Need(model.tag, model.digest, tuple(aliases))


def _read(model: Model) -> Any:
    has_code = bool(model.info.extra.get("pickle_by_value", True))
    pickles.check_python(model.info.context.python_version, has_code, str(model.tag))
    path: Path = model.path_of(CLASS_FILE)
    loaded = pickles.load(path, str(model.tag))
    if not isinstance(loaded, tuple) or len(loaded) != 2:
        raise ModelLoadFailed(f"{model.tag} holds no packed class")
    cls, parameters = loaded
    return cls(**parameters)


FRAMEWORK: Final = Framework(
    module="vtsserving.packed_runnable",
    name="packed_runnable",
    distributions=("cloudpickle",),
    read=_read,
    taking=Taking(arrays=False),
)
