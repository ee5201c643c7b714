"""What an IO descriptor is: it reads a function's input from a request and writes its output to a response."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from email.message import Message
from functools import lru_cache
from typing import Any, Final, NamedTuple

from vtsserving.exceptions import BadInput, UnsupportedMediaType, VtsServingException

OCTETS: Final = "application/octet-stream"
URLENCODED: Final = "application/x-www-form-urlencoded"
"""What `curl -d` and `curl --data-binary` say of any body."""


class Body(NamedTuple):
    """A request's body, or one part of a multipart one.

    Attributes:
        data: its bytes.
        media_type: lower case, without parameters; empty if the client said nothing.
        filename: of a part; empty if there is none.
        boundary: of a multipart body.
    """

    data: bytes
    media_type: str = ""
    filename: str = ""
    boundary: str = ""


class Content(NamedTuple):
    """What a response carries."""

    data: bytes
    media_type: str


class IODescriptor(ABC):
    """Base of all descriptors. Immutable once made, so one may serve many requests at a time."""

    media_types: tuple[str, ...] = ("application/json",)
    """What is read; the first one is what is written. A request without a content type is taken as the first."""

    takes_nothing: bool = False
    """Whether an empty body is one that is read."""

    def check_packages(self) -> None:  # noqa: B027  most need none
        """Before it is served: what is missing must not be found out by each call.

        Raises:
            MissingDependency: a package that it needs is not installed.
        """

    @abstractmethod
    def read(self, body: Body) -> Any:
        """The function's input.

        Args:
            body: its media type is one of `media_types`, or empty.

        Raises:
            BadInput: of its many kinds; the client's fault, answered with its 4xx.
        """

    @abstractmethod
    def write(self, value: Any) -> Content:
        """The response of what the function returned.

        Raises:
            BadModelOutput: the value is not what the descriptor writes; the function's fault, answered with 500.
        """

    def write_as(self, value: Any, accept: str) -> Content:
        """Like `write`, in the form that the client prefers, where the descriptor has several.

        Args:
            value: what the function returned.
            accept: the request's Accept header; empty if there is none.
        """
        return self.write(value)

    def to_spec(self) -> dict[str, Any]:
        """What a client must know to write what `read` reads and to read what `write` writes; see io.specs."""
        return {"type": type(self).__name__, "media_types": list(self.media_types)}

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The JSON schema (OpenAPI 3.1) of the value."""

    def result_schema(self) -> dict[str, Any]:
        """The same of a value that `write` wrote, where results may be more, or less, than what is read."""
        return self.schema()

    def content_schema(self, *, result: bool = False) -> dict[str, Any]:
        """The OpenAPI `content` of a request, or of a response."""
        schema = self.result_schema() if result else self.schema()
        return {media_type: {"schema": schema} for media_type in self.media_types}

    def check_media_type(self, body: Body) -> None:
        """Refuse a body of another type.

        Raises:
            UnsupportedMediaType: names what is supported.
        """
        if body.media_type and not self.accepts(body.media_type):
            raise UnsupportedMediaType(f"send {' or '.join(self.media_types)}, not {body.media_type[:80]}")

    def accepts(self, media_type: str) -> bool:
        """Whether a media type is read; what `curl -d` says counts as JSON."""
        if media_type in self.media_types:
            return True
        return media_type == URLENCODED and "application/json" in self.media_types


def is_read(descriptor: IODescriptor, body: Body) -> bool:
    """Whether a descriptor reads a body, which the documentation is to show."""
    try:
        descriptor.read(body)
    except VtsServingException:
        return False
    return True


@lru_cache(maxsize=256)
def parse_content_type(header: str) -> tuple[str, str]:
    """A Content-Type header as media type (lower case, without parameters) and boundary; empty where not given."""
    if not header:
        return "", ""
    message = Message()
    message["content-type"] = header
    return message.get_content_type(), message.get_boundary() or ""


@lru_cache(maxsize=256)
def preferred(accept: str, media_types: Sequence[str]) -> str:
    """The first media type of an Accept header that there is; the first there is where none is named."""
    for item in accept.lower().split(","):
        name, _, parameters = item.partition(";")
        is_refused = parameters.replace(" ", "") in ("q=0", "q=0.0")
        if name.strip() in media_types and not is_refused:
            return name.strip()
    return media_types[0]


def require(data: bytes, what: str) -> bytes:
    """The bytes of a body that must not be empty.

    Raises:
        BadInput: it is empty.
    """
    if not data:
        raise BadInput(f"the body is empty; send {what}")
    return data
