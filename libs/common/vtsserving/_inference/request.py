"""One call on its way: the ticket its caller holds, its parts, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from vtsserving._catalog.catalog import CatalogEntry, Method
from vtsserving._inference.retries import MAX_ATTEMPTS
from vtsserving._wire.kinds import Reply
from vtsserving._wire.labels import EntryLabels
from vtsserving._wire.rows import Packed, join_results
from vtsserving.exceptions import (
    BadModelOutput,
    BatcherLost,
    DeadlineExceeded,
    Overloaded,
    VtsServingException,
)

MAX_TIMEOUT_S: Final = 366 * 86400.0
"""Longer timeouts count as this one, so that they fit the wire."""


class Ticket:
    """A call that was submitted; settled when `on_done` is None."""

    __slots__ = (
        "batch_rows",
        "compute_us",
        "deadline_s",
        "entry",
        "labels",
        "method",
        "on_done",
        "parts",
        "queue_us",
        "rest",
        "started_s",
        "waiting",
        "whole",
    )

    def __init__(
        self,
        entry: CatalogEntry,
        method: Method,
        on_done: Callable[[Outcome], None],
        started_s: float,
        timeout_s: float,
        labels: EntryLabels | None = None,
    ) -> None:
        """Create an unsettled ticket without parts; `started_s` is loop time."""
        self.entry = entry
        self.method = method
        self.labels = labels
        self.on_done: Callable[[Outcome], None] | None = on_done
        self.deadline_s = started_s + min(timeout_s, MAX_TIMEOUT_S, method.max_latency_s)
        self.started_s = started_s
        self.parts: list[Part] = []
        self.waiting = 0
        self.whole: Packed | None = None
        self.rest: list[Packed] = []
        self.batch_rows = 0
        self.queue_us = 0
        self.compute_us = 0

    @property
    def sheds(self) -> bool:
        """Whether the method's max_latency_ms is what ends the call, rather than the caller's patience."""
        return self.deadline_s == self.started_s + self.method.max_latency_s

    def late(self) -> VtsServingException:
        """Why a call ends whose time is over: its deadline passed, or the method's max_latency_ms."""
        within = f"{self.deadline_s - self.started_s:.3g} s"
        if self.sheds:
            message = f"{self.entry.tag} is overloaded: no answer within its max_latency_ms, {within}"
            return Overloaded(message, retry_after_s=1.0)
        return DeadlineExceeded(f"no answer within {within}")


class Part:
    """A call, or as many of its rows as one batch may hold."""

    __slots__ = ("answer", "attempt", "batcher", "bounces", "id", "packed", "ticket")

    def __init__(self, id: int, ticket: Ticket, packed: Packed) -> None:
        """Create a part that was not sent."""
        self.id = id
        self.ticket = ticket
        self.packed = packed
        self.attempt = 0
        self.bounces = 0
        self.batcher = ""
        self.answer: Packed | None = None
        ticket.waiting += 1

    def take(self, answer: Packed, reply: Reply, queued_us: int) -> Ticket:
        """Keep the answer, and count what it says into the ticket, which is returned."""
        ticket = self.ticket
        self.answer = answer
        ticket.waiting -= 1
        ticket.queue_us = max(ticket.queue_us, queued_us)
        ticket.compute_us = max(ticket.compute_us, reply.compute_us)
        ticket.batch_rows = max(ticket.batch_rows, reply.batch_rows)
        return ticket

    @property
    def may_retry(self) -> bool:
        """Whether it may be sent once more."""
        return self.attempt + 1 < MAX_ATTEMPTS

    def lost(self) -> BatcherLost:
        """The error of a part whose batchers were lost too often."""
        return BatcherLost("the batcher was lost; try again", retry_after_s=1.0)

    def wrong_rows(self, count: int) -> BadModelOutput:
        """The error of an answer that has other rows than the part."""
        return BadModelOutput(f"the answer has {count} rows for {self.packed.rows}")


class Outcome:
    """How a call ended.

    Attributes:
        error: why it failed; None when it succeeded.
        entry: the model that was called.
        batch_rows: rows of the largest batch that it was part of.
        queue_us: how long it waited in the batcher, microseconds.
        compute_us: how long the model took, microseconds.
    """

    __slots__ = ("_answers", "batch_rows", "compute_us", "entry", "error", "queue_us")

    def __init__(self, ticket: Ticket, error: VtsServingException | None) -> None:
        """The outcome of a settled ticket."""
        self.error = error
        self.entry = ticket.entry
        self.batch_rows = ticket.batch_rows
        self.queue_us = ticket.queue_us
        self.compute_us = ticket.compute_us
        self._answers = [part.answer for part in ticket.parts if part.answer is not None]

    def packed(self) -> list[Packed]:
        """The answers of the parts as they came, in the order of their rows; only when there is no error."""
        return self._answers

    def value(self) -> Any:
        """What the method returned for this call's rows.

        Raises:
            VtsServingException: `error`, if the call failed.
            BadFrame, BadTensor, BadModelOutput: the answer cannot be decoded.
        """
        if self.error is not None:
            raise self.error
        return join_results(self.packed())


def resolver(future: asyncio.Future[Outcome]) -> Callable[[Outcome], None]:
    """A callback that gives an outcome to whoever awaits `future`, if they still do."""

    def resolve(outcome: Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    return resolve
