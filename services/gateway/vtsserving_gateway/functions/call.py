"""One call of a service's function as an exchange of the connection: no ASGI scope, and for sync functions no task.

What the function sees and what the client gets is the same as by way of ASGI, by which functions that are wrapped in a
middleware are called.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from urllib.parse import unquote

from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from vtsserving._http.asgi import REQUEST_ID
from vtsserving._http.connection import Connection
from vtsserving._inference.remote import DEADLINE_S, LABELS
from vtsserving._inference.timer_wheel import TimerWheel
from vtsserving.exceptions import DeadlineExceeded, VtsServingException
from vtsserving_gateway.functions.functions import BODILESS, FunctionReply, Given, ServedFunction
from vtsserving_gateway.http.direct_exchange import DirectExchange
from vtsserving_gateway.http.respond import connection_line
from vtsserving_gateway.labels import labels_of
from vtsserving_gateway.metrics import MetricSeries
from vtsserving_gateway.predict.native_codec import NATIVE
from vtsserving_gateway.state import GatewayState


class FunctionCall(DirectExchange):
    """An exchange whose answer is made by a function, in a task or in a thread."""

    __slots__ = ("_deadlines", "_function", "_is_settled", "_raw_headers")

    def __init__(
        self,
        connection: Connection,
        gateway: GatewayState,
        function: ServedFunction,
        deadlines: TimerWheel[FunctionCall],
        headers: Mapping[bytes, bytes],
        *,
        keep_alive: bool,
        http_10: bool,
    ) -> None:
        """A request whose headers were read.

        Args:
            connection: to answer on; has the URL and the headers as they came.
            gateway: what all exchanges share.
            function: to call.
            deadlines: expire the call.
            headers: lower-case names.
            keep_alive: whether the client wants the connection to stay.
            http_10: whether the client speaks HTTP/1.0.
        """
        super().__init__(connection, gateway, headers, keep_alive=keep_alive, http_10=http_10)
        self._function = function
        self._deadlines = deadlines
        self._raw_headers = connection.headers
        self._is_settled = False

    # --- the call ------------------------------------------------------------------------------------------------
    # It is not stopped when the client leaves: a function that has begun runs to its end, or to its deadline, for it
    # may have effects.

    def _run(self) -> None:
        gateway = self._gateway
        self._started_s = gateway.loop.time()
        try:
            self._check()
            timeout_s = gateway.timeout_s(self._headers.get(b"x-request-timeout"))
        except VtsServingException as error:
            self._refuse(error)
            return
        self._deadline_s = self._started_s + timeout_s
        self._deadlines.add(self, self._deadline_s)
        headers = self._headers
        given = Given(
            bytes(self._body),
            headers.get(b"content-type", b"").decode("latin-1"),
            headers.get(b"accept", b"").decode("latin-1"),
            headers.get(b"content-encoding", b"").decode("latin-1"),
            self._request,
        )
        if self._function.api.is_async:
            # Among uvicorn's own tasks, which it waits for when it shuts down.
            self._task = gateway.loop.create_task(self._await(given))
            self._connection.tasks.add(self._task)
            self._task.add_done_callback(self._connection.tasks.discard)
        else:
            self._function.threads.submit(functools.partial(self._block, given), self._done)

    async def _await(self, given: Given) -> None:
        DEADLINE_S.set(self._deadline_s)
        LABELS.set(labels_of(self._headers))
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

    def _block(self, given: Given) -> FunctionReply:
        """In a thread."""
        if self._is_settled:
            raise DeadlineExceeded("the deadline passed before a thread was free")
        DEADLINE_S.set(self._deadline_s)
        LABELS.set(labels_of(self._headers))
        return self._function.call(given)

    def expire(self) -> None:
        """The deadline has passed: answer, and let an async function go no further."""
        timeout_s = self._deadline_s - self._started_s
        self._done(None, DeadlineExceeded(f"no answer within {timeout_s:.3g} s"))
        if self._task is not None:
            self._task.cancel()

    def _done(self, reply: FunctionReply | None, error: BaseException | None) -> None:
        if self._is_settled:
            return
        self._is_settled = True
        self._deadlines.discard(self, self._deadline_s)
        if not self._is_turn:
            return  # nobody waits any more
        if reply is not None:
            self._succeed(reply)
        elif isinstance(error, VtsServingException):
            self._refuse(error)
        else:
            assert error is not None
            self._broken("route_failed", error)

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

    def _succeed(self, reply: FunctionReply) -> None:
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
        self._answer(reply.status, data, keep_alive, self._duration_s())

    def _error_body(self, error: VtsServingException) -> tuple[int, bytes]:
        return NATIVE.error(error, self._request_id.decode("ascii"))

    def _series(self) -> MetricSeries:
        return self._function.series
