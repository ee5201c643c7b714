"""The native way to call a model: `/v1/models/...`, a bare result, errors in the one shape."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from vtsserving._codecs.json_strict import Body
from vtsserving._inference.request import Outcome
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.http.respond import ResponseContent, error_body
from vtsserving_gateway.predict.decode import Target
from vtsserving_gateway.predict.forms import JSON, Form, form_of_answer, form_of_body, read_body
from vtsserving_gateway.predict.results import numpy_value
from vtsserving_gateway.predict.routes import Route, parse_route


class NativeCodec:
    """A pair of forms; holds nothing of a request, so one serves many."""

    __slots__ = ("_content_type", "_reads", "_writes")

    timeout_s: Final = None
    target: Final = None

    def __init__(self, reads: Form, writes: Form) -> None:
        """A request in one form, answered in another."""
        self._reads = reads
        self._writes = writes
        self._content_type = b"content-type: %b\r\n" % writes.media_type

    def decode(self, target: Target, body: Body) -> Packed:
        """See Dialect."""
        if self._reads is JSON:
            return target.decode(body)
        return target.decode_value(read_body(self._reads, body))

    def answer(self, outcome: Outcome, route: Route) -> ResponseContent:
        """See Dialect."""
        assert self._writes.write is not None
        return ResponseContent(self._content_type, self._writes.write(numpy_value(outcome)))


_PLAIN: Final = NativeCodec(JSON, JSON)
_codec = lru_cache(maxsize=64)(NativeCodec)


class NativeApi:
    """`/v1/models/{tag}` and `/v1/models/{tag}/{method}`."""

    def route(self, url: bytes) -> Route:
        """See Api."""
        return parse_route(url)

    def codec(self, headers: Mapping[bytes, bytes]) -> NativeCodec:
        """See Api."""
        reads, writes = form_of_body(headers), form_of_answer(headers)
        return _PLAIN if reads is writes is JSON else _codec(reads, writes)

    def error(self, error: VtsServingException, request_id: str) -> tuple[int, bytes]:
        """See Api."""
        return error.status, error_body(error, request_id)


NATIVE: Final = NativeApi()
