"""The store's side of its HTTP connections: their limits, their requests, and the answer to what cannot be read."""

from __future__ import annotations

import json
import logging
import secrets
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from vtsserving._http.asgi import AsgiExchange
from vtsserving._http.connection import Connection
from vtsserving._http.exchange import Exchange
from vtsserving._http.limits import NO_LIMIT, Limits
from vtsserving._http.watch import Watch
from vtsserving.exceptions import BadRequest, Overloaded, RequestTimeout, VtsServingException
from vtsserving_store.settings import StoreSection

MAX_HEAD_BYTES: Final = 64 * 1024
"""Of a request's URL, headers and trailers together."""

KEEP_ALIVE_S: Final = 30.0
"""How long a connection is kept between requests."""

_log = logging.getLogger("uvicorn.error")


class StoreHost:
    """Limits and refusals of all connections of one store. Bodies are limited by the routes, each as it needs."""

    draining = False

    def __init__(self, settings: StoreSection) -> None:
        """Create it inside of a running event loop, with the limits that the settings name."""
        self.limits = Limits(
            max_connections=settings.max_connections,
            max_url_bytes=None,
            max_header_bytes=MAX_HEAD_BYTES,
            max_headers=MAX_HEAD_BYTES,
            max_body_bytes=NO_LIMIT,
            max_overhead_bytes=NO_LIMIT,
            header_timeout_s=settings.header_timeout_s,
            body_timeout_s=settings.stall_timeout_s,
            write_timeout_s=settings.stall_timeout_s,
            keep_alive_s=KEEP_ALIVE_S,
            counts_from_open=True,
            is_strict=False,
        )
        self.watch = Watch(self.limits.shortest_s)

    def request_id(self, wanted: bytes | None) -> bytes:
        """An id for a request that is refused; the application gives ids to the others."""
        del wanted
        return secrets.token_hex(8).encode()

    def refuse(self, error: VtsServingException, url: bytes, request_id: bytes) -> bytes:
        """See vtsserving._http.host.ConnectionHost."""
        del url
        if not isinstance(error, (Overloaded, RequestTimeout)):
            _log.warning("request_invalid", extra={"code": error.wire_code, "reason": error.message})
        own = request_id.decode()
        fields = {"code": error.wire_code, "message": error.message, "request_id": own}
        body = json.dumps({"error": fields}).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nx-request-id: {own}\r\n"
        if error.retry_after_s is not None:
            head += f"retry-after: {max(1, round(error.retry_after_s))}\r\n"
        return STATUS_LINE[error.status] + head.encode() + b"connection: close\r\n\r\n" + body


def exchange_for(connection: Connection, headers: dict[bytes, bytes], version: str) -> Exchange:
    """Every request is the application's; see vtsserving._http.connection.ExchangeFor."""
    del headers
    if connection.url[:1] != b"/" or not connection.url.isascii():
        connection.url = _origin_form(connection)
    return AsgiExchange(connection, version)


def _origin_form(connection: Connection) -> bytes:
    """Path and query of a URL with scheme and host, which clients of proxies send, or `*`."""
    try:
        url = httptools.parse_url(connection.url)
    except httptools.HttpParserInvalidURLError as error:
        connection.stop(BadRequest(f"not a valid HTTP/1 request: {error}"))
    if not url.path:
        connection.stop(BadRequest("not a valid HTTP/1 request: the URL has no path"))
    path: bytes = url.path
    return path if url.query is None else path + b"?" + url.query
