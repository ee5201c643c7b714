"""The one line that a serving child process sends to the process that started it, over a pipe.

{"url": "http://127.0.0.1:3000", "serving": ["iris_clf:2al4..."]}     ready
{"code": "model_not_found", "message": "..."}                         it cannot serve, and ends
"""

from __future__ import annotations

import json
import os
from typing import Any, Final, NamedTuple

from vtsserving.exceptions import VtsServingException, from_code

MAX_REPORT_BYTES: Final = 64 * 1024
"""A longer report is cut off by the reader, and so counts as none."""


class Ready(NamedTuple):
    """A server that takes requests.

    Attributes:
        url: its address, as a client on this machine reaches it.
        serving: exact tags of the models loaded at start, then the Service if there is one.
    """

    url: str
    serving: tuple[str, ...]


def send_ready(descriptor: int, ready: Ready) -> None:
    """Report readiness and close the pipe."""
    _send(descriptor, {"url": ready.url, "serving": list(ready.serving)})


def send_failure(descriptor: int, error: VtsServingException) -> None:
    """Report why nothing is served and close the pipe."""
    _send(descriptor, {"code": error.wire_code, "message": error.message})


def parse(raw: bytes) -> Ready | VtsServingException | None:
    """Read a report.

    Args:
        raw: everything that came through the pipe.

    Returns:
        The server, or the error that it ended with; None where no whole report came.
    """
    try:
        report = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(report, dict):
        return None
    if "url" in report:
        return Ready(str(report["url"]), tuple(map(str, report.get("serving", ()))))
    return from_code(str(report.get("code", "")), str(report.get("message", "")))


def _send(descriptor: int, report: dict[str, Any]) -> None:
    # The starting process may be gone; then nobody needs the report, and the parent watch ends this one.
    try:
        with os.fdopen(descriptor, "wb") as pipe:
            pipe.write(json.dumps(report).encode() + b"\n")
    except OSError:
        pass
