"""JSON of what did not come from a model: text that it can carry, and answers of routes."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from vtsserving._codecs.json_write import to_json


def sendable(text: str) -> str:
    """The text, with what is no Unicode replaced."""
    return text.encode("utf-8", "replace").decode()


def answer(value: Any) -> Response:
    """The answer of a route that is not called often enough to be written by hand."""
    return Response(to_json(value), media_type="application/json")
