"""Moving and removing aliases, for the API and the web pages alike: the checks, the change, the announcement."""

from __future__ import annotations

from vtsserving._model.tag import check_alias
from vtsserving.exceptions import Conflict, VersionNotFound
from vtsserving_store.http.dependencies import RouteContext
from vtsserving_store.registry.aliases import ANY
from vtsserving_store.registry.registry import check_name


def move_alias(
    here: RouteContext, name: str, alias: str, ref: str, *, by: str, expected: object = ANY
) -> str:
    """Point an alias to a version.

    Args:
        here: the store.
        name: of the model.
        alias: its name.
        ref: an exact version, `latest`, an alias or a unique prefix.
        by: who moves it.
        expected: the version that it must point to now, or None for no such alias; by default anything goes.

    Returns:
        The exact version.

    Raises:
        InvalidTag: a name breaks the grammar.
        ModelNotFound, VersionNotFound: there is no such version.
        Conflict: the alias is named like a version, or points elsewhere than expected.
    """
    check_alias(alias)
    version = here.parts.registry.get(name, ref).manifest.version
    if here.parts.registry.find(name, alias) is not None:
        raise Conflict(f"{name}:{alias} is a version, so it cannot be an alias")
    here.parts.aliases.move(name, alias, version, by=by, expected=expected)
    here.changes.announce("alias", name, alias=alias, version=version)
    return version


def remove_alias(here: RouteContext, name: str, alias: str, *, by: str) -> None:
    """Remove an alias; its history stays.

    Args:
        here: the store.
        name: of the model.
        alias: its name.
        by: who removes it.

    Raises:
        InvalidTag: a name breaks the grammar.
        VersionNotFound: there is no such alias.
    """
    if here.parts.aliases.target(check_name(name), check_alias(alias)) is None:
        raise VersionNotFound(f"{name!r} has no alias {alias!r}")
    here.parts.aliases.move(name, alias, None, by=by)
    here.changes.announce("alias", name, alias=alias, version=None)
