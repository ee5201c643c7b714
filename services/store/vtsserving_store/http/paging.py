"""Lists in pages, and answers that say their own digest."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final

from fastapi import Query, Response

from vtsserving.exceptions import BadRequest
from vtsserving_store.registry.version_record import Summary

MAX_PAGE: Final = 1000

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Cursor = Annotated[str, Query(max_length=300, description="`next` of the page before.")]


def after_cursor(summaries: Iterable[Summary], cursor: str) -> Iterator[Summary]:
    """The versions behind those of the pages before.

    Args:
        summaries: by name, newest first within a name.
        cursor: as a client sent it; empty for the first page.

    Raises:
        BadRequest: it is not one of ours.
    """
    after = read_cursor(cursor, 3)
    if not after:
        return iter(summaries)
    name, time, version = after
    return (s for s in summaries if s.name > name or (s.name == name and s[:2] < (time, version)))


def cursor_of(*parts: str) -> str:
    """A cursor that names the last item of a page."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def read_cursor(cursor: str, length: int) -> list[str]:
    """The parts of a cursor, so many of them; nothing where there is none.

    Raises:
        BadRequest: it is not one of ours.
    """
    if not cursor:
        return []
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, list) or len(parts) != length or not all(isinstance(p, str) for p in parts):
        raise BadRequest("the cursor is not one of ours: pass `next` of the page before, unchanged")
    return parts


def sealed(body: dict[str, Any], status: int = 200) -> Response:
    """An answer that tells its own digest, so that damage on the way is noticed."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    return Response(content, status, {"content-digest": f"sha-256=:{digest}:"}, "application/json")
