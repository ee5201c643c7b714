"""What errors of the S3 client mean: retry, missing, or a sentence for the operator."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final
from xml.etree.ElementTree import ParseError

import urllib3
from minio.error import InvalidResponseError, S3Error, ServerError

from vtsserving import _clock
from vtsserving.exceptions import ClockSkew, NoSpace, StoreUnavailable, VtsServingException

RETRY_AFTER_S: Final = 2.0
"""What clients are told to wait when the storage is not there."""

MAX_SKEW_S: Final = 15 * 60.0
"""S3 refuses requests that were signed at a time that differs by more."""

_TRANSIENT_CODES: Final = frozenset(
    {
        "SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "ServiceUnavailable", "RequestTimeout",
        "OperationAborted",
        "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody", "Busy", "ServerBusy", "ReadTimeout",
    }
)  # fmt: skip
_MISSING_CODES: Final = frozenset({"NoSuchKey", "NoSuchVersion", "ResourceNotFound"})
_REFUSED_CODES: Final = frozenset(
    {"AccessDenied", "SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidToken", "ExpiredToken"}
)
_FULL_CODES: Final = frozenset(
    {"XMinioStorageFull", "QuotaExceeded", "EntityTooLarge", "InsufficientStorage"}
)


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a moment later."""
    if isinstance(error, S3Error):
        return error.code in _TRANSIENT_CODES or error.response.status >= 500
    if isinstance(error, ServerError):
        return error.status_code >= 500
    if isinstance(error, urllib3.exceptions.SSLError):
        return False
    # A body that is not XML comes from something in between, for example a proxy that is starting.
    return isinstance(error, (InvalidResponseError, urllib3.exceptions.HTTPError))


def is_transient_answer(response: urllib3.BaseHTTPResponse) -> bool:
    """Whether the storage may answer the same request otherwise a moment later.

    Args:
        response: of status 400 or above; its body is read.
    """
    if response.status >= 500:
        return True
    try:
        return S3Error.fromxml(response).code in _TRANSIENT_CODES
    except (ParseError, UnicodeDecodeError, AttributeError):
        return False  # a body that is not XML, or none


def is_missing(error: Exception) -> bool:
    """Whether the object (not the bucket) does not exist."""
    return isinstance(error, S3Error) and error.code in _MISSING_CODES


def is_lost(error: Exception) -> bool:
    """Whether a create-only write failed because the key exists; some servers say 409 or 404 while writers race."""
    if not isinstance(error, S3Error):
        return False
    if error.code in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
        return True
    return getattr(error.response, "status", 0) == 412


def is_broken_body(error: BaseException) -> bool:
    """Whether an answer broke off after it had begun; a request without an answer was repeated already."""
    is_request = isinstance(error, (urllib3.exceptions.MaxRetryError, urllib3.exceptions.SSLError))
    return isinstance(error, urllib3.exceptions.HTTPError) and not is_request


def translated(error: Exception, where: str) -> VtsServingException:
    """The error that leaves the storage layer.

    Args:
        error: what the client library raised.
        where: the storage, as `Blobs.describe` gives it.

    Returns:
        An error whose sentence says what to do; never a bare library error.
    """
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        error = error.reason
    code = error.code if isinstance(error, S3Error) else type(error).__name__
    if code == "RequestTimeTooSkewed" or (code in _REFUSED_CODES and _skew_s(error) > MAX_SKEW_S):
        return ClockSkew(
            f"{where} refuses signed requests because the clocks differ: set this machine's time"
        )
    if code in _FULL_CODES:
        return NoSpace(f"no space left in {where} ({code})")
    if code in _REFUSED_CODES:
        return StoreUnavailable(
            f"{where} refuses the store's credentials ({code}): check access key and secret key"
        )
    if code == "NoSuchBucket":
        return StoreUnavailable(
            f"{where} does not exist: create it, or set VTSSERVING_S3__CREATE_BUCKET=true"
        )
    if isinstance(error, urllib3.exceptions.SSLError):
        return StoreUnavailable(f"the TLS connection to {where} failed: {error}")
    return StoreUnavailable(f"{where} does not answer ({code})", retry_after_s=RETRY_AFTER_S)


def _skew_s(error: Exception) -> float:
    """By how much the server's clock differs; refusals of HEAD requests have no body that would say so."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        server = parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return 0.0
    return abs(server.timestamp() - _clock.wall_s())
