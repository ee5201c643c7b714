"""HTTP bytes in: limits for all routes, and the fork between calls of models and everything else. [R1]

A subclass of uvicorn's httptools protocol. Calls of models are answered from here without an ASGI scope or task
(see predict.py); everything else becomes the ASGI request that uvicorn would have made of it.
"""

from __future__ import annotations

import logging
import math
from typing import Final

import httptools

from vtsserving.exceptions import (
    AuthError,
    BadRequest,
    HeadersTooLarge,
    TooLarge,
    UriTooLong,
    VtsServingException,
)
from vtsserving_gateway.asgi_exchange import AsgiExchange
from vtsserving_gateway.connection import BODY, HEADERS, IDLE, REFUSED, Connection
from vtsserving_gateway.exchange import Exchange
from vtsserving_gateway.functions.call import FunctionCall
from vtsserving_gateway.http.respond import INTERNAL
from vtsserving_gateway.predict.predict import LARGE_BYTES, Predict

_log = logging.getLogger(__name__)

PROGRESS_BYTES: Final = 1024
"""A body that grows by less than this within the body timeout makes no progress."""

CHUNK_OVERHEAD: Final = 4
"""Chunked framing of more than this many bytes per byte of body, beyond FREE_OVERHEAD_BYTES, is an attack."""

FREE_OVERHEAD_BYTES: Final = 64 * 1024

LINE_BYTES: Final = 4
"""What a header line has beside name and value."""
_VERSIONS: Final = ("1.1", "1.0")


class GatewayProtocol(Connection):
    """One connection, parsed."""

    # --- bytes in ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below run from here."""
        if self._phase >= REFUSED:
            return
        self._is_new = False
        self._head_bytes += len(data)
        self._read_bytes = len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if self._phase < REFUSED:
                self._refuse(self._refusal_of(error))
            return
        if self._phase is IDLE:
            return
        if self._phase is HEADERS:
            self._await_headers(len(data))
        elif self._phase is BODY:
            self._await_body(len(data))

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # We never switch protocols, so what follows is the next request.
                data = data[upgrade.args[0] :]
                if not data:
                    return

    def _refusal_of(self, error: httptools.HttpParserError) -> VtsServingException:
        """Why the parser stopped: a refusal of ours, the client's fault, or a bug."""
        if self._refusal is not None:
            return self._refusal
        if isinstance(error, httptools.HttpParserCallbackError):
            _log.error("request_failed", exc_info=error.__context__)
            return VtsServingException(INTERNAL)
        return BadRequest(f"not a valid HTTP/1 request: {error}")

    def _await_headers(self, more_bytes: int) -> None:
        """A header block has begun, but not ended."""
        if self._is_new:
            self._raw_bytes = 0
            if not self.flow.held:
                self.deadline_s = self.loop.time() + self._settings.header_timeout_s
            return
        # Counts what the parser keeps to itself: the beginning of a header without its end.
        self._raw_bytes += more_bytes
        if self._raw_bytes > self._settings.max_header_bytes + self._settings.max_url_bytes:
            self._refuse(HeadersTooLarge(self._header_limit()))

    def _await_body(self, more_bytes: int) -> None:
        """A body has begun, but not ended."""
        if self._is_new:
            self._raw_bytes = self._body_bytes
        else:
            self._raw_bytes += more_bytes
            if self._raw_bytes > FREE_OVERHEAD_BYTES + CHUNK_OVERHEAD * self._body_bytes:
                self._refuse(TooLarge("the body comes in too many small chunks"))
                return
        has_progress = self._body_bytes - self._progress_bytes >= PROGRESS_BYTES
        if not self.flow.held and (has_progress or self.deadline_s == math.inf):
            self._progress_bytes = self._body_bytes
            self.deadline_s = self.loop.time() + self._settings.body_timeout_s

    # --- parser callbacks ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        if self._phase >= REFUSED:
            raise ConnectionAbortedError("the connection was closed after the last answer")
        self._is_new = True
        self._phase = HEADERS
        self.url = b""
        self.headers = []
        self._trailer_bytes = 0
        # What precedes this request in the same read counts too; only above the limit is it looked at closely.
        self._head_bytes = self._read_bytes

    def on_url(self, url: bytes) -> None:
        """A piece of the URL."""
        self.url += url
        if len(self.url) > self._settings.max_url_bytes:
            self._stop(UriTooLong(f"the URL is longer than {self._settings.max_url_bytes} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer, which counts and is otherwise ignored."""
        headers = self.headers
        if len(headers) >= self._max_headers:
            self._stop(HeadersTooLarge(self._header_limit()))
        if self._phase is HEADERS:
            headers.append((name.lower(), value))
            return
        self._trailer_bytes += len(name) + len(value) + LINE_BYTES
        if self._trailer_bytes > self._settings.max_header_bytes:
            self._stop(HeadersTooLarge(self._header_limit()))

    def on_headers_complete(self) -> None:
        """All headers are there: decide which kind of exchange this is."""
        if self._head_bytes > self._settings.max_header_bytes:
            self._check_size()
        headers = dict(self.headers)
        version = self.parser.get_http_version()
        is_post = self.parser.get_method() == b"POST"
        has_body = b"content-length" in headers or b"transfer-encoding" in headers
        self._check_head(headers, version, has_body)
        self._phase = BODY
        self._body_bytes = self._raw_bytes = self._progress_bytes = 0
        self.deadline_s = math.inf
        exchange: Exchange
        api = self.gateway.apis.call(self.url) if is_post else None
        if api is not None:
            if has_body and self.gateway.access is not None:
                self._check_caller(headers)
            keep_alive = self.parser.should_keep_alive()
            exchange = Predict(self, api, headers, keep_alive=keep_alive, http_10=version == "1.0")
        elif is_post and (function := self.gateway.function(self.url, headers)) is not None:
            keep_alive = self.parser.should_keep_alive()
            exchange = FunctionCall(self, function, headers, keep_alive=keep_alive, http_10=version == "1.0")
        else:
            exchange = AsgiExchange(self, version)
        self._incoming = exchange
        self._enqueue(exchange)

    def _check_caller(self, headers: dict[bytes, bytes]) -> None:
        """Of a caller that is known to have no valid token, read no large body."""
        assert self.gateway.access is not None
        if int(headers.get(b"content-length", LARGE_BYTES)) >= LARGE_BYTES:
            try:
                self.gateway.access.known(headers)
            except AuthError as error:
                self._stop(error)

    def _check_size(self) -> None:
        size_bytes = sum(len(name) + len(value) + LINE_BYTES for name, value in self.headers)
        if size_bytes > self._settings.max_header_bytes:
            self._stop(HeadersTooLarge(self._header_limit()))

    def _check_head(self, headers: dict[bytes, bytes], version: str, has_body: bool) -> None:
        if version not in _VERSIONS:
            self._stop(BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here"))
        if version == "1.1" and b"host" not in headers:
            self._stop(BadRequest("an HTTP/1.1 request needs a Host header"))
        if has_body:
            length = headers.get(b"content-length")
            if length is not None and int(length) > self._settings.max_body_bytes:
                self._stop(TooLarge(self._body_limit()))
            if self.parser.should_upgrade():
                # The parser would take the body for the next request.
                self._stop(BadRequest("a request to upgrade the protocol may not have a body"))

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._settings.max_body_bytes:
            self._stop(TooLarge(self._body_limit()))
        if self._incoming is not None:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._phase = IDLE
        self.deadline_s = math.inf
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.complete()
            if self._current is None:
                self._rest()

    def _stop(self, error: VtsServingException) -> None:
        """Make the parser stop; an exception is the only way."""
        self._refusal = error
        raise error

    def _header_limit(self) -> str:
        settings = self._settings
        return (
            f"the headers are larger than {settings.max_header_bytes} bytes or {settings.max_headers} lines"
        )

    def _body_limit(self) -> str:
        return f"the body is larger than {self._settings.max_body_bytes} bytes"
