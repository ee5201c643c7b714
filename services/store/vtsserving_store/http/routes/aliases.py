"""`/api/v1/models/{name}/aliases`: movable names, with their history."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from vtsserving._model.tag import check_alias
from vtsserving.exceptions import VersionNotFound
from vtsserving_store.http import alias_changes
from vtsserving_store.http.dependencies import CanPull, CanPush, InContext, Name, error_responses
from vtsserving_store.http.schemas import AliasAnswer, AliasBody, AliasMoveAnswer
from vtsserving_store.registry.aliases import ANY
from vtsserving_store.registry.registry import check_name

router = APIRouter(prefix="/api/v1/models/{name}/aliases", tags=["aliases"])

AliasName = Annotated[str, Path(description="Lower-case letters, digits and '-', beginning with a letter.")]


@router.get("", response_model=dict[str, str], responses=error_responses(404))
def list_aliases(here: InContext, _: CanPull, name: Name) -> dict[str, str]:
    """Alias to exact version."""
    here.parts.registry.versions(name)
    return here.parts.aliases.all(name)


@router.get("/{alias}", response_model=list[AliasMoveAnswer], responses=error_responses(404))
def alias_history(here: InContext, _: CanPull, name: Name, alias: AliasName) -> list[dict[str, Any]]:
    """Where an alias pointed, newest first."""
    history = here.parts.aliases.history(check_name(name), check_alias(alias))
    if not history:
        raise VersionNotFound(f"{name!r} never had the alias {alias!r}")
    return history


@router.put("/{alias}", response_model=AliasAnswer, responses=error_responses(404, 409))
def move_alias(
    here: InContext, token: CanPush, name: Name, alias: AliasName, body: AliasBody
) -> dict[str, Any]:
    """Point an alias to a version."""
    expected = ANY if body.expected is None else body.expected or None
    version = alias_changes.move_alias(here, name, alias, body.version, by=token.name, expected=expected)
    return {"name": name, "alias": alias, "version": version}


@router.delete("/{alias}", status_code=204, response_model=None, responses=error_responses(404))
def remove_alias(here: InContext, token: CanPush, name: Name, alias: AliasName) -> None:
    """Remove an alias; its history stays."""
    alias_changes.remove_alias(here, name, alias, by=token.name)
