"""One request and its answer on a connection: what the connection asks of each kind, and the plain refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.http.respond import connection_line, error_response
from vtsserving_gateway.metrics import OTHER

if TYPE_CHECKING:
    from vtsserving_gateway.connection import Connection


class Exchange(Protocol):
    """One request, from its headers to its answer. Called in this order: feed*, complete, and turn at any time."""

    def feed(self, chunk: bytes) -> None:
        """A piece of the body has come."""

    def complete(self) -> None:
        """The request is whole."""

    def turn(self) -> None:
        """All requests before this one are answered; this one may write."""

    def fail(self, error: VtsServingException) -> None:
        """The rest of the request cannot be read: answer with the error and close."""

    def abandon(self) -> None:
        """The connection is gone."""


class Refusal:
    """A request that was not read to the end; answered with an error, then the connection closes."""

    def __init__(self, connection: Connection, error: VtsServingException, request_id: bytes) -> None:
        """Prepare the answer; it is written when it is its turn."""
        self._connection = connection
        self._error = error
        self._request_id = request_id
        self._api = connection.gateway.apis.errors(connection.url)

    def feed(self, chunk: bytes) -> None:
        """Nothing more is read."""

    def complete(self) -> None:
        """Nothing more is read."""

    def turn(self) -> None:
        """Write the error."""
        gateway = self._connection.gateway
        gateway.metrics.errors[self._error.wire_code] += 1
        status, body = self._api.error(self._error, self._request_id.decode("ascii"))
        gateway.metrics.of(*OTHER).observe(status, 0.0)
        closing = connection_line(False, False)
        self._connection.send(
            error_response(self._error, status, body, self._request_id, gateway.date, closing)
        )
        self._connection.finished(self, keep_alive=False)

    def fail(self, error: VtsServingException) -> None:
        """It has failed already."""

    def abandon(self) -> None:
        """There is nothing to stop."""
