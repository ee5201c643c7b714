"""One call of a service's function as an exchange of the connection: no ASGI scope, and for sync functions no task.

What the function sees and what the client gets is the same as by way of ASGI, by which functions that are wrapped in a
middleware are called.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from vtsserving.exceptions import DeadlineExceeded, Overloaded, VtsServingException
from vtsserving.inference.remote import DEADLINE_S
from vtsserving_gateway.asgi_exchange import REQUEST_ID
from vtsserving_gateway.functions import BODILESS, Given, Reply, ServedFunction
from vtsserving_gateway.native import NATIVE
from vtsserving_gateway.respond import INTERNAL, connection_line, error_response

if TYPE_CHECKING:
    from vtsserving_gateway.connection import Connection

_log = logging.getLogger(__name__)


class FunctionCall:
    """An exchange; see exchange.Exchange for when each method is called."""

    __slots__ = (
        "_body",
        "_connection",
        "_deadline_s",
        "_failure",
        "_function",
        "_gateway",
        "_headers",
        "_http_10",
        "_is_settled",
        "_is_turn",
        "_is_whole",
        "_keep_alive",
        "_raw_headers",
        "_request_id",
        "_started_s",
        "_task",
        "_url",
    )

    def __init__(
        self,
        connection: Connection,
        function: ServedFunction,
        headers: Mapping[bytes, bytes],
        *,
        keep_alive: bool,
        http_10: bool,
    ) -> None:
        """A request whose headers were read.

        Args:
            connection: to answer on; has the URL and the headers as they came.
            function: to call.
            headers: lower-case names.
            keep_alive: whether the client wants the connection to stay.
            http_10: whether the client speaks HTTP/1.0.
        """
        self._connection = connection
        self._gateway = connection.gateway
        self._function = function
        self._url = connection.url
        self._headers = headers
        self._raw_headers = connection.headers
        self._keep_alive = keep_alive
        self._http_10 = http_10
        self._request_id = self._gateway.request_id(headers.get(b"x-request-id"))
        self._body: bytes | bytearray = b""
        self._is_whole = self._is_turn = self._is_settled = False
        self._started_s = self._deadline_s = 0.0
        self._failure: VtsServingException | None = None
        self._task: asyncio.Task[None] | None = None
        self._gateway.metrics.in_progress += 1

    # --- from the connection -------------------------------------------------------------------------------------

    def feed(self, chunk: bytes) -> None:
        """See Exchange."""
        self._gateway.buffered_bytes += len(chunk)
        if not self._body:
            self._body = chunk
            return
        if type(self._body) is bytes:
            self._body = bytearray(self._body)
        self._body += chunk

    def complete(self) -> None:
        """See Exchange."""
        self._is_whole = True
        if self._is_turn:
            self._run()

    def turn(self) -> None:
        """See Exchange."""
        self._is_turn = True
        if self._is_whole:
            self._run()
        elif self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._http_10:
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def fail(self, error: VtsServingException) -> None:
        """See Exchange."""
        self._failure = error
        self._keep_alive = False
        self.complete()

    def abandon(self) -> None:
        """See Exchange; a function that has begun runs to its end, or to its deadline, for it may have effects."""
        self._gateway.metrics.cancelled += 1
        self._release()

    # --- the call ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        gateway = self._gateway
        self._started_s = gateway.loop.time()
        try:
            if self._failure is not None:
                raise self._failure
            if gateway.buffered_bytes > gateway.settings.max_buffered_bytes:
                raise Overloaded("too many bytes of requests are being held; try again", retry_after_s=1.0)
            timeout_s = gateway.timeout_s(self._headers.get(b"x-request-timeout"))
        except VtsServingException as error:
            self._refuse(error)
            return
        self._deadline_s = self._started_s + timeout_s
        gateway.function_deadlines.add(self, self._deadline_s)
        headers = self._headers
        given = Given(
            bytes(self._body),
            headers.get(b"content-type", b"").decode("latin-1"),
            headers.get(b"accept", b"").decode("latin-1"),
            self._request,
        )
        if self._function.api.is_async:
            # Among uvicorn's own tasks, which it waits for when it shuts down.
            self._task = gateway.loop.create_task(self._await(given))
            self._connection.tasks.add(self._task)
            self._task.add_done_callback(self._connection.tasks.discard)
        else:
            gateway.function_threads.submit(functools.partial(self._block, given), self._done)

    async def _await(self, given: Given) -> None:
        DEADLINE_S.set(self._deadline_s)
        try:
            reply = await self._function.answer(given)
        except asyncio.CancelledError as error:
            self._done(None, error)
            raise
        except BaseException as error:
            # Even sys.exit in a function may only end its request.
            self._done(None, error)
        else:
            self._done(reply, None)

    def _block(self, given: Given) -> Reply:
        """In a thread."""
        if self._is_settled:
            raise DeadlineExceeded("the deadline passed before a thread was free")
        DEADLINE_S.set(self._deadline_s)
        return self._function.call(given)

    def expire(self) -> None:
        """The deadline has passed: answer, and let an async function go no further."""
        timeout_s = self._deadline_s - self._started_s
        self._done(None, DeadlineExceeded(f"no answer within {timeout_s:.3g} s"))
        if self._task is not None:
            self._task.cancel()

    def _done(self, reply: Reply | None, error: BaseException | None) -> None:
        if self._is_settled:
            return
        self._is_settled = True
        self._gateway.function_deadlines.discard(self, self._deadline_s)
        if not self._is_turn:
            return  # nobody waits any more
        if reply is not None:
            self._succeed(reply)
        elif isinstance(error, VtsServingException):
            self._refuse(error)
        else:
            fields = {"request_id": self._request_id.decode("ascii")}
            _log.error("a route failed", exc_info=error, extra=fields)
            self._refuse(VtsServingException(INTERNAL))

    def _request(self) -> Request:
        path, _, query = self._url.partition(b"?")
        scope = {
            "type": "http",
            "method": "POST",
            "path": unquote(path.decode("ascii", "replace")),
            "raw_path": path,
            "query_string": query,
            "headers": self._raw_headers,
            "http_version": "1.0" if self._http_10 else "1.1",
            "server": self._connection.server,
            "client": self._connection.client,
            "scheme": self._connection.scheme,
            "root_path": self._connection.root_path,
            REQUEST_ID: self._request_id.decode("ascii"),
        }
        return Request(scope)

    # --- the answer ----------------------------------------------------------------------------------------------

    def _succeed(self, reply: Reply) -> None:
        first = STATUS_LINE.get(reply.status)
        if first is None:
            self._is_settled = False
            self._done(None, ValueError(f"{reply.status!r} is no HTTP status"))
            return
        keep_alive = self._keep_alive and not self._connection.last
        length = b"" if reply.status in BODILESS else b"content-length: %d\r\n" % len(reply.body)
        data = b"%b%b%bx-request-id: %b\r\n%b%b\r\n%b" % (
            first,
            self._gateway.date,
            b"".join([b"%b: %b\r\n" % pair for pair in reply.headers]),
            self._request_id,
            connection_line(keep_alive, self._http_10),
            length,
            reply.body,
        )
        self._answer(reply.status, data, keep_alive)

    def _refuse(self, error: VtsServingException) -> None:
        self._gateway.metrics.errors[error.wire_code] += 1
        keep_alive = self._keep_alive and not self._connection.last
        status, body = NATIVE.error(error, self._request_id.decode("ascii"))
        closing = connection_line(keep_alive, self._http_10)
        data = error_response(error, status, body, self._request_id, self._gateway.date, closing)
        self._answer(status, data, keep_alive)

    def _answer(self, status: int, data: bytes, keep_alive: bool) -> None:
        gateway, connection = self._gateway, self._connection
        duration_s = gateway.loop.time() - self._started_s
        self._function.series.observe(status, duration_s)
        if gateway.settings.access_log:
            self._log_access(status, duration_s)
        connection.send(data)
        self._release()
        connection.finished(self, keep_alive=keep_alive)

    def _release(self) -> None:
        self._is_turn = False
        self._gateway.metrics.in_progress -= 1
        self._gateway.buffered_bytes -= len(self._body)
        self._body = b""

    def _log_access(self, status: int, duration_s: float) -> None:
        _log.info(
            "request",
            extra={
                "request_id": self._request_id.decode("ascii"),
                "method": "POST",
                "url": self._url.partition(b"?")[0][:256].decode("ascii", "backslashreplace"),
                "status": status,
                "duration_ms": round(duration_s * 1000, 3),
            },
        )
