"""Which models of the local store a command is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from vtsserving.exceptions import InvalidArgument
from vtsserving.tag import Tag

if TYPE_CHECKING:
    from vtsserving.local_store import LocalStore
    from vtsserving.model import Model

_SORTS: Final[Mapping[str, tuple[Callable[[Any], Any], bool]]] = {
    "created": (lambda model: (model.manifest.creation_time, model.tag.version), True),
    "name": (lambda model: (model.tag.name, model.manifest.creation_time), False),
    "size": (lambda model: model.size_bytes, True),
    "module": (lambda model: (model.info.module, str(model.tag)), False),
}
"""Name -> key, and whether the largest comes first."""

SORT_NAMES: Final = tuple(_SORTS)


def select(
    store: LocalStore,
    name: str | None,
    labels: Mapping[str, str],
    *,
    sort: str = "created",
    limit: int | None = None,
) -> list[Model]:
    """Find models; no more of them are opened than the question needs.

    Args:
        store: where.
        name: only this name, or, with a version, only that one.
        labels: only models with all of these.
        sort: one of SORT_NAMES, reversed by a `-` in front.
        limit: the first so many.

    Returns:
        The models.

    Raises:
        InvalidArgument: unknown sort order, or a negative limit.
        ModelNotFound: `name` has a version that does not exist.
    """
    if limit is not None and limit < 0:
        raise InvalidArgument(f"--limit is a number of models, not {limit}")
    tag = Tag.parse(name) if name is not None else None
    named = tag is not None and tag.version is not None
    models = [store.get(str(tag))] if named else store.list(tag.name if tag else None)
    if labels:
        models = [model for model in models if labels.items() <= model.info.labels.items()]
    return _sorted(models, sort)[:limit]


def _sorted(models: list[Model], sort: str) -> list[Model]:
    if sort == "created":
        return models  # the store's own order
    plain = sort.removeprefix("-")
    if plain not in _SORTS:
        raise InvalidArgument(
            f"--sort takes {', '.join(_SORTS)}, or one of them with - in front, not {sort!r}"
        )
    key, largest_first = _SORTS[plain]
    return sorted(models, key=key, reverse=largest_first != sort.startswith("-"))
