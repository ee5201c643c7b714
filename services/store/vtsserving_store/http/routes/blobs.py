"""`/api/v1/blobs`: small blobs in one request, downloads with ranges."""

from __future__ import annotations

import re
from typing import Any, Final

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from vtsserving.exceptions import BlobNotFound, RangeNotSatisfiable
from vtsserving_store.blobs.blob_store import check_digest
from vtsserving_store.http.dependencies import CanPull, CanPush, Digest, InContext, error_responses, read_body
from vtsserving_store.http.schemas import MissingAnswer, MissingBody, UrlAnswer
from vtsserving_store.objects.object_store import PART_BYTES

router = APIRouter(prefix="/api/v1/blobs", tags=["blobs"])

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_BINARY: Final[dict[str, Any]] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
}


@router.post("/missing", response_model=MissingAnswer, responses=error_responses())
def missing(here: InContext, _: CanPull, body: MissingBody) -> dict[str, Any]:
    """Which blobs the store does not have; asking protects nothing, see `/pushes`."""
    return {"missing": here.parts.content.missing(body.digests)}


@router.put(
    "/{digest}",
    status_code=201,
    response_model=None,
    responses={
        200: {"description": "It was there already"},
        201: {"description": "Stored"},
        **error_responses(413, 507),
    },
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def put_blob(request: Request, here: InContext, _: CanPush, digest: Digest) -> Response:
    """Store a blob of at most 8 MiB; larger ones go through `/uploads`."""
    check_digest(digest)
    async with here.transfers:
        data = await read_body(request, PART_BYTES)
        created = await run_sync(here.parts.content.put, digest, data)
    return Response(status_code=201 if created else 200)


@router.get(
    "/{digest}",
    response_class=StreamingResponse,
    responses={
        200: {"content": _BINARY},
        206: {"description": "The range that was asked for", "content": _BINARY},
        304: {"description": "The client has it"},
        **error_responses(404, 416),
    },
)
@router.head("/{digest}", include_in_schema=False)
def get_blob(request: Request, here: InContext, _: CanPull, digest: Digest) -> Response:
    """A blob's bytes, or one range of them."""
    size = here.parts.content.stat(digest).size_bytes
    headers = {
        "etag": f'"{digest}"',
        "accept-ranges": "bytes",
        "cache-control": "private, max-age=31536000, immutable",
        "content-disposition": "attachment",
        "x-content-type-options": "nosniff",
    }
    if digest in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    start, length, status = _range(request.headers.get("range", ""), size)
    headers["content-length"] = str(length)
    if status == 206:
        headers["content-range"] = f"bytes {start}-{start + length - 1}/{size}"
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    body = here.parts.content.stream(digest, start=start, length=length)
    return StreamingResponse(body, status, headers, "application/octet-stream")


@router.get("/{digest}/url", response_model=UrlAnswer, responses=error_responses(404))
def download_url(here: InContext, _: CanPull, digest: Digest) -> dict[str, Any]:
    """A URL from which the blob can be fetched without the store, where the storage allows it."""
    here.parts.content.stat(digest)
    expires_s = here.settings.s3.presigned_s
    url = here.parts.content.download_url(digest, expires_s=expires_s)
    if url is None:
        raise BlobNotFound("this store gives out no URLs of its storage; download through the store")
    return {"url": url, "expires_s": expires_s}


def _range(header: str, size: int) -> tuple[int, int, int]:
    """Start, length and status; several ranges, and what is no range, mean the whole (RFC 9110 allows that).

    Raises:
        RangeNotSatisfiable: the range lies outside of the blob.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or (not match[1] and not match[2]):
        return 0, size, 200
    if not match[1]:
        start, end = max(0, size - int(match[2])), size - 1
    else:
        start, end = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
    if match[1] and match[2] and int(match[2]) < start:
        return 0, size, 200
    if start >= size or end < start:
        raise RangeNotSatisfiable(f"the blob has {size} bytes; the range {header[:60]!a} lies outside")
    return start, end - start + 1, 206
