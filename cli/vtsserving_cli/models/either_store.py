"""What the models commands ask of a store in the same way, be it the local one or a store service."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from vtsserving.exceptions import Conflict, ModelNotFound
from vtsserving_cli.console import Console

if TYPE_CHECKING:
    from vtsserving._model.tag import Tag


def check_aliases(tags: Iterable[Tag], aliases_of: Callable[[str], Mapping[str, str]]) -> None:
    """Find out before the first deletion, not between two.

    Args:
        tags: exact, to be deleted.
        aliases_of: alias to version, of a name; asked once for each name.

    Raises:
        Conflict: an alias points to one of them.
    """
    tags = list(tags)
    aliases = {name: aliases_of(name) for name in {tag.name for tag in tags}}
    for tag in tags:
        pointing = [alias for alias, version in aliases[tag.name].items() if version == tag.version]
        if pointing:
            raise Conflict(
                f"{tag} is {' and '.join(pointing)}; move the alias first, or delete both with --force"
            )


def say_if_unknown(name: str, find: Callable[[str], object]) -> None:
    """A list of nothing is no error, but whoever mistyped the name shall know.

    Args:
        name: as it was typed.
        find: raises ModelNotFound, with near names, if the store has no such name.
    """
    try:
        find(name)
    except ModelNotFound as error:
        Console.note(error.message)
