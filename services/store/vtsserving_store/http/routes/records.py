"""`/api/v1/records`: what serving needs of many versions, in one answer."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from vtsserving_store.http.dependencies import CanPull, InContext, error_responses
from vtsserving_store.http.paging import Cursor, Limit, after_cursor, cursor_of, sealed
from vtsserving_store.http.schemas import RecordsAnswer
from vtsserving_store.registry.serving_records import ServingRecord

MAX_PAGE_BYTES: Final = 8 << 20
"""About how many bytes of records one answer has at most; the last one may go beyond."""

router = APIRouter(prefix="/api/v1/records", tags=["models"])

OneName = Annotated[str, Query(max_length=200, description="Only versions of this model.")]


@router.get("", response_model=RecordsAnswer, responses=error_responses(404))
def list_records(
    here: InContext, _: CanPull, name: OneName = "", limit: Limit = 100, cursor: Cursor = ""
) -> Response:
    """Versions with what serving needs of them, by name, newest first within a name.

    An answer may have fewer than `limit`, and more after them.
    """
    if name:
        here.parts.registry.versions(name)
    index = here.parts.index
    found = after_cursor(index.labelled(name) if name else index.fitting("", []), cursor)
    page: list[ServingRecord] = []
    size_bytes = 0
    for record in here.parts.records.of(found, name):
        if len(page) == limit or (page and size_bytes + record.size_bytes > MAX_PAGE_BYTES):
            last = page[-1].summary
            return _answer(page, cursor_of(last.name, last.creation_time, last.version))
        page.append(record)
        size_bytes += record.size_bytes
    return _answer(page, None)


def _answer(page: list[ServingRecord], following: str | None) -> Response:
    return sealed({"records": [record.values for record in page], "next": following})
