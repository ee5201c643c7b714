"""Tokens, garbage collection, change events, and what answers here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse

from vtsserving.exceptions import Unavailable
from vtsserving.version import __version__
from vtsserving_store.http.dependencies import CanAdminister, CanPull, InContext, Presented, error_responses
from vtsserving_store.http.schemas import (
    CollectAnswer,
    CollectBody,
    NewTokenAnswer,
    ServiceAnswer,
    TokenAnswer,
    TokenBody,
)
from vtsserving_store.registry.changes import MAX_LISTENERS, Changes

router = APIRouter(prefix="/api/v1", tags=["administration"])

KEEP_ALIVE_S: Final = 15.0
EVENT_STREAM: Final = "text/event-stream"


@router.get("", response_model=ServiceAnswer)
def service(here: InContext) -> dict[str, Any]:
    """What answers here; needs no token."""
    return {
        "service": "vtsserving-store",
        "api": "v1",
        "version": __version__,
        "auth": here.settings.needs_token,
        "direct": bool(here.settings.s3.public_endpoint),
    }


@router.get("/token", response_model=TokenAnswer, responses=error_responses())
def whose_token(token: Presented) -> dict[str, Any]:
    """Whose token the request presents, and what it may do; answers so where no token is needed, too."""
    return token.to_dict()


@router.get("/tokens", response_model=list[TokenAnswer], responses=error_responses())
def list_tokens(here: InContext, _: CanAdminister) -> list[dict[str, Any]]:
    """All tokens, without their secrets."""
    return [token.to_dict() for token in here.parts.tokens.list()]


@router.post("/tokens", status_code=201, response_model=NewTokenAnswer, responses=error_responses())
def create_token(here: InContext, _: CanAdminister, body: TokenBody) -> dict[str, Any]:
    """Make a token; its text is in this answer and nowhere else."""
    token, text = here.parts.tokens.create(body.name, body.scope, expires_in_s=body.expires_in_s)
    return {**token.to_dict(), "token": text}


@router.delete("/tokens/{token}", status_code=204, response_model=None, responses=error_responses(404))
def revoke_token(
    here: InContext, _: CanAdminister, token: Annotated[str, Path(description="Its id.")]
) -> None:
    """Make a token useless."""
    here.parts.tokens.revoke(token)


@router.post("/gc", response_model=CollectAnswer, responses=error_responses())
def collect(here: InContext, _: CanAdminister, body: CollectBody) -> dict[str, Any]:
    """Remove blobs that nothing needs."""
    return here.parts.collector.run(dry_run=body.dry_run, grace_s=body.grace_s).to_dict()


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}, **error_responses()},
)
@router.head("/events", include_in_schema=False)
async def events(request: Request, here: InContext, _: CanPull) -> Response:
    """Changes as server-sent events, from now on; `missed` means: look at everything again."""
    if request.method == "HEAD":
        return Response(media_type=EVENT_STREAM)
    if here.changes.listeners >= MAX_LISTENERS:
        raise Unavailable(f"{MAX_LISTENERS} clients listen already", retry_after_s=30.0)
    return StreamingResponse(_stream(here.changes), media_type=EVENT_STREAM)


async def _stream(changes: Changes) -> AsyncIterator[str]:
    yield ": listening\n\n"
    events = changes.listen()
    upcoming = asyncio.ensure_future(anext_of(events))
    try:
        while True:
            done, _ = await asyncio.wait({upcoming}, timeout=KEEP_ALIVE_S)
            if not done:
                yield ": still here\n\n"
                continue
            event = upcoming.result()
            if event is None:
                return
            yield f"event: {event['kind']}\ndata: {json.dumps(event)}\n\n"
            upcoming = asyncio.ensure_future(anext_of(events))
    finally:
        upcoming.cancel()


async def anext_of(events: AsyncIterator[dict[str, Any]]) -> dict[str, Any] | None:
    """The next event; None when there are no more."""
    async for event in events:
        return event
    return None
