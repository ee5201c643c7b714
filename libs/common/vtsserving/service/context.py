"""What an API function may know of its request and set on its response: the `ctx` argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vtsserving._aliases import stable

SameSite = Literal["lax", "strict", "none"]


@stable
@dataclass(frozen=True)
class Cookie:
    """One cookie of a response.

    Attributes:
        key: its name.
        value: its value.
        max_age_s: seconds that the client keeps it; None until it is closed.
        path: below which the client sends it back.
        domain: to which the client sends it back; None: only this host.
        secure: whether it travels over HTTPS only.
        http_only: whether it is hidden from scripts.
        same_site: when the client sends it from other sites.
    """

    key: str
    value: str = ""
    max_age_s: int | None = None
    path: str = "/"
    domain: str | None = None
    secure: bool = False
    http_only: bool = False
    same_site: SameSite = "lax"


@dataclass(frozen=True)
class RequestContext:
    """The request, read-only.

    Attributes:
        headers: lower-case names.
        cookies: name to value.
        query: parameters of the URL, the last of each name.
        method: HTTP method.
        path: of the URL, without its query.
        request_id: in the response and in the logs, too.
    """

    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    query: Mapping[str, str]
    method: str
    path: str
    request_id: str


@dataclass
class ResponseContext:
    """What the function adds to its response.

    Attributes:
        status_code: HTTP status.
        headers: added to those of the output.
        cookies: set by the response.
    """

    status_code: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cookies: list[Cookie] = field(default_factory=list)

    def set_cookie(self, key: str, value: str = "", **options: object) -> None:
        """Set a cookie; `options` are the other fields of Cookie."""
        self.cookies.append(Cookie(key, value, **options))  # type: ignore[arg-type]


@stable
@dataclass(frozen=True)
class Context:
    """Passed to API functions that have a parameter `ctx` or `context`."""

    request: RequestContext
    response: ResponseContext = field(default_factory=ResponseContext)
