"""How HTTP is spoken with the store service, and what its answers and failures mean."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal

from vtsserving._store_client.url import checked_url
from vtsserving.exceptions import (
    AuthError,
    ConfigurationError,
    NotAStore,
    StoreUnavailable,
    VtsServingException,
    from_code,
)
from vtsserving.version import __version__

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT_S: Final = 5.0
STALL_TIMEOUT_S: Final = 30.0
"""A request fails when nothing was sent or received for this long, however long it takes as a whole."""

MAX_CONNECTIONS: Final = 80


def check_url(url: str) -> str:
    """Check the address of a store.

    Returns:
        The address, without a slash at its end.

    Raises:
        ConfigurationError: it is no http or https address.
    """
    return checked_url(url, "store", "http://127.0.0.1:3001")


def new_client(base_url: str, token: str) -> httpx2.Client:
    """An HTTP client with our limits; proxies and certificates come from the environment as usual."""
    import httpx2

    headers = {"user-agent": f"vtsserving/{__version__}"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    return httpx2.Client(
        base_url=base_url,
        headers=headers,
        timeout=timeouts(STALL_TIMEOUT_S),
        limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS),
    )


def timeouts(stall_s: float) -> httpx2.Timeout:
    """Limits of one request; `stall_s` is the longest silence."""
    import httpx2

    return httpx2.Timeout(stall_s, connect=CONNECT_TIMEOUT_S)


def transport_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library raises when no answer came."""
    import httpx2

    return (httpx2.TransportError, httpx2.InvalidURL, httpx2.StreamError)


@contextlib.contextmanager
def connection_errors(url: str) -> Iterator[None]:
    """Turn the HTTP library's errors into ours.

    Raises:
        StoreUnavailable: says whether nothing listens, nothing came, or TLS failed.
    """
    import httpx2

    try:
        yield
    except httpx2.ConnectError as error:
        text = str(error)
        if "CERTIFICATE" in text.upper() or "SSL" in text.upper():
            raise StoreUnavailable(f"the TLS connection to the store {url} failed: {text}") from error
        raise StoreUnavailable(f"nothing answers at the store {url} ({text}); is it running?") from error
    except httpx2.TimeoutException as error:
        raise StoreUnavailable(f"the store {url} did not answer in time") from error
    except httpx2.HTTPError as error:
        raise StoreUnavailable(
            f"the connection to the store {url} broke: {error or type(error).__name__}"
        ) from error
    except httpx2.InvalidURL as error:
        raise ConfigurationError(f"{url!a:.200} is not the address of a store: {error}") from error


def error_of(response: httpx2.Response, url: str) -> VtsServingException:
    """The error that an answer stands for.

    Args:
        response: read, not successful.
        url: of the store, for messages.
    """
    try:
        fields = response.json()["error"]
        code, message = str(fields["code"]), str(fields["message"])
    except (ValueError, KeyError, TypeError):
        return StoreUnavailable(
            f"{url} answered {response.status_code} with something that no store says; is a proxy in between?"
        )
    if code == AuthError.code and "authorization" not in response.request.headers:
        return AuthError(
            f"the store {url} needs a token: `vtsserving login {url} --token-stdin < FILE`, "
            "or VTSSERVING_STORE_TOKEN"
        )
    advised = response.headers.get("retry-after", "")
    return from_code(code, message, retry_after_s=float(advised) if advised.isdigit() else None)


def json_of(response: httpx2.Response, url: str, kind: type[Any]) -> Any:
    """The JSON of an answer.

    Raises:
        NotAStore: it is none, or of another kind.
    """
    try:
        found = response.json()
    except ValueError:
        found = None
    if not isinstance(found, kind):
        if "html" in response.headers.get("content-type", ""):
            raise StoreUnavailable(f"{url} answered with a web page; is a proxy or login page in between?")
        raise NotAStore(f"{url} answered with something that no store says: is this a store?")
    return found


class SchemaErrors:
    """A block in which a missing or odd field of an answer means that this is no store."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Literal[False]:
        if isinstance(error, (KeyError, TypeError, AttributeError)):
            raise NotAStore(f"an answer of {self._url} lacks a field: is this a store?") from error
        return False
