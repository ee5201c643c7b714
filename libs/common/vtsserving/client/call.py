"""One HTTP request of the client and its answer, as data; and what an answer means that is no success."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

from vtsserving.exceptions import (
    GatewayUnavailable,
    ModelLoadFailed,
    NotAGateway,
    Unavailable,
    VtsServingException,
    from_code,
)

PROXY_STATUSES: Final = (502, 503, 504)
"""What proxies in between answer when they do not reach the gateway."""

T = TypeVar("T")


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP status.
        headers: names in any case.
        body: whole.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Of the body, lower case, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        method: HTTP method.
        path: below the gateway's address, quoted.
        body: whole.
        headers: beside those that every request has.
        idempotent: whether the gateway may get it twice.
        is_patient: whether to ask until the deadline, however often the gateway is not there.
    """

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotent: bool = True
    is_patient: bool = False


Conversation = Generator[Call, Answer, T]
"""Calls that depend on each other's answers; knows nothing of sockets, so both clients run the same one."""


class CallFailure(Exception):
    """A call that failed, and whether it makes sense to repeat it.

    Attributes:
        error: what the user gets if it is not repeated.
        may_repeat: whether a repetition is safe and may help.
    """

    def __init__(self, error: VtsServingException, *, may_repeat: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.may_repeat = may_repeat


Failure = CallFailure  # its name in 0.1


def checked(call: Call, answer: Answer, url: str) -> Answer:
    """The answer, if it is a success.

    Args:
        call: that was answered.
        answer: to it.
        url: of the gateway, for messages.

    Raises:
        Failure: with the error of the tree that the gateway named.
    """
    if answer.status < 300:
        return answer
    error = _error_of(answer, url)
    repeatable = call.idempotent and isinstance(error, Unavailable) and error.retry_after_s is not None
    # Loading it again and again would only put off the news.
    is_final = isinstance(error, ModelLoadFailed)
    raise CallFailure(error, may_repeat=repeatable and not is_final)


def _error_of(answer: Answer, url: str) -> VtsServingException:
    advised = answer.headers.get("retry-after", "")
    retry_after_s = float(advised) if advised.isdigit() else None
    try:
        fields: dict[str, Any] = json.loads(answer.body)["error"]
        code, message = str(fields["code"]), str(fields["message"])
    except (ValueError, KeyError, TypeError):
        if answer.status in PROXY_STATUSES:
            is_late = answer.status == HTTPStatus.GATEWAY_TIMEOUT
            return GatewayUnavailable(
                f"{url} answered {answer.status}: a proxy in between does not reach the gateway",
                retry_after_s=None if is_late else retry_after_s or 0.0,
            )
        return NotAGateway(
            f"{url} answered {answer.status} with something that no gateway says; is it the right address?"
        )
    error = from_code(code, message, retry_after_s=retry_after_s)
    error.request_id = answer.headers.get("x-request-id", "")
    return error
