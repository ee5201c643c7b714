"""One function of a service: reads its input, calls it, writes its output; knows nothing of how the request came in."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from vtsserving._http.asgi import REQUEST_ID
from vtsserving.exceptions import (
    BadModelOutput,
    MethodNotFound,
    RunnerNotInitialized,
    UnsupportedMediaType,
    VtsServingException,
)
from vtsserving.io.base import Body, parse_content_type
from vtsserving.io.form_parts import read_body
from vtsserving.service.context import Context, RequestContext
from vtsserving.service.service import InferenceApi
from vtsserving_gateway.functions.threads import FunctionThreads
from vtsserving_gateway.predict.predict import LARGE_BYTES
from vtsserving_gateway.state import GatewayState

Headers = list[tuple[bytes, bytes]]

_LINE_BREAKS: Final = re.compile(rb"[\r\n\0]")
_OWN: Final = (b"content-length", b"x-request-id")
BODILESS: Final = (204, 304)
"""Statuses of answers without a body."""


class FunctionReply(NamedTuple):
    """What a function answers.

    Attributes:
        status: HTTP status.
        headers: without content-length and request id.
        body: whole.
    """

    status: int
    headers: Headers
    body: bytes


class Given(NamedTuple):
    """What a function is called with.

    Attributes:
        data: the request's body.
        content_type: its header; empty if there is none.
        accept: the header; empty if there is none.
        encoding: the header Content-Encoding; empty if there is none.
        request: makes the request for functions that want to see it.
    """

    data: bytes
    content_type: str
    accept: str
    encoding: str
    request: Callable[[], Request]


class ServedFunction:
    """One API in one gateway.

    Attributes:
        api: what is served.
        threads: for sync functions.
        series: where its calls are counted.
    """

    def __init__(self, api: InferenceApi, gateway: GatewayState, threads: FunctionThreads) -> None:
        """Serve `api`; its function runs in `threads` unless it is async."""
        self.api = api
        self.threads = threads
        self.series = gateway.metrics.of(api.route)
        self._gateway = gateway

    def call(self, given: Given) -> FunctionReply:
        """Answer with a sync function, in a thread of its own.

        Raises:
            BadInput: of its many kinds. BadModelOutput: the function returned something else than it should.
            Exception: whatever the function raises.
        """
        context = self._context(given)
        args, kwargs = self.api.arguments(self._read(given), context)
        with _mistakes():
            result = self.api.function(*args, **kwargs)
        return self._written(result, given, context)

    async def answer(self, given: Given) -> FunctionReply:
        """Answer on the event loop, or in a thread for a sync function; raises as `call`."""
        api, gateway = self.api, self._gateway
        if not api.is_async:
            reply: FunctionReply = await self.threads.run(functools.partial(self.call, given))
            return reply
        context = self._context(given)
        if len(given.data) > LARGE_BYTES:
            value = await gateway.loop.run_in_executor(gateway.threads, self._read, given)
        else:
            value = self._read(given)
        args, kwargs = api.arguments(value, context)
        with _mistakes():
            result = await api.function(*args, **kwargs)
        if getattr(result, "nbytes", 0) > LARGE_BYTES:
            return await gateway.loop.run_in_executor(gateway.threads, self._written, result, given, context)
        return self._written(result, given, context)

    def _context(self, given: Given) -> Context | None:
        return Context(_request_context(given.request())) if self.api.context_name else None

    def _read(self, given: Given) -> Any:
        if self.api.input is None:
            return None
        # Else a function that takes files or text would be given the compressed bytes as if they were the value.
        if given.encoding.strip().lower() not in ("", "identity"):
            raise UnsupportedMediaType("send the body as it is, without Content-Encoding")
        media_type, boundary = parse_content_type(given.content_type)
        return read_body(self.api.input, Body(given.data, media_type, "", boundary))

    def _written(self, result: Any, given: Given, context: Context | None) -> FunctionReply:
        try:
            content = self.api.output.write_as(result, given.accept)
        except BadModelOutput as error:
            raise BadModelOutput(
                f"what {self.api.name} returned is not its output: {error.message}"
            ) from error
        if context is None:
            return FunctionReply(200, [(b"content-type", content.media_type.encode("latin-1"))], content.data)
        return _reply(content.data, content.media_type, context)


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    """Turn what only the function's author can mend into an error of the server: callers would look in vain."""
    try:
        yield
    except VtsServingException as error:
        if error.by_author or isinstance(error, MethodNotFound | RunnerNotInitialized):
            raise RuntimeError(f"the function called a runner wrongly: {error.message}") from error
        raise


def _request_context(request: Request) -> RequestContext:
    return RequestContext(
        request.headers,
        request.cookies,
        request.query_params,
        request.method,
        request.url.path,
        request.scope.get(REQUEST_ID, ""),
    )


def _reply(data: bytes, media_type: str, context: Context) -> FunctionReply:
    """A reply with what the function added to it.

    Raises:
        BadModelOutput: a header holds a line break, which would begin another header.
    """
    status = context.response.status_code
    response = Response(status_code=status, headers=dict(context.response.headers))
    response.headers.setdefault("content-type", media_type)
    for cookie in context.response.cookies:
        response.set_cookie(
            cookie.key,
            cookie.value,
            max_age=cookie.max_age_s,
            path=cookie.path,
            domain=cookie.domain,
            secure=cookie.secure,
            httponly=cookie.http_only,
            samesite=cookie.same_site,
        )
    headers = [(name, value) for name, value in response.raw_headers if name.lower() not in _OWN]
    if any(_LINE_BREAKS.search(name + value) for name, value in headers):
        raise BadModelOutput("the function set a response header with a line break in it")
    return FunctionReply(status, headers, b"" if status in BODILESS else data)
