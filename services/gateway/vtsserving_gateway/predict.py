"""One call of a model's method: from a whole request to its answer, by way of R2, R3 and R11."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from vtsserving.exceptions import (
    DeadlineExceeded,
    Overloaded,
    TooManyRows,
    VtsServingException,
)
from vtsserving.inference.request import Outcome, Ticket
from vtsserving.wire.rows import Packed
from vtsserving_gateway.dialect import Api, Content, Dialect
from vtsserving_gateway.gateway import BoundRoute
from vtsserving_gateway.respond import INTERNAL, connection_line, error_response, result_response

if TYPE_CHECKING:
    from vtsserving_gateway.connection import Connection

_log = logging.getLogger(__name__)

LARGE_BYTES: Final = 128 * 1024
"""Bodies and results above this are read and written in a thread, so that small requests do not wait for them."""

T = TypeVar("T")


class Predict:
    """An exchange that never becomes an ASGI request: no scope, no task, no queue."""

    __slots__ = (
        "_api",
        "_body",
        "_bound",
        "_connection",
        "_deadline_s",
        "_dialect",
        "_expects",
        "_failure",
        "_gateway",
        "_headers",
        "_http_10",
        "_is_turn",
        "_is_whole",
        "_keep_alive",
        "_request_id",
        "_rows",
        "_started_s",
        "_task",
        "_ticket",
        "_url",
    )

    def __init__(
        self,
        connection: Connection,
        api: Api,
        url: bytes,
        headers: Mapping[bytes, bytes],
        *,
        keep_alive: bool,
        http_10: bool,
    ) -> None:
        """A request whose headers were read.

        Args:
            connection: to answer on.
            api: the family of the URL.
            url: as it stands in the request line.
            headers: lower-case names.
            keep_alive: whether the client wants the connection to stay.
            http_10: whether the client speaks HTTP/1.0.
        """
        self._connection = connection
        self._gateway = connection.gateway
        self._api = api
        self._url = url
        self._headers = headers
        self._keep_alive = keep_alive
        self._http_10 = http_10
        self._expects = b"expect" in headers and headers[b"expect"].lower() == b"100-continue" and not http_10
        self._request_id = self._gateway.request_id(headers.get(b"x-request-id"))
        self._body: bytes | bytearray = b""
        self._rows = 0
        self._is_whole = False
        self._is_turn = False
        self._started_s = 0.0
        self._deadline_s = 0.0
        self._failure: VtsServingException | None = None
        self._dialect: Dialect
        self._bound: BoundRoute | None = None
        self._ticket: Ticket | None = None
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
        elif self._expects:
            self._connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def fail(self, error: VtsServingException) -> None:
        """See Exchange."""
        self._failure = error
        self._keep_alive = False
        self.complete()

    def abandon(self) -> None:
        """See Exchange."""
        if self._ticket is not None:
            self._gateway.client.abandon(self._ticket)
        if self._task is not None:
            self._task.cancel()
        self._gateway.metrics.cancelled += 1
        self._release()

    # --- the call ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._started_s = self._gateway.loop.time()
        try:
            if self._failure is not None:
                raise self._failure
            self._check_memory()
            access = self._gateway.access
            is_admitted = access is None or access.known(self._headers) is not None
            self._dialect = self._api.dialect(self._headers)
            self._deadline_s = self._started_s + self._gateway.timeout_s(
                self._headers.get(b"x-request-timeout")
            )
            bound = self._gateway.bound(self._url)
            if bound is None or not is_admitted or len(self._body) > LARGE_BYTES:
                self._spawn(self._bind_and_decode(bound, is_admitted))
            else:
                self._bound = bound
                self._submit(bound, self._dialect.decode(bound.target, self._body))
        except VtsServingException as error:
            self._refuse(error)
        except Exception:
            self._broken("a request could not be decoded")

    def _check_memory(self) -> None:
        if self._gateway.buffered_bytes > self._gateway.settings.max_buffered_bytes:
            raise Overloaded("too many bytes of requests are being held; try again", retry_after_s=1.0)

    async def _bind_and_decode(self, bound: BoundRoute | None, is_admitted: bool) -> None:
        """The same, where token or model must be looked up first or the body would hold up all other requests."""
        gateway, body = self._gateway, self._body
        if not is_admitted and gateway.access is not None:
            await self._in_time(gateway.access.token(self._headers), "the token was not checked")
        if bound is None:
            bound = await self._in_time(gateway.bind(self._url, self._api.route), "the model was not found")
        self._bound = bound
        if len(body) > LARGE_BYTES:
            decoding = gateway.loop.run_in_executor(gateway.threads, self._dialect.decode, bound.target, body)
            packed = await self._in_time(decoding, "the body was not decoded")
        else:
            packed = self._dialect.decode(bound.target, body)
        self._submit(bound, packed)

    async def _in_time(self, work: Awaitable[T], complaint: str) -> T:
        """Wait for a step until the deadline."""
        try:
            return await asyncio.wait_for(work, max(self._deadline_s - self._gateway.loop.time(), 0))
        except asyncio.TimeoutError:
            timeout_s = self._deadline_s - self._started_s
            raise DeadlineExceeded(f"{complaint} within {timeout_s:.3g} s") from None

    def _submit(self, bound: BoundRoute, packed: Packed) -> None:
        gateway = self._gateway
        self._rows = packed.rows
        if packed.rows > gateway.settings.max_rows:
            raise TooManyRows(
                f"the request has {packed.rows} rows; at most {gateway.settings.max_rows} are allowed"
            )
        timeout_s = max(self._deadline_s - gateway.loop.time(), 0.001)
        wanted_s = self._dialect.timeout_s
        if wanted_s is not None:
            timeout_s = min(timeout_s, wanted_s)
        ticket = gateway.client.submit(
            bound.entry, bound.target.method, packed, timeout_s=timeout_s, on_done=self._done
        )
        if self._is_turn:
            self._ticket = ticket

    def _done(self, outcome: Outcome) -> None:
        self._ticket = None
        try:
            if outcome.error is not None:
                self._refuse(outcome.error)
                return
            assert self._bound is not None
            if sum([len(part.body) for part in outcome.packed()]) > LARGE_BYTES:
                self._spawn(self._write_apart(outcome, self._bound))
                return
            content = self._dialect.answer(outcome, self._bound.route)
        except VtsServingException as error:
            self._refuse(error)
        except Exception:
            self._broken("a result could not be written")
        else:
            self._succeed(outcome, self._bound, content)

    async def _write_apart(self, outcome: Outcome, bound: BoundRoute) -> None:
        """Write a result that would hold up all other requests."""
        gateway = self._gateway
        writing = gateway.loop.run_in_executor(gateway.threads, self._dialect.answer, outcome, bound.route)
        self._succeed(outcome, bound, await self._in_time(writing, "the result was not written"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._gateway.loop.create_task(self._guard(work))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever becomes of a step that was put off, the client gets an answer."""
        try:
            await work
        except VtsServingException as error:
            self._refuse(error)
        except Exception:
            self._broken("a request could not be handled")

    # --- the answer ----------------------------------------------------------------------------------------------

    def _succeed(self, outcome: Outcome, bound: BoundRoute, content: Content) -> None:
        keep_alive = self._keep_alive and not self._connection.last
        connection = connection_line(keep_alive, self._http_10)
        data = result_response(content, outcome, self._request_id, self._gateway.date, connection)
        duration_s = self._gateway.loop.time() - self._started_s
        bound.statistics.succeeded(
            self._rows,
            outcome.batch_rows,
            queue_us=outcome.queue_us,
            compute_us=outcome.compute_us,
            duration_s=duration_s,
        )
        self._answer(200, data, keep_alive, duration_s)

    def _broken(self, event: str) -> None:
        _log.exception(event, extra={"request_id": self._request_id.decode("ascii")})
        self._refuse(VtsServingException(INTERNAL))

    def _refuse(self, error: VtsServingException) -> None:
        self._gateway.metrics.errors[error.wire_code] += 1
        keep_alive = self._keep_alive and not self._connection.last
        connection = connection_line(keep_alive, self._http_10)
        duration_s = self._gateway.loop.time() - self._started_s
        if self._bound is not None:
            self._bound.statistics.failed(duration_s)
        status, body = self._api.error(error, self._request_id.decode("ascii"))
        data = error_response(error, status, body, self._request_id, self._gateway.date, connection)
        self._answer(status, data, keep_alive, duration_s)

    def _answer(self, status: int, data: bytes, keep_alive: bool, duration_s: float) -> None:
        gateway = self._gateway
        series = gateway.unrouted if self._bound is None else self._bound.series
        series.observe(status, duration_s)
        if gateway.settings.access_log:
            self._log_access(status, duration_s)
        connection = self._connection
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
                "model": self._bound.entry.tag if self._bound else "",
                "status": status,
                "duration_ms": round(duration_s * 1000, 3),
            },
        )
