"""Result or error to the bytes of an HTTP response."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from vtsserving._inference.request import Outcome
from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.http.json_text import sendable

_CLOSE: Final = b"connection: close\r\n"
_KEEP_OLD: Final = b"connection: keep-alive\r\n"


class ResponseContent(NamedTuple):
    """The body of an answer.

    Attributes:
        headers: header lines that describe it, each with its line end.
        body: its bytes.
    """

    headers: bytes
    body: bytes


def connection_line(keep_alive: bool, http_10: bool) -> bytes:
    """The `connection` header line, where the HTTP version needs one."""
    if keep_alive:
        return _KEEP_OLD if http_10 else b""
    return _CLOSE


def result_response(
    content: ResponseContent, outcome: Outcome, request_id: bytes, date: bytes, connection: bytes
) -> bytes:
    """The response to a call that succeeded.

    Args:
        content: the body.
        outcome: how the call ended.
        request_id: to send back.
        date: the `date` header line.
        connection: the `connection` header line, or nothing.

    Returns:
        Head and body.
    """
    return (
        b"HTTP/1.1 200 OK\r\n%b%bx-request-id: %b\r\nx-vts-model: %b\r\nx-vts-batch-size: %d\r\n"
        b"server-timing: queue;dur=%.3f, compute;dur=%.3f\r\n%bcontent-length: %d\r\n\r\n%b"
        % (
            date,
            content.headers,
            request_id,
            outcome.entry.tag.encode(),
            outcome.batch_rows,
            outcome.queue_us / 1000,
            outcome.compute_us / 1000,
            connection,
            len(content.body),
            content.body,
        )
    )


def error_body(error: VtsServingException, request_id: str) -> bytes:
    """The body of every error, except under `/v2`."""
    fields = {"code": error.wire_code, "message": sendable(error.message), "request_id": request_id}
    return orjson.dumps({"error": fields})


def error_response(
    error: VtsServingException, status: int, body: bytes, request_id: bytes, date: bytes, connection: bytes
) -> bytes:
    """The response to a request that failed; `date` and `connection` as for result_response."""
    return b"%b%bcontent-type: application/json\r\nx-request-id: %b\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
        STATUS_LINE[status],
        date,
        request_id,
        b"".join(b"%b: %b\r\n" % pair for pair in error_headers(error)),
        connection,
        len(body),
        body,
    )


def error_headers(error: VtsServingException) -> list[tuple[bytes, bytes]]:
    """Headers that belong to an error's status."""
    if error.status == 401:
        return [(b"www-authenticate", b'Bearer realm="vtsserving"')]
    if error.status == 503:
        return [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s or 1)))]
    return []
