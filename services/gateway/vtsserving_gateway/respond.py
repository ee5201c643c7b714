"""Result or error to the bytes of an HTTP response. [R11]"""

from __future__ import annotations

import math
import sys
from typing import Any, Final

import numpy as np
import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from vtsserving.exceptions import BadModelOutput, VtsServingException
from vtsserving.inference.request import Outcome

INTERNAL: Final = "internal error; the server's log has it under this request id"
_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY
_CLOSE: Final = b"connection: close\r\n"
_KEEP_OLD: Final = b"connection: keep-alive\r\n"


def to_json(value: Any) -> bytes:
    """A result as JSON.

    Args:
        value: what a method returned: arrays, DataFrames (as records), lists, dicts, tuples, plain values.

    Returns:
        UTF-8; numbers that are not finite are null.

    Raises:
        BadModelOutput: the value holds something that JSON has no form for, bytes for example.
    """
    try:
        return orjson.dumps(value, default=_plain, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        cause = error.__cause__
        if isinstance(cause, BadModelOutput):
            raise cause from None
        raise BadModelOutput(f"the result has no JSON form: {error}") from error


def _plain(value: Any) -> Any:
    """An equivalent that orjson knows, for what it does not."""
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "OV":
            raise BadModelOutput(f"the result holds an array of dtype {value.dtype}, which has no JSON form")
        return value.astype(np.float32) if value.dtype.name == "bfloat16" else value.tolist()
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            return [
                dict(zip(map(str, value.columns), row, strict=True)) for row in value.itertuples(False, None)
            ]
        if isinstance(value, pandas.Series | pandas.Index):
            return value.tolist()
        if value is pandas.NaT or value is pandas.NA:
            return None
        if isinstance(value, pandas.Timestamp | pandas.Timedelta):
            return value.isoformat()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, complex):
        raise BadModelOutput("the result holds complex numbers, which have no JSON form")
    raise BadModelOutput(f"the result holds {type(value).__name__}, which has no JSON form")


def connection_line(keep_alive: bool, http_10: bool) -> bytes:
    """The `connection` header line, where the HTTP version needs one."""
    if keep_alive:
        return _KEEP_OLD if http_10 else b""
    return _CLOSE


def result_response(outcome: Outcome, request_id: bytes, date: bytes, connection: bytes) -> bytes:
    """The response to a call that succeeded.

    Args:
        outcome: how the call ended.
        request_id: to send back.
        date: the `date` header line.
        connection: the `connection` header line, or nothing.

    Returns:
        Head and body.

    Raises:
        VtsServingException: the outcome is an error, or its value has no JSON form.
    """
    body = to_json(outcome.value())
    return (
        b"HTTP/1.1 200 OK\r\n%bcontent-type: application/json\r\nx-request-id: %b\r\nx-vts-model: %b\r\n"
        b"x-vts-batch-size: %d\r\nserver-timing: queue;dur=%.3f, compute;dur=%.3f\r\n%bcontent-length: %d\r\n\r\n%b"
        % (
            date,
            request_id,
            outcome.entry.tag.encode(),
            outcome.batch_rows,
            outcome.queue_us / 1000,
            outcome.compute_us / 1000,
            connection,
            len(body),
            body,
        )
    )


def error_body(error: VtsServingException, request_id: str) -> bytes:
    """The body of every error of every route."""
    fields = {"code": error.wire_code, "message": _sendable(error.message), "request_id": request_id}
    return orjson.dumps({"error": fields})


def error_response(error: VtsServingException, request_id: bytes, date: bytes, connection: bytes) -> bytes:
    """The response to a request that failed; arguments as for result_response."""
    body = error_body(error, request_id.decode("ascii"))
    return b"%b%bcontent-type: application/json\r\nx-request-id: %b\r\n%b%bcontent-length: %d\r\n\r\n%b" % (
        STATUS_LINE[error.status],
        date,
        request_id,
        b"".join(b"%b: %b\r\n" % pair for pair in error_headers(error)),
        connection,
        len(body),
        body,
    )


def error_headers(error: VtsServingException) -> list[tuple[bytes, bytes]]:
    """Headers that belong to an error's status."""
    if error.status == 503:
        return [(b"retry-after", b"%d" % max(1, math.ceil(error.retry_after_s or 1)))]
    return []


def _sendable(message: str) -> str:
    return message.encode("utf-8", "replace").decode()
