"""`/openapi.json`, and `/docs`, the same for people: a page of our own, so that it works without the internet."""

from __future__ import annotations

from importlib.resources import files
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request, Response

from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.api.model_documents import model_paths
from vtsserving_gateway.http.json_text import answer
from vtsserving_gateway.state import GatewayState

NEXT: Final = "x-vts-next"
"""Key of the document's `info`: where the next one is."""

_FILES: Final = {
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/docs/page.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/docs/style.css": ("docs.css", "text/css; charset=utf-8"),
}
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def add_documents(app: FastAPI, gateway: GatewayState) -> None:
    """Add the routes; the document is made for each request, since models come and go."""

    async def openapi(request: Request) -> Response:
        document = app.openapi()
        wanted = request.query_params
        if wanted.get("models") == "false":
            return answer(document)
        try:
            entries = await gateway.catalog.models()
        except VtsServingException:
            entries = []  # the rest of the document is as good without the store
        found = model_paths(entries, wanted.get("cursor", ""))
        document = {**document, "paths": {**document["paths"], **found.paths}}
        if found.cursor:
            following = f"/openapi.json?cursor={quote(found.cursor, safe='')}"
            words = f"{document['info']['description']} More models stand in `{following}`."
            document["info"] = {**document["info"], "description": words, NEXT: following}
        return answer(document)

    app.add_api_route("/openapi.json", openapi, methods=["GET"], include_in_schema=False)
    for path, (name, media_type) in _FILES.items():
        _add_file(app, path, (files("vtsserving_gateway.api") / "static" / name).read_bytes(), media_type)


def _add_file(app: FastAPI, path: str, content: bytes, media_type: str) -> None:
    async def file() -> Response:
        return Response(content, media_type=media_type, headers=_HEADERS)

    app.add_api_route(path, file, methods=["GET"], include_in_schema=False)
