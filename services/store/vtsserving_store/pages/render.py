"""Renders the web pages: templates that escape everything, headers that allow nothing but our own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

FOLDER: Final = Path(__file__).parent
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")
_MAX_PLAIN_CHARS: Final = 2_000


def _size(count: int) -> str:
    """Bytes for people."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 else f"{value:.2f} {_UNITS[unit]}"


def _moment(text: str) -> str:
    """An ISO time to the second, UTC."""
    return text[:19].replace("T", " ")


def _plain(value: object) -> str:
    """A value of model.yaml as text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_PLAIN_CHARS else text[:_MAX_PLAIN_CHARS] + " …"


_environment = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
)
_environment.filters.update({"size": _size, "moment": _moment, "plain": _plain})


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Render a page.

    Args:
        request: tells who is signed in.
        template: file name below `templates/`.
        status: HTTP status.
        values: for the template; all of it is escaped.
    """
    common = {"signed_in": COOKIE in request.cookies, "note": "", "origin": str(request.base_url).rstrip("/")}
    text = _environment.get_template(template).render({**common, **values})
    return HTMLResponse(text, status, HEADERS)


COOKIE: Final = "vtsserving_store_token"
"""Holds the token of a browser; no script can read it and no other site can send it."""
