"""The names that a client gave its request, as the bus carries them: a request id and a W3C trace context."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from vtsserving._wire.labels import EntryLabels

REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
"""A request id that is harmless in a log and in a header."""

_TRACEPARENT: Final = re.compile(rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
"""https://www.w3.org/TR/trace-context/: only versions above 00 may go on after the flags."""


def labels_of(headers: Mapping[bytes, bytes]) -> EntryLabels | None:
    """What a request's `X-Request-ID` and `traceparent` say; None if it has neither, or neither is valid.

    Args:
        headers: lower-case names.
    """
    if b"x-request-id" not in headers and b"traceparent" not in headers:
        return None
    wanted = headers.get(b"x-request-id", b"")
    request_id = wanted.decode("ascii") if REQUEST_ID.fullmatch(wanted) else ""
    trace = _trace(headers.get(b"traceparent", b"").strip())
    return EntryLabels(request_id, trace) if request_id or trace else None


def _trace(traceparent: bytes) -> bytes:
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return b""
    version, trace_id, span_id, flags, rest = found.groups()
    is_whole = rest is None or version != b"00"
    if not is_whole or not trace_id.strip(b"0") or not span_id.strip(b"0"):
        return b""
    return bytes.fromhex((trace_id + span_id + flags).decode("ascii"))
