"""Models that a process was given with the class that it runs; they come before those of its local store.

A model process has no access to a store service. The runner fetches the models that a packed class needs and says
where they are; `vtsserving.models.get` and the framework modules find them under the names that they had.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._model.tag import LATEST, Tag


class Provided(NamedTuple):
    """One model that is given to a process.

    Attributes:
        tag: exact.
        path: directory with its verified files.
        aliases: names that it can be found by.
    """

    tag: Tag
    path: Path
    aliases: tuple[str, ...] = ()


class InjectedModels:
    """The models that a process was given, before those of its local store; a ModelResolver."""

    def __init__(self, models: Iterable[Provided]) -> None:
        """Find `models`."""
        self._given = {model.tag: model for model in models}

    def get(self, tag: str | Tag) -> Model:
        """Find a given model by its exact version, an alias, a prefix, or as the only one of its name.

        Raises:
            InvalidTag, ModelNotFound, VersionNotFound: it was not given, and the local store raises this.
        """
        found = self._find(Tag.parse(tag))
        return LocalStore().get(tag) if found is None else Model(found.tag, found.path)

    def _find(self, tag: Tag) -> Provided | None:
        exact = self._given.get(tag)
        if exact is not None:
            return exact
        wanted = tag.version
        named = [one for one in self._given.values() if one.tag.name == tag.name]
        if wanted not in (None, LATEST):
            named = [
                one for one in named if wanted in one.aliases or str(one.tag.version).startswith(str(wanted))
            ]
        return named[0] if len(named) == 1 else None


def to_text(models: Iterable[Provided]) -> str:
    """Models for the command line of a process."""
    return json.dumps([(str(model.tag), str(model.path), model.aliases) for model in models])


def from_text(text: str) -> list[Provided]:
    """The reverse of `to_text`."""
    raw: list[Any] = json.loads(text)
    return [Provided(Tag.parse(tag), Path(path), tuple(aliases)) for tag, path, aliases in raw]
