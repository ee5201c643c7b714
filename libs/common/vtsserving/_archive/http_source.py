"""Archives over HTTP, with every address checked before it is connected to."""

from __future__ import annotations

import contextlib
import ssl
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from vtsserving._archive.addresses import IpAddress, addresses_of, check_named, check_redirect
from vtsserving._archive.limits import KIB
from vtsserving._archive.locations import HTTP_SCHEMES, Location
from vtsserving._archive.streams import Readable
from vtsserving.exceptions import AuthError, ForbiddenSource, InvalidArgument, NotFound, Unavailable

if TYPE_CHECKING:
    import httpx2

MAX_REDIRECTS: Final = 5
_CONNECT_TIMEOUT_S: Final = 10.0
_READ_TIMEOUT_S: Final = 60.0
_READ_BYTES: Final = 256 * KIB


class _Body:
    """A response's bytes as they came, read piece by piece."""

    def __init__(self, response: httpx2.Response, shown: str) -> None:
        self._pieces = response.iter_raw(_READ_BYTES)
        self._left = b""
        self._shown = shown

    def read(self, n_bytes: int) -> bytes:
        import httpx2

        while not self._left:
            try:
                piece = next(self._pieces, None)
            except httpx2.HTTPError as e:
                raise Unavailable(
                    f"the download of {self._shown} broke off ({e}); run the command again"
                ) from e
            if piece is None:
                return b""
            self._left = piece
        out, self._left = self._left[:n_bytes], self._left[n_bytes:]
        return out


@contextlib.contextmanager
def open_http(location: Location) -> Iterator[Readable]:
    """Download an archive.

    Args:
        location: an http or https URL; a user name and password in it are sent.

    Yields:
        The body, forwards only.

    Raises:
        ForbiddenSource: the address, or one that it redirects to, must not be fetched from.
        NotFound: the server has no such file.
        AuthError: the server wants other credentials.
        Unavailable: the server cannot be reached or fails.
    """
    import httpx2

    url = _parse_url(location.address, location.shown)
    named_host = url.host
    timeout = httpx2.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
    with httpx2.Client(timeout=timeout, follow_redirects=False, verify=_tls()) as client:
        for _ in range(MAX_REDIRECTS + 1):
            with contextlib.closing(_get(client, url, named_host)) as response:
                if not response.has_redirect_location:
                    _check_status(response.status_code, location.shown)
                    yield _Body(response, location.shown)
                    return
                url = _redirected(url, response.headers["location"])
    raise Unavailable(f"{location.shown} redirects more than {MAX_REDIRECTS} times")


def _get(client: httpx2.Client, url: httpx2.URL, named_host: str) -> httpx2.Response:
    """Send a GET to an address that was checked, and to no other that the name may resolve to a moment later."""
    import httpx2

    # Whatever is behind the address is stored as it is, so a compressed archive must not be unpacked on the way.
    headers = {"accept-encoding": "identity", "host": url.netloc.decode("ascii")}
    if _proxied(url):
        return _send(client, client.build_request("GET", url, headers=headers))
    port = url.port or (443 if url.scheme == "https" else 80)
    addresses = addresses_of(url.host, port)
    if url.host == named_host:
        check_named(url.host, addresses)
    else:
        check_redirect(url.host, addresses, named_host)
    failure: Exception | None = None
    for address in addresses:
        pinned = url.copy_with(host=_bracketed(address))
        request = client.build_request("GET", pinned, headers=headers, extensions={"sni_hostname": url.host})
        try:
            return _send(client, request)
        except Unavailable as e:
            failure = e
            if not isinstance(e.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout):
                break
    raise Unavailable(f"{url.host}:{port} cannot be reached; check the address and the network") from failure


def _send(client: httpx2.Client, request: httpx2.Request) -> httpx2.Response:
    import httpx2

    try:
        return client.send(request, stream=True)
    except httpx2.HTTPError as e:
        raise Unavailable(f"{request.url.host} does not answer as expected: {e}") from e


def _tls() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()


def _proxied(url: httpx2.URL) -> bool:
    """Whether the environment sends this URL through a proxy, which then is who connects."""
    return url.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(url.host)


def _bracketed(address: IpAddress) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def _parse_url(address: str, shown: str) -> httpx2.URL:
    import httpx2

    try:
        url = httpx2.URL(address)
    except httpx2.InvalidURL as e:
        raise InvalidArgument(f"{shown} is not a valid URL: {e}") from e
    if not url.host:
        raise InvalidArgument(f"{shown} names no host")
    return url


def _redirected(url: httpx2.URL, target: str) -> httpx2.URL:
    import httpx2

    try:
        joined = url.join(target)
    except httpx2.InvalidURL as e:
        raise Unavailable(f"{url.host} redirects to an address that cannot be read") from e
    if joined.scheme not in HTTP_SCHEMES or not joined.host:
        raise ForbiddenSource(f"{url.host} redirects to an address that is not http: {joined.scheme}:")
    return joined


def _check_status(status: int, shown: str) -> None:
    if status in {401, 403, 407}:
        raise AuthError(f"{shown}: the server answers {status}; check the user name and password in the URL")
    if status in {404, 410}:
        raise NotFound(f"{shown}: the server has no such file ({status})")
    if status != 200:
        raise Unavailable(f"{shown}: the server answers {status}")
