"""`/api/v1/pushes` and `/api/v1/uploads`: begin a push, upload large blobs in parts, resume."""

from __future__ import annotations

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Path, Request, Response

from vtsserving.exceptions import NotFound
from vtsserving_store.blobs.uploads import UploadSession
from vtsserving_store.http.dependencies import CanPush, InContext, RouteContext, error_responses, read_body
from vtsserving_store.http.schemas import PushAnswer, PushBody, UploadAnswer, UploadBody, UrlAnswer
from vtsserving_store.objects.object_store import PART_BYTES

router = APIRouter(prefix="/api/v1", tags=["pushes"])

PushId = Annotated[str, Path(description="Id of the push.")]
UploadId = Annotated[str, Path(description="Id of the upload.")]
Number = Annotated[int, Path(description="Number of the part, from 1.")]


@router.post("/pushes", status_code=201, response_model=PushAnswer, responses=error_responses())
def begin_push(here: InContext, _: CanPush, body: PushBody) -> dict[str, Any]:
    """Protect the blobs of a model from garbage collection and learn which must be uploaded."""
    push, missing = here.parts.leases.take(body.digests)
    return _push(here, push, missing)


@router.post("/pushes/{push}", response_model=PushAnswer, responses=error_responses(404))
def renew_push(here: InContext, _: CanPush, push: PushId) -> dict[str, Any]:
    """Prolong a push and learn what is still missing."""
    return _push(here, push, here.parts.leases.renew(push))


@router.delete("/pushes/{push}", status_code=204, response_model=None, responses=error_responses())
def drop_push(here: InContext, _: CanPush, push: PushId) -> None:
    """Give a push up."""
    here.parts.leases.drop(push)


@router.post("/uploads", status_code=201, response_model=UploadAnswer, responses=error_responses())
def begin_upload(here: InContext, token: CanPush, body: UploadBody) -> dict[str, Any]:
    """Begin to upload a blob in parts, or find the upload that was begun with the same body."""
    # Keys of different callers never meet, so nobody can spoil another one's parts.
    upload = here.parts.uploads.begin(body.digest, body.size, f"{token.id}/{body.resume_key}")
    return _upload(here, upload)


@router.get("/uploads/{upload}", response_model=UploadAnswer, responses=error_responses(404))
def show_upload(here: InContext, _: CanPush, upload: UploadId) -> dict[str, Any]:
    """Which parts are there."""
    return _upload(here, here.parts.uploads.get(upload))


@router.put(
    "/uploads/{upload}/parts/{number}",
    status_code=204,
    response_model=None,
    responses=error_responses(404, 413, 416, 507),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_part(
    request: Request,
    here: InContext,
    _: CanPush,
    upload: UploadId,
    number: Number,
    x_part_sha256: Annotated[str, Header(description="Hexadecimal digest of the part.", max_length=64)] = "",
) -> Response:
    """Store a part; the same part again replaces it."""
    found = await run_sync(here.parts.uploads.get, upload)
    async with here.transfers:
        data = await read_body(request, found.size_of(number))
        await run_sync(here.parts.uploads.put_part, found, number, data, x_part_sha256)
    return Response(status_code=204)


@router.get(
    "/uploads/{upload}/parts/{number}/url", response_model=UrlAnswer, responses=error_responses(404, 416)
)
def part_url(here: InContext, _: CanPush, upload: UploadId, number: Number) -> dict[str, Any]:
    """A URL to which the part can be PUT without the store, where the storage allows it."""
    expires_s = here.settings.s3.presigned_s
    url = here.parts.uploads.part_url(here.parts.uploads.get(upload), number, expires_s=expires_s)
    if url is None:
        raise NotFound("this store gives out no URLs of its storage; upload through the store")
    return {"url": url, "expires_s": expires_s}


@router.post(
    "/uploads/{upload}/complete", status_code=204, response_model=None, responses=error_responses(404, 507)
)
def complete_upload(here: InContext, _: CanPush, upload: UploadId) -> None:
    """Check all parts against size and digest and make them a blob."""
    here.parts.uploads.complete(here.parts.uploads.get(upload))


@router.delete("/uploads/{upload}", status_code=204, response_model=None, responses=error_responses(404))
def drop_upload(here: InContext, _: CanPush, upload: UploadId) -> None:
    """Give an upload up."""
    here.parts.uploads.discard(here.parts.uploads.get(upload))


def _push(here: RouteContext, push: str, missing: list[str]) -> dict[str, Any]:
    lease_s = here.settings.store.lease_s
    return {"id": push, "missing": missing, "expires_s": lease_s, "part_bytes": PART_BYTES}


def _upload(here: RouteContext, upload: UploadSession) -> dict[str, Any]:
    return {
        "id": upload.id,
        "digest": upload.digest,
        "size": upload.size_bytes,
        "part_bytes": upload.part_bytes,
        "parts": upload.part_count,
        "received": here.parts.uploads.received(upload),
        "direct": bool(here.settings.s3.public_endpoint),
    }
