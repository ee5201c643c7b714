"""`/api/v1/models`: list, search, show, commit, delete."""

from __future__ import annotations

import json
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response

from vtsserving.exceptions import BadRequest
from vtsserving_store.http.dependencies import (
    CanPull,
    CanPush,
    ExactVersion,
    InContext,
    Name,
    Ref,
    RouteContext,
    error_responses,
    read_body,
)
from vtsserving_store.http.paging import Cursor, Limit, after_cursor, cursor_of, read_cursor, sealed
from vtsserving_store.http.schemas import (
    LabelsAnswer,
    LabelsBody,
    ModelsAnswer,
    NameAnswer,
    VersionAnswer,
    VersionsAnswer,
)
from vtsserving_store.objects import keys
from vtsserving_store.registry.registry import MAX_MANIFEST_BYTES
from vtsserving_store.registry.version_record import Summary, VersionRecord

router = APIRouter(prefix="/api/v1", tags=["models"])

Search = Annotated[str, Query(max_length=200, description="Part of the name or description.")]
LabelFilter = Annotated[
    list[str], Query(max_length=20, description="`key=value` or `key`; all of them must fit.")
]
Module = Annotated[str, Query(max_length=200, description="Only models of this framework module.")]
Hidden = Annotated[bool, Query(description="Packed runners, too.")]


@router.get("/models", response_model=ModelsAnswer, responses=error_responses())
def list_models(
    here: InContext,
    _: CanPull,
    q: Search = "",
    label: LabelFilter = [],  # noqa: B006 - FastAPI copies it
    module: Module = "",
    hidden: Hidden = False,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> dict[str, Any]:
    """Names that have a fitting version, sorted."""
    after = read_cursor(cursor, 1)
    by_name: dict[str, list[Summary]] = {}
    for summary in here.parts.index.fitting(q, label, module, hidden=hidden):
        by_name.setdefault(summary.name, []).append(summary)
    names = [name for name in by_name if not after or name > after[0]]
    page = names[:limit]
    models = [{"name": n, "versions": len(by_name[n]), "latest": by_name[n][0].to_dict()} for n in page]
    return {"models": models, "next": cursor_of(page[-1]) if len(names) > limit else None}


@router.get("/versions", response_model=VersionsAnswer, responses=error_responses())
def list_versions(
    here: InContext,
    _: CanPull,
    q: Search = "",
    label: LabelFilter = [],  # noqa: B006 - FastAPI copies it
    module: Module = "",
    hidden: Hidden = False,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> dict[str, Any]:
    """Versions of all models, by name, newest first within a name."""
    page = list(after_cursor(here.parts.index.fitting(q, label, module, hidden=hidden), cursor))
    more = len(page) > limit
    last = page[limit - 1] if more else None
    return {
        "versions": [summary.to_dict() for summary in page[:limit]],
        "next": cursor_of(last.name, last.creation_time, last.version) if last else None,
    }


@router.get("/models/{name}", response_model=NameAnswer, responses=error_responses(404))
def show_name(here: InContext, _: CanPull, name: Name) -> dict[str, Any]:
    """All versions of a model, newest first, and its aliases."""
    here.parts.registry.versions(name)
    versions = [summary.to_dict() for summary in here.parts.index.labelled(name)]
    return {"name": name, "versions": versions, "aliases": here.parts.aliases.all(name)}


@router.get("/models/{name}/versions/{ref}", response_model=VersionAnswer, responses=error_responses(404))
def show_version(here: InContext, _: CanPull, name: Name, ref: Ref) -> Response:
    """One version, with its manifest and info; `Content-Digest` covers the answer."""
    version = here.parts.registry.get(name, ref)
    return sealed(_version_body(here, version))


@router.get(
    "/models/{name}/versions/{ref}/manifest",
    responses={
        200: {"content": {"application/json": {"schema": {"type": "object"}}}},
        **error_responses(404),
    },
    response_class=Response,
)
def show_manifest(here: InContext, _: CanPull, name: Name, ref: Ref) -> Response:
    """The manifest, byte for byte; its sha256 is the model's digest."""
    version = here.parts.registry.get(name, ref)
    headers = {"etag": f'"{version.digest}"'}
    return Response(version.manifest.to_bytes(), media_type="application/json", headers=headers)


@router.put(
    "/models/{name}/versions/{version}",
    status_code=201,
    response_model=VersionAnswer,
    responses={
        200: {"model": VersionAnswer, "description": "It was there already"},
        **error_responses(409, 413, 507),
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    },
)
async def commit(
    request: Request,
    here: InContext,
    token: CanPush,
    name: Name,
    version: ExactVersion,
    push: Annotated[str, Query(max_length=64, description="Id of the push that uploaded the blobs.")] = "",
) -> Response:
    """Make a version visible; the body is its manifest.json, byte for byte."""
    raw = bytes(await read_body(request, MAX_MANIFEST_BYTES))

    def work() -> tuple[dict[str, Any], bool]:
        made, created = here.parts.registry.commit(name, version, raw, push=push, by=token.name)
        if created:
            here.changes.announce("pushed", name, version=version, digest=made.digest)
        return _version_body(here, made), created

    if push and not keys.is_id(push):
        raise BadRequest(f"{push!a:.80} is not the id of a push")
    body, created = await run_sync(work)
    return sealed(body, 201 if created else 200)


@router.delete(
    "/models/{name}/versions/{version}",
    status_code=204,
    response_model=None,
    responses=error_responses(404, 409),
)
def delete_version(
    here: InContext,
    _: CanPush,
    name: Name,
    version: ExactVersion,
    force: Annotated[bool, Query(description="Remove aliases that point to it.")] = False,
) -> None:
    """Delete a version; blobs that nothing else needs are removed by garbage collection later."""
    here.parts.registry.delete(name, version, force=force)
    here.changes.announce("deleted", name, version=version)


@router.patch(
    "/models/{name}/versions/{ref}/labels", response_model=LabelsAnswer, responses=error_responses(404)
)
def edit_labels(here: InContext, token: CanPush, name: Name, ref: Ref, body: LabelsBody) -> dict[str, Any]:
    """Set and remove labels; the model itself never changes."""
    version = here.parts.registry.get(name, ref)
    exact = version.manifest.version
    base = version.info.get("labels", {})
    labels = here.parts.labels.edit(name, exact, base, body.labels, by=token.name)
    here.changes.announce("labels", name, version=exact)
    return {"labels": labels}


def _version_body(here: RouteContext, version: VersionRecord) -> dict[str, Any]:
    name, exact = version.manifest.name, version.manifest.version
    edited = here.parts.labels.get(name, exact)
    return {
        "name": name,
        "version": exact,
        "digest": version.digest,
        "manifest": json.loads(version.manifest.to_bytes()),
        "info": version.info,
        "labels": version.info.get("labels", {}) if edited is None else edited,
        "aliases": [alias for alias, target in here.parts.aliases.all(name).items() if target == exact],
        "settings": here.parts.options.of_version(name, exact),
        "pushed_at": version.pushed_at,
        "pushed_by": version.pushed_by,
    }
