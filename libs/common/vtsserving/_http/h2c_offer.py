"""The offer to go on in HTTP/2 without TLS, which some clients make with their first request: we stay with HTTP/1.1.

A server may ignore an offer (RFC 9110, 7.8), but the parser takes what follows such a request for another protocol, its
body included. So the request is parsed again as if nothing had been offered. Other protocols are not dropped: a client
that asks for a WebSocket does not go on without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]

_OFFERED: Final = b"h2c"
_SETTINGS: Final = b"http2-settings"
_UPGRADE: Final = b"upgrade"
_CONNECTION: Final = b"connection"


def offers_h2c(headers: Headers) -> bool:
    """Whether a request offers HTTP/2; names of headers are in lower case."""
    return any(_OFFERED in _lowered(value) for name, value in headers if name == _UPGRADE)


def head_without_offer(method: bytes, url: bytes, version: str, headers: Headers) -> bytes:
    """The header block of a request without its offer.

    Args:
        method: of the request.
        url: as it came.
        version: of HTTP.
        headers: names in lower case; as the parser read them.

    Returns:
        The block with its empty line: without `h2c` in Upgrade, without HTTP2-Settings, and without their names in
        Connection.
    """
    headers = list(headers)
    others = [token for name, value in headers if name == _UPGRADE for token in _kept(value, (_OFFERED,))]
    unconnected = (_SETTINGS,) if others else (_SETTINGS, _UPGRADE)
    lines = [b"%b %b HTTP/%b\r\n" % (method, url, version.encode("ascii"))]
    for name, value in headers:
        if name == _SETTINGS:
            continue
        left = value
        if name in (_UPGRADE, _CONNECTION):
            left = b", ".join(_kept(value, (_OFFERED,) if name == _UPGRADE else unconnected))
            if not left:
                continue
        lines.append(b"%b: %b\r\n" % (name, left))
    return b"".join([*lines, b"\r\n"])


def _kept(value: bytes, dropped: tuple[bytes, ...]) -> list[bytes]:
    """The items of a list without some, which are in lower case."""
    items = [item.strip() for item in value.split(b",")]
    return [item for item in items if item and item.lower() not in dropped]


def _lowered(value: bytes) -> list[bytes]:
    return [item.strip() for item in value.lower().split(b",")]
