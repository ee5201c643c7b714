"""HTTP bytes in: limits for all requests, and the exchange of each.

A subclass of uvicorn's httptools protocol. The owner makes the exchanges, so that it can answer from here without an
ASGI scope or task.
"""

from __future__ import annotations

import logging
import math
from typing import Final

import httptools

from vtsserving._http.connection import BODY, HEADERS, IDLE, REFUSED, Connection
from vtsserving._http.exchange import INTERNAL
from vtsserving._http.h2c_offer import head_without_offer, offers_h2c
from vtsserving._http.limits import CHUNK_OVERHEAD, LINE_BYTES, PROGRESS_BYTES
from vtsserving.exceptions import BadRequest, HeadersTooLarge, TooLarge, UriTooLong, VtsServingException

_log = logging.getLogger(__name__)

_VERSIONS: Final = ("1.1", "1.0")


class HttpProtocol(Connection):
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
                if self._has_offer:
                    data = self._drop_offer() + data
                elif not data:
                    return

    def _drop_offer(self) -> bytes:
        """Begin the request that was read anew; returns its header block."""
        self._has_offer = False
        former = self.parser
        head = head_without_offer(former.get_method(), self.url, former.get_http_version(), self.headers)
        # The former one reads nothing more where this is the connection's last request.
        self.parser = httptools.HttpRequestParser(self)
        if hasattr(self.parser, "set_dangerous_leniencies"):  # as uvicorn's; httptools 0.6.2 has none
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return head

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
            if not (self.flow.held or self._is_first):
                self.deadline_s = self.loop.time() + self._limits.header_timeout_s
            return
        # Counts what the parser keeps to itself: the beginning of a header without its end.
        self._raw_bytes += more_bytes
        if self._raw_bytes > self._max_header_bytes + (self._limits.max_url_bytes or 0):
            self._refuse(HeadersTooLarge(self._header_limit()))

    def _await_body(self, more_bytes: int) -> None:
        """A body has begun, but not ended."""
        if self._is_new:
            self._raw_bytes = self._body_bytes
        else:
            self._raw_bytes += more_bytes
            if self._raw_bytes > self._limits.max_overhead_bytes + CHUNK_OVERHEAD * self._body_bytes:
                self._refuse(TooLarge("the body comes in too many small chunks"))
                return
        has_progress = self._body_bytes - self._progress_bytes >= PROGRESS_BYTES
        if self.flow.write_paused:
            self._await_writing()
        elif not self.flow.held and (has_progress or self.deadline_s == math.inf):
            self._progress_bytes = self._body_bytes
            self.deadline_s = self.loop.time() + self._limits.body_timeout_s

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
        if len(self.url) > self._max_url_bytes:
            if self._limits.max_url_bytes is None:
                self.stop(HeadersTooLarge(self._header_limit()))
            self.stop(UriTooLong(f"the URL is longer than {self._max_url_bytes} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header line, or a trailer, which counts and is otherwise ignored."""
        headers = self.headers
        if len(headers) >= self._max_headers:
            self.stop(HeadersTooLarge(self._header_limit()))
        if self._phase is HEADERS:
            headers.append((name.lower(), value))
            return
        if self._limits.max_url_bytes is not None:
            self._trailer_bytes += len(name) + len(value) + LINE_BYTES
        else:
            self._trailer_bytes = (self._trailer_bytes or self._block_bytes()) + len(name) + len(value)
        if self._trailer_bytes > self._max_header_bytes:
            self.stop(HeadersTooLarge(self._header_limit()))

    def on_headers_complete(self) -> None:
        """All headers are there: the owner decides which kind of exchange this is."""
        if self._head_bytes > self._max_header_bytes and self._block_bytes() > self._max_header_bytes:
            self.stop(HeadersTooLarge(self._header_limit()))
        headers = dict(self.headers)
        if b"upgrade" in headers and self.parser.should_upgrade() and offers_h2c(self.headers):
            # The parser stops after this block; `_parse` feeds it again.
            self._has_offer = True
            return
        version = self.parser.get_http_version()
        self._check_head(headers, version)
        self._phase = BODY
        self._is_first = False
        self._body_bytes = self._raw_bytes = self._progress_bytes = 0
        self.deadline_s = math.inf
        exchange = self._incoming = self._exchange_for(self, headers, version)
        self._enqueue(exchange)

    def _block_bytes(self) -> int:
        """The size of the header block that has been read, as the limits count it."""
        if self._limits.max_url_bytes is None:
            return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        return sum(len(name) + len(value) + LINE_BYTES for name, value in self.headers)

    def _check_head(self, headers: dict[bytes, bytes], version: str) -> None:
        if version not in _VERSIONS and self._limits.is_strict:
            self.stop(BadRequest("only HTTP/1.1 and HTTP/1.0 are spoken here"))
        if b"host" not in headers and version == "1.1" and self._limits.is_strict:
            self.stop(BadRequest("an HTTP/1.1 request needs a Host header"))
        length = headers.get(b"content-length")
        if length is not None:
            if int(length) > self._max_body_bytes:
                self.stop(TooLarge(self._body_limit()))
        elif b"transfer-encoding" not in headers:
            return
        if self.parser.should_upgrade():
            # The parser would take the body for the next request.
            self.stop(BadRequest("a request to upgrade the protocol may not have a body"))

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self.stop(TooLarge(self._body_limit()))
        if self._incoming is not None:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._has_offer:
            return
        self._phase = IDLE
        self.deadline_s = math.inf
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.complete()
            if self._current is None:
                self._rest()

    def _header_limit(self) -> str:
        limits = self._limits
        if limits.max_url_bytes is None:
            return f"URL and headers are larger than {limits.max_header_bytes} bytes"
        return f"the headers are larger than {limits.max_header_bytes} bytes or {limits.max_headers} lines"

    def _body_limit(self) -> str:
        return f"the body is larger than {self._max_body_bytes} bytes"
