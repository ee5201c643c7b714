"""Names that modules had in earlier releases: each goes on naming the very module that it named.

Pickles hold the dotted names of classes, scripts import them, and configurations may name them. A module that moves
gets a line here, and importing it by its former name gives the module itself, not a copy, so that its classes stay the
same classes. The other way round, `first_name` gives the name that the first release used: what is pickled or named by
a digest uses that one, so that earlier releases can read it and digests do not change.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, TypeVar

MOVED: Final[dict[str, str]] = {
    "vtsserving.apis": "vtsserving.service.service",
    "vtsserving.archive": "vtsserving._archive",
    "vtsserving.bus": "vtsserving._bus",
    "vtsserving.catalog": "vtsserving._catalog.catalog",
    "vtsserving.client.awaiting": "vtsserving.client.async_client",
    "vtsserving.client.blocking": "vtsserving.client.sync_client",
    "vtsserving.config_files": "vtsserving._runtime.config_files",
    "vtsserving.context": "vtsserving.service.context",
    "vtsserving.custom_objects": "vtsserving._saving.custom_objects",
    "vtsserving.draft": "vtsserving._model.draft",
    "vtsserving.environment": "vtsserving._saving.environment",
    "vtsserving.fingerprint": "vtsserving._packing.fingerprint",
    "vtsserving.framework": "vtsserving._saving.framework",
    "vtsserving.health": "vtsserving._runtime.health",
    "vtsserving.health_check": "vtsserving._runtime.health_check",
    "vtsserving.home": "vtsserving._local_store.home",
    "vtsserving.http_head": "vtsserving._runtime.http_head",
    "vtsserving.http_url": "vtsserving._store_client.url",
    "vtsserving.inference": "vtsserving._inference",
    "vtsserving.inference.deadlines": "vtsserving._inference.timer_wheel",
    "vtsserving.inference.ownership": "vtsserving._inference.rendezvous",
    "vtsserving.inference.parked": "vtsserving._inference.pending_queue",
    "vtsserving.inference.pauses": "vtsserving._inference.stall_detector",
    "vtsserving.input_example": "vtsserving._saving.input_example",
    "vtsserving.json_arrays": "vtsserving._codecs.json_arrays",
    "vtsserving.json_reading": "vtsserving._codecs.json_strict",
    "vtsserving.json_writing": "vtsserving._codecs.json_write",
    "vtsserving.listening": "vtsserving._runtime.listening",
    "vtsserving.local_handle": "vtsserving.runner.local",
    "vtsserving.local_store": "vtsserving._local_store.store",
    "vtsserving.local_store_change": "vtsserving._local_store.change",
    "vtsserving.local_store_files": "vtsserving._local_store.files",
    "vtsserving.local_store_lookup": "vtsserving._local_store.lookup",
    "vtsserving.local_store_staging": "vtsserving._local_store.staging",
    "vtsserving.local_store_state": "vtsserving._local_store.state",
    "vtsserving.logs": "vtsserving._runtime.logs",
    "vtsserving.manifest": "vtsserving._model.manifest",
    "vtsserving.manifest_files": "vtsserving._model.manifest_files",
    "vtsserving.metadata": "vtsserving._model.metadata",
    "vtsserving.model": "vtsserving._local_store.model",
    "vtsserving.model_info": "vtsserving._model.info",
    "vtsserving.model_settings": "vtsserving._model.settings",
    "vtsserving.model_yaml": "vtsserving._model.yaml_file",
    "vtsserving.npy": "vtsserving._codecs.npy",
    "vtsserving.options": "vtsserving._model.options",
    "vtsserving.packed_runnable": "vtsserving._packing.package",
    "vtsserving.packed_tags": "vtsserving._packing.package_tags",
    "vtsserving.pickles": "vtsserving._saving.pickles",
    "vtsserving.placement": "vtsserving._catalog.placement",
    "vtsserving.provided_models": "vtsserving._local_store.resolver",
    "vtsserving.reference_models": "vtsserving._store_client.references",
    "vtsserving.registry": "vtsserving._store_client.client",
    "vtsserving.registry_answers": "vtsserving._store_client.answers",
    "vtsserving.registry_http": "vtsserving._store_client.http",
    "vtsserving.remote_store": "vtsserving._store_client.remote_store",
    "vtsserving.runnable": "vtsserving.runner.runnable",
    "vtsserving.service_import": "vtsserving.service.importing",
    "vtsserving.service_packing": "vtsserving.service.packing",
    "vtsserving.settings": "vtsserving._runtime.settings",
    "vtsserving.signature": "vtsserving._model.signature",
    "vtsserving.store_catalog": "vtsserving._store_client.catalog",
    "vtsserving.store_contexts": "vtsserving._store_client.contexts",
    "vtsserving.tag": "vtsserving._model.tag",
    "vtsserving.token_file": "vtsserving._auth.token_file",
    "vtsserving.tokens": "vtsserving._auth.tokens",
    "vtsserving.torch_module": "vtsserving._saving.torch_module",
    "vtsserving.transfer": "vtsserving._store_client.transfer",
    "vtsserving.transfer_download": "vtsserving._store_client.download",
    "vtsserving.transfer_progress": "vtsserving._store_client.progress",
    "vtsserving.transfer_upload": "vtsserving._store_client.upload",
    "vtsserving.wire": "vtsserving._wire",
}
"""Name in an earlier release -> name now, whole and dotted. A package's line is that of its modules, too."""

SPLIT: Final[dict[str, str]] = {"vtsserving.runner": "vtsserving.runner.runner"}
"""Module that became a package of the same name -> the module that defines its classes now.

The package exports them, so no import has to be redirected; only `first_name` looks here.
"""

_Named = TypeVar("_Named", bound=Any)


class _Finder:
    """Answers imports of former names; the rest of the import system is not concerned."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec that gives the moved module; None for every other name."""
        now = name_now(name)
        return None if now == name else ModuleSpec(name, _Loader(now))  # type: ignore[arg-type]


class _Loader:
    """Gives a module that is loaded under another name, and leaves it as it is."""

    _own_specs: Final[dict[str, ModuleSpec | None]] = {}

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        # The first one is its own: threads may import several former names of one module at a time.
        self._own_specs.setdefault(self._name, module.__spec__)
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has just written the alias's spec into it.
        module.__spec__ = self._own_specs[self._name]


def install() -> None:
    """Let this process import former names; done once, by the package itself."""
    if _Finder not in sys.meta_path:
        # In front: below a package that moved, the next finder would load a second copy of its modules.
        sys.meta_path.insert(0, _Finder)


def name_now(name: str) -> str:
    """The present name of a module that may be named as an earlier release did."""
    return _replaced(name, MOVED)


def first_name(name: str) -> str:
    """The name that the first release gave a module which may have moved since."""
    return _replaced(name, {now: before for table in (MOVED, SPLIT) for before, now in table.items()})


def stable(named: _Named) -> _Named:
    """Let a class or function be pickled under the name that its module had in the first release.

    Args:
        named: a public class, or a function that pickles refer to; to be used as a decorator.

    Returns:
        The same object.
    """
    now = named.__module__
    before = first_name(now)
    if before != now:
        # Pickling looks there, and cloudpickle takes for unimportable what it does not find loaded.
        sys.modules.setdefault(before, sys.modules[now])
        named.__module__ = before
    return named


def _replaced(name: str, table: dict[str, str]) -> str:
    """A name with its longest beginning that the table has replaced."""
    beginning = name
    while beginning:
        if beginning in table:
            return table[beginning] + name[len(beginning) :]
        beginning = beginning.rpartition(".")[0]
    return name
