"""The HTTP library as the clients use it: limits, headers, and its errors turned into ours."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from vtsserving._runtime.secret_files import read_secret
from vtsserving._store_client.url import checked_url
from vtsserving.client.attempts import Deadline
from vtsserving.client.call import Answer, Call, CallFailure
from vtsserving.exceptions import ConfigurationError, DeadlineExceeded, GatewayUnavailable
from vtsserving.version import __version__

if TYPE_CHECKING:
    import httpx2

DEFAULT_URL: Final = "http://127.0.0.1:3000"
URL_VARIABLE: Final = "VTSSERVING_URL"
TOKEN_VARIABLES: Final = ("VTSSERVING_TOKEN", "VTSSERVING_STORE_TOKEN")
"""The store's tokens guard the gateway, too; each variable may also end in _FILE."""

CONNECT_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 256
KEEP_ALIVE_S: Final = 60.0
"""How long an unused connection is kept: less than the gateway keeps it, so that it is not closed under a request."""


def chosen_url(url: str | None) -> str:
    """The address of the gateway: the argument, VTSSERVING_URL, or this machine's.

    Returns:
        The address, without a slash at its end.

    Raises:
        ConfigurationError: it is no http or https address.
    """
    return checked_url(url or os.environ.get(URL_VARIABLE) or DEFAULT_URL, "gateway", DEFAULT_URL)


def chosen_token(token: str | None) -> str:
    """The token to send: the argument, or the first variable that is set; empty for none.

    Raises:
        ConfigurationError: a variable names a file that cannot be read.
    """
    if token is not None:
        return token
    for variable in TOKEN_VARIABLES:
        file = os.environ.get(f"{variable}_FILE", "")
        if file:
            return read_secret(file, f"{variable}_FILE")
        if os.environ.get(variable):
            return os.environ[variable]
    return ""


def client_options(url: str, token: str) -> dict[str, Any]:
    """Arguments of the library's clients; proxies and certificates come from the environment as usual."""
    import httpx2

    headers = {"user-agent": f"vtsserving/{__version__}"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    return {
        "base_url": url,
        "headers": headers,
        "limits": httpx2.Limits(
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE_S,
        ),
    }


def request_options(call: Call, deadline: Deadline) -> dict[str, Any]:
    """Arguments of the library's `request` for one attempt."""
    import httpx2

    patience_s = deadline.patience_s
    return {
        "method": call.method,
        "url": call.path,
        "content": call.body or None,
        "headers": {**call.headers, "x-request-timeout": f"{deadline.left_s:.6f}"},
        "timeout": httpx2.Timeout(patience_s, connect=min(CONNECT_TIMEOUT_S, patience_s)),
    }


def answer_of(response: httpx2.Response) -> Answer:
    """A response that was read."""
    return Answer(response.status_code, response.headers, response.content)


@contextlib.contextmanager
def failures(call: Call, deadline: Deadline, url: str) -> Iterator[None]:
    """Turn the HTTP library's errors into Failures.

    Raises:
        Failure: says whether nothing listens, nothing came in time, or the connection broke; safe to repeat where
            nothing was sent, or where the gateway may get the request twice.
    """
    import asyncio

    import httpx2

    try:
        yield
    except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
        text = str(error) or "no connection in time"
        if "CERTIFICATE" in text.upper() or "SSL" in text.upper():
            raise CallFailure(
                GatewayUnavailable(f"the TLS connection to {url} failed: {text}"), may_repeat=False
            ) from error
        gone = GatewayUnavailable(f"nothing answers at {url} ({text}); is the gateway running?")
        raise CallFailure(gone, may_repeat=True) from error
    except (httpx2.TimeoutException, asyncio.TimeoutError) as error:
        late = DeadlineExceeded(f"no answer within {deadline.timeout_s:.3g} s")
        raise CallFailure(late, may_repeat=False) from error
    except httpx2.InvalidURL as error:
        raise ConfigurationError(f"{url!a:.200} is not the address of a gateway: {error}") from error
    except httpx2.HTTPError as error:
        broke = GatewayUnavailable(f"the connection to {url} broke: {error or type(error).__name__}")
        raise CallFailure(broke, may_repeat=call.idempotent) from error
