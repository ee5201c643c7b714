"""One call of a model's method: from a whole request to its answer, by way of R2, R3 and R11."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, Final, TypeVar

from vtsserving._http.connection import Connection
from vtsserving._inference.request import Outcome, Ticket
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import DeadlineExceeded, TooManyRows, VtsServingException
from vtsserving_gateway.http.direct_exchange import DirectExchange
from vtsserving_gateway.http.respond import ResponseContent, connection_line, result_response
from vtsserving_gateway.labels import labels_of
from vtsserving_gateway.metrics import MetricSeries
from vtsserving_gateway.predict.bound_routes import BoundRoute, BoundRoutes
from vtsserving_gateway.predict.codec import Api, Codec
from vtsserving_gateway.state import GatewayState

LARGE_BYTES: Final = 128 * 1024
"""Bodies and results above this are read and written in a thread, so that small requests do not wait for them."""

T = TypeVar("T")


class Predict(DirectExchange):
    """An exchange whose answer comes over the bus: no task, no queue here."""

    __slots__ = ("_api", "_bound", "_codec", "_routes", "_rows", "_ticket")

    def __init__(
        self,
        connection: Connection,
        gateway: GatewayState,
        api: Api,
        routes: BoundRoutes,
        headers: Mapping[bytes, bytes],
        *,
        keep_alive: bool,
        http_10: bool,
    ) -> None:
        """A request whose headers were read.

        Args:
            connection: to answer on; has the URL.
            gateway: what all exchanges share.
            api: the family of the URL.
            routes: know which model the URL means.
            headers: lower-case names.
            keep_alive: whether the client wants the connection to stay.
            http_10: whether the client speaks HTTP/1.0.
        """
        super().__init__(connection, gateway, headers, keep_alive=keep_alive, http_10=http_10)
        self._api = api
        self._routes = routes
        self._rows = 0
        self._codec: Codec
        self._bound: BoundRoute | None = None
        self._ticket: Ticket | None = None

    def abandon(self) -> None:
        """See Exchange."""
        if self._ticket is not None:
            self._gateway.client.abandon(self._ticket)
        if self._task is not None:
            self._task.cancel()
        super().abandon()

    # --- the call ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._started_s = self._gateway.loop.time()
        try:
            self._check()
            access = self._gateway.access
            is_admitted = access is None or access.known(self._headers) is not None
            self._codec = self._api.codec(self._headers)
            self._deadline_s = self._started_s + self._gateway.timeout_s(
                self._headers.get(b"x-request-timeout")
            )
            bound = self._routes.bound(self._url)
            if bound is None or not is_admitted or len(self._body) > LARGE_BYTES:
                self._spawn(self._bind_and_decode(bound, is_admitted))
            else:
                self._bound = bound
                self._submit(bound, self._codec.decode(bound.target, self._body))
        except VtsServingException as error:
            self._refuse(error)
        except Exception as error:
            self._broken("request_not_decoded", error)

    async def _bind_and_decode(self, bound: BoundRoute | None, is_admitted: bool) -> None:
        """The same, where token or model must be looked up first or the body would hold up all other requests."""
        gateway, body = self._gateway, self._body
        if not is_admitted and gateway.access is not None:
            await self._in_time(gateway.access.token(self._headers), "the token was not checked")
        if bound is None:
            bound = await self._in_time(
                self._routes.bind(self._url, self._api.route), "the model was not found"
            )
        self._bound = bound
        if len(body) > LARGE_BYTES:
            decoding = gateway.loop.run_in_executor(gateway.threads, self._codec.decode, bound.target, body)
            packed = await self._in_time(decoding, "the body was not decoded")
        else:
            packed = self._codec.decode(bound.target, body)
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
        if self._codec.target is not None:
            bound = self._bound = self._routes.of_target(bound, self._codec.target)
        self._rows = packed.rows
        if packed.rows > gateway.settings.max_rows:
            raise TooManyRows(
                f"the request has {packed.rows} rows; at most {gateway.settings.max_rows} are allowed"
            )
        timeout_s = max(self._deadline_s - gateway.loop.time(), 0.001)
        wanted_s = self._codec.timeout_s
        if wanted_s is not None:
            timeout_s = min(timeout_s, wanted_s)
        ticket = gateway.client.submit(
            bound.entry,
            bound.target.method,
            packed,
            timeout_s=timeout_s,
            on_done=self._done,
            labels=labels_of(self._headers),
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
            content = self._codec.answer(outcome, self._bound.route)
        except VtsServingException as error:
            self._refuse(error)
        except Exception as error:
            self._broken("result_not_written", error)
        else:
            self._succeed(outcome, self._bound, content)

    async def _write_apart(self, outcome: Outcome, bound: BoundRoute) -> None:
        """Write a result that would hold up all other requests."""
        gateway = self._gateway
        writing = gateway.loop.run_in_executor(gateway.threads, self._codec.answer, outcome, bound.route)
        self._succeed(outcome, bound, await self._in_time(writing, "the result was not written"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._gateway.loop.create_task(self._guard(work))

    async def _guard(self, work: Coroutine[Any, Any, None]) -> None:
        """Whatever becomes of a step that was put off, the client gets an answer."""
        try:
            await work
        except VtsServingException as error:
            self._refuse(error)
        except Exception as error:
            self._broken("request_failed", error)

    # --- the answer ----------------------------------------------------------------------------------------------

    def _succeed(self, outcome: Outcome, bound: BoundRoute, content: ResponseContent) -> None:
        keep_alive = self._keep_alive and not self._connection.last
        connection = connection_line(keep_alive, self._http_10)
        data = result_response(content, outcome, self._request_id, self._gateway.date, connection)
        duration_s = self._duration_s()
        bound.statistics.succeeded(
            self._rows,
            outcome.batch_rows,
            queue_us=outcome.queue_us,
            compute_us=outcome.compute_us,
            duration_s=duration_s,
        )
        self._answer(200, data, keep_alive, duration_s)

    def _error_body(self, error: VtsServingException) -> tuple[int, bytes]:
        if self._bound is not None:
            self._bound.statistics.failed(self._duration_s())
        return self._api.error(error, self._request_id.decode("ascii"))

    def _series(self) -> MetricSeries:
        return self._gateway.unrouted if self._bound is None else self._bound.series

    def _log_fields(self) -> dict[str, Any]:
        return {"model": self._bound.entry.tag if self._bound else ""}
