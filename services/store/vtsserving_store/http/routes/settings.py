"""`/api/v1/models/{name}/settings`: options of a model that are changed while it is served."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from vtsserving_store.http.dependencies import CanPull, CanPush, InContext, Name, error_responses
from vtsserving_store.http.schemas import SettingsAnswer, SettingsBody, SettingsRecordAnswer

router = APIRouter(prefix="/api/v1/models/{name}/settings", tags=["settings"])


@router.get("", response_model=list[SettingsRecordAnswer], responses=error_responses(404))
def settings_history(here: InContext, _: CanPull, name: Name) -> list[dict[str, Any]]:
    """All changes, newest first; the first one counts."""
    here.parts.registry.versions(name)
    return here.parts.options.history(name)


@router.patch("", response_model=SettingsAnswer, responses=error_responses(404))
def change_settings(here: InContext, token: CanPush, name: Name, body: SettingsBody) -> dict[str, Any]:
    """Change options of all versions or of one; those who serve the model take them up."""
    version = None if body.version is None else here.parts.registry.get(name, body.version).manifest.version
    if version is None:
        here.parts.registry.versions(name)
    record = here.parts.options.edit(name, version, body.set, body.reset, by=token.name)
    here.changes.announce("settings", name, version=version)
    return record
