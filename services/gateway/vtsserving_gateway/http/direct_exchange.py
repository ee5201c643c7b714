"""An exchange that never becomes an ASGI request: the whole body is gathered, then answered without scope or queue."""

from __future__ import annotations

import abc
import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from vtsserving._http.connection import Connection
from vtsserving._http.exchange import INTERNAL
from vtsserving.exceptions import Overloaded, VtsServingException
from vtsserving_gateway.http.respond import connection_line, error_response
from vtsserving_gateway.metrics import MetricSeries
from vtsserving_gateway.state import GatewayState

_log = logging.getLogger(__name__)


class DirectExchange(abc.ABC):
    """What all such exchanges do alike; see vtsserving._http.exchange for when the connection calls what."""

    __slots__ = (
        "_body",
        "_connection",
        "_deadline_s",
        "_expects",
        "_failure",
        "_gateway",
        "_headers",
        "_http_10",
        "_is_turn",
        "_is_whole",
        "_keep_alive",
        "_request_id",
        "_started_s",
        "_task",
        "_url",
    )

    def __init__(
        self,
        connection: Connection,
        gateway: GatewayState,
        headers: Mapping[bytes, bytes],
        *,
        keep_alive: bool,
        http_10: bool,
    ) -> None:
        """A request whose headers were read.

        Args:
            connection: to answer on; has the URL.
            gateway: what all exchanges share.
            headers: lower-case names.
            keep_alive: whether the client wants the connection to stay.
            http_10: whether the client speaks HTTP/1.0.
        """
        self._connection = connection
        self._gateway = gateway
        self._url = connection.url
        self._headers = headers
        self._keep_alive = keep_alive
        self._http_10 = http_10
        self._expects = b"expect" in headers and headers[b"expect"].lower() == b"100-continue" and not http_10
        self._request_id = gateway.request_id(headers.get(b"x-request-id"))
        self._body: bytes | bytearray = b""
        self._is_whole = False
        self._is_turn = False
        self._started_s = 0.0
        self._deadline_s = 0.0
        self._failure: VtsServingException | None = None
        self._task: asyncio.Task[None] | None = None
        gateway.metrics.in_progress += 1

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

    def drain(self) -> None:
        """See Exchange."""
        return  # An answer is written at once, and asks the connection then whether it is the last.

    def holds_body(self) -> bool:
        """See Exchange."""
        return self._expects and not self._is_turn

    def abandon(self) -> None:
        """See Exchange."""
        self._gateway.metrics.cancelled += 1
        self._release()

    # --- what each kind does -------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _run(self) -> None:
        """The request is whole and it is its turn: answer it, now or later."""

    @abc.abstractmethod
    def _error_body(self, error: VtsServingException) -> tuple[int, bytes]:
        """Status and body of a refusal."""

    @abc.abstractmethod
    def _series(self) -> MetricSeries:
        """Where the answer is counted."""

    def _log_fields(self) -> dict[str, Any]:
        """What its line in the access log says beside what all say."""
        return {}

    # --- the answer ----------------------------------------------------------------------------------------------

    def _check(self) -> None:
        """Raise what is known against the request before anything of it is looked at."""
        if self._failure is not None:
            raise self._failure
        gateway = self._gateway
        if gateway.buffered_bytes > gateway.settings.max_buffered_bytes:
            raise Overloaded("too many bytes of requests are being held; try again", retry_after_s=1.0)

    def _duration_s(self) -> float:
        return self._gateway.loop.time() - self._started_s

    def _broken(self, event: str, error: BaseException) -> None:
        _log.error(event, exc_info=error, extra={"request_id": self._request_id.decode("ascii")})
        self._refuse(VtsServingException(INTERNAL))

    def _refuse(self, error: VtsServingException) -> None:
        self._gateway.metrics.errors[error.wire_code] += 1
        keep_alive = self._keep_alive and not self._connection.last
        closing = connection_line(keep_alive, self._http_10)
        status, body = self._error_body(error)
        data = error_response(error, status, body, self._request_id, self._gateway.date, closing)
        self._answer(status, data, keep_alive, self._duration_s())

    def _answer(self, status: int, data: bytes, keep_alive: bool, duration_s: float) -> None:
        self._series().observe(status, duration_s)
        if self._gateway.settings.access_log:
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
        fields = {
            "request_id": self._request_id.decode("ascii"),
            "method": "POST",
            "url": self._url.partition(b"?")[0][:256].decode("ascii", "backslashreplace"),
            **self._log_fields(),
            "status": status,
            "duration_ms": round(duration_s * 1000, 3),
        }
        _log.info("request", extra=fields)
