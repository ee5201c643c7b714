"""One request and its answer on a connection: what the connection asks of each kind, and the plain refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from vtsserving.exceptions import VtsServingException

INTERNAL: Final = "internal error; the server's log has it under this request id"
"""The message of an answer to a request that failed for a reason that is not for the client."""


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

    def drain(self) -> None:
        """It is this one's turn and the last: answer with `connection: close`, if the answer has not begun."""

    def abandon(self) -> None:
        """The connection is gone."""

    def holds_body(self) -> bool:
        """Whether the client rightly sends no more of the body for now, since it waits for `100 Continue`."""


class Writer(Protocol):
    """A connection, as far as an answer needs it."""

    def send(self, data: bytes) -> None:
        """Write bytes, unless the connection is closing."""

    def finished(self, exchange: Exchange, *, keep_alive: bool) -> None:
        """Called by an exchange whose answer is written; closes the connection unless it is to be kept."""


class Refusal:
    """A request that was not read to the end; answered with an error, then the connection closes."""

    def __init__(self, writer: Writer, answer: Callable[[], bytes]) -> None:
        """Prepare the answer.

        Args:
            writer: to answer on.
            answer: makes the whole response; called when it is its turn.
        """
        self._writer = writer
        self._answer = answer

    def feed(self, chunk: bytes) -> None:
        """Nothing more is read."""

    def complete(self) -> None:
        """Nothing more is read."""

    def turn(self) -> None:
        """Write the error."""
        self._writer.send(self._answer())
        self._writer.finished(self, keep_alive=False)

    def fail(self, error: VtsServingException) -> None:
        """It has failed already."""

    def drain(self) -> None:
        """It closes the connection anyway."""

    def abandon(self) -> None:
        """There is nothing to stop."""

    def holds_body(self) -> bool:
        """Nothing more is read."""
        return False
