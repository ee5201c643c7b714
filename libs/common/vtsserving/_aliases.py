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

MOVED: Final[dict[str, str]] = {}
"""Name in an earlier release -> name now, whole and dotted. A package's line is that of its modules, too."""

SPLIT: Final[dict[str, str]] = {}
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
