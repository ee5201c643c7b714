"""What every route needs: the parts of the store, who asks, and the body within limits."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
from anyio.to_thread import run_sync
from fastapi import Depends, Path, Request

from vtsserving._auth.tokens import Token, presented
from vtsserving._model.tag import MAX_PART_CHARS
from vtsserving.exceptions import SizeMismatch, TooLarge
from vtsserving_store.components import StoreComponents
from vtsserving_store.registry.changes import Changes
from vtsserving_store.settings import StoreSettings

Name = Annotated[str, Path(description=f"Name of the model, at most {MAX_PART_CHARS} characters.")]
Ref = Annotated[str, Path(description="An exact version, `latest`, an alias or a unique prefix.")]
ExactVersion = Annotated[str, Path(description="An exact version.")]
Digest = Annotated[str, Path(description="`sha256:` and 64 lower-case hexadecimal digits.")]


class RouteContext:
    """What the application hangs on its state."""

    def __init__(self, parts: StoreComponents, changes: Changes, settings: StoreSettings) -> None:
        self.parts = parts
        self.changes = changes
        self.settings = settings
        self.transfers = anyio.Semaphore(settings.store.concurrent_transfers)


def context(request: Request) -> RouteContext:
    """The application's context."""
    found: RouteContext = request.app.state.context
    return found


InContext = Annotated[RouteContext, Depends(context)]

NOBODY = Token("", "", "admin", "", None)
"""Who asks where no token is needed."""


def needs(scope: str) -> Callable[..., Awaitable[Token]]:
    """A dependency that lets only callers pass whose token has a scope.

    Args:
        scope: `pull`, `push` or `admin`.
    """

    async def check(request: Request, here: InContext) -> Token:
        if not here.settings.needs_token:
            return NOBODY
        token = await presented_token(request, here)
        token.require(scope)
        return token

    return check


async def presented_token(request: Request, here: InContext) -> Token:
    """The token that a request presents, whatever it may do, also where none is needed.

    Raises:
        AuthError: there is none, or it is not valid.
    """
    header = request.headers.get("authorization", "")
    text = presented(header, "this store (see `vtsserving login URL`)")
    return await run_sync(here.parts.tokens.check, text)


Presented = Annotated[Token, Depends(presented_token)]
CanPull = Annotated[Token, Depends(needs("pull"))]
CanPush = Annotated[Token, Depends(needs("push"))]
CanAdminister = Annotated[Token, Depends(needs("admin"))]


async def read_body(request: Request, limit_bytes: int, *, exactly: int | None = None) -> bytes:
    """Receive a body.

    Args:
        request: not read yet.
        limit_bytes: most bytes to take.
        exactly: how many bytes it must have, if that is known.

    Raises:
        TooLarge: it is longer; known from its length, before anything is read, where it tells its length.
        SizeMismatch: it has not exactly as many bytes.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise TooLarge(f"the body has {int(announced)} bytes; at most {limit_bytes} are allowed here")
    body = io.BytesIO()  # gives its bytes away without a copy
    async for chunk in request.stream():
        body.write(chunk)
        if body.tell() > limit_bytes:
            raise TooLarge(f"the body has more than the {limit_bytes} bytes that are allowed here")
    if exactly is not None and body.tell() != exactly:
        raise SizeMismatch(f"{body.tell()} bytes were sent; {exactly} were expected")
    return body.getvalue()


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of the errors that a route may answer with."""
    form = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "request_id"],
                "properties": {name: {"type": "string"} for name in ("code", "message", "request_id")},
            }
        },
    }
    content = {"application/json": {"schema": form}}
    texts = {
        400: "Malformed", 401: "Needs a token", 403: "Token lacks the scope", 404: "No such thing", 409: "Conflict",
        413: "Too large", 416: "Range not satisfiable", 422: "Not valid", 500: "Damaged or broken", 503: "Not now",
        507: "No space left",
    }  # fmt: skip
    always = (400, 401, 403, 422, 500, 503)
    return {
        status: {"description": texts[status], "content": content} for status in sorted({*always, *statuses})
    }
