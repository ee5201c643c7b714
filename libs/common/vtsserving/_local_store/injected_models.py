"""Models that a process was given with the class that it runs: found there whatever its local store has.

A model process has no access to a store service. The runner fetches the models that a packed class needs and says
where they are; `vtsserving.models.get` and the framework modules find them under the names that they had.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from vtsserving._model.model import Model
from vtsserving._model.tag import LATEST, Tag
from vtsserving.exceptions import ModelNotFound


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


_given: Final[dict[Tag, Provided]] = {}
_elsewhere: list[Callable[[Tag], Model]] = []


def provide(models: Iterable[Provided]) -> None:
    """Let this process find models."""
    _given.update({model.tag: model for model in models})


def look_in(find_elsewhere: Callable[[Tag], Model]) -> None:
    """Let this process find models elsewhere than in its local store, which is asked no more."""
    _elsewhere[:] = [find_elsewhere]


def find(tag: Tag) -> Model | None:
    """A model that this process was given: by its exact version, an alias, a prefix, or as the only one of its name.

    Raises:
        VtsServingException: this process looks elsewhere, and there it is not.
    """
    for find_elsewhere in _elsewhere:
        return find_elsewhere(tag)
    if not _given:
        return None
    exact = _given.get(tag)
    if exact is None:
        wanted = tag.version
        named = [one for one in _given.values() if one.tag.name == tag.name]
        if wanted not in (None, LATEST):
            named = [
                one for one in named if wanted in one.aliases or str(one.tag.version).startswith(str(wanted))
            ]
        exact = named[0] if len(named) == 1 else None
    return None if exact is None else Model(exact.tag, exact.path)


def restore(tag: str, digest: str) -> Model:
    """A model that was pickled as a reference.

    Raises:
        ModelNotFound: it is not here, or it has other content.
    """
    from vtsserving._local_store.store import LocalStore

    model = LocalStore().get(tag)
    if model.digest != digest:
        raise ModelNotFound(f"{tag} is here with other content than when the class was packed")
    return model


def to_text(models: Iterable[Provided]) -> str:
    """Models for the command line of a process."""
    return json.dumps([(str(model.tag), str(model.path), model.aliases) for model in models])


def from_text(text: str) -> list[Provided]:
    """The reverse of `to_text`."""
    raw: list[Any] = json.loads(text)
    return [Provided(Tag.parse(tag), Path(path), tuple(aliases)) for tag, path, aliases in raw]
