"""What every bus promises: subjects, messages, subscriptions, and how each of them fails.

The bus is at-most-once and stores nothing. A message goes to all subscribers of its subject that exist at
that moment, in the order in which one publisher sent it, or it is lost; nothing is replayed after an outage.
What makes a request reliable (deadline, retry, exactly-once settling) lives in its sender.

Publishing never waits: it hands the bytes over or raises at once. Handlers are plain functions, called on the
event loop with no task in between: one hop per message is a large part of what a small request costs.

Subjects are tokens joined by dots. A subscription may use `*` for one token and, at its end, `>` for one or
more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from vtsserving.exceptions import InvalidArgument

NO_RESPONDERS: Final = b""
"""The payload that says: nobody subscribes to the subject that you published to with a reply subject."""

MAX_SUBJECT_CHARS: Final = 1_024
"""Longest subject; nats-server refuses a control line of more than 4,096 bytes, which holds two of them."""


class Deferred(Protocol):
    """A payload whose bytes are made when somebody needs them; a bus within one process never does."""

    def __bytes__(self) -> bytes: ...

    def __len__(self) -> int: ...


Payload = bytes | Deferred


class Message(NamedTuple):
    """One delivered message.

    Attributes:
        subject: what it was published to, never a pattern.
        payload: its bytes, or within one process what was published in their place; NO_RESPONDERS (empty) when nobody
            listens on the subject of our own publish.
        reply: where the sender expects an answer; empty for none.
    """

    subject: str
    payload: Payload
    reply: str


Handler = Callable[[Message], None]
"""Called for each message, on the event loop. It must not block; what it raises is logged, no more."""

StateCallback = Callable[[bool], None]
"""Called with True when the bus is connected again, with False when it is lost."""


class Subscription(Protocol):
    """The interest of one handler in one subject or pattern."""

    async def drain(self) -> None:
        """Stop, losing nothing: when this returns every message that reached it was handled.

        From now on who publishes with a reply subject is answered with NO_RESPONDERS if nobody else listens.
        """

    async def unsubscribe(self) -> None:
        """Stop at once; messages that are under way are not handled."""


class Bus(Protocol):
    """One connection to the message bus. Whoever made it closes it; those who were given it do not."""

    @property
    def max_payload(self) -> int:
        """Largest payload, in bytes."""

    @property
    def connected(self) -> bool:
        """Whether a publish would be taken now."""

    def publish(self, subject: str, payload: Payload, *, reply: str = "") -> None:
        """Send one message; never waits.

        Args:
            subject: where to; no wildcards.
            payload: 1 to `max_payload` bytes. Not copied: do not change it afterwards.
            reply: where answers go. If nobody subscribes to `subject`, NO_RESPONDERS comes here at once.

        Raises:
            BusUnavailable: there is no connection, or too much waits to be sent already.
            MessageTooLarge: names both sizes.
            ShuttingDown: the bus was drained or closed.
            InvalidArgument: the payload is empty or the subject is malformed.
        """

    async def subscribe(self, subject: str, handler: Handler) -> Subscription:
        """Deliver what is published to `subject` to `handler`; returns when that is in force everywhere.

        The subscription survives reconnects.

        Raises:
            BusUnavailable: there is no connection.
            ShuttingDown: the bus was drained or closed.
            InvalidArgument: the subject is malformed.
            Forbidden: the server does not permit it.
        """

    async def request(self, subject: str, payload: bytes, *, timeout_s: float) -> bytes:
        """Send one message and wait for the first answer.

        Raises:
            NoResponders: nobody listens; known at once, not after the timeout.
            DeadlineExceeded: no answer within `timeout_s` seconds.
            BusUnavailable: no connection, or it was lost while waiting.
            MessageTooLarge: as for publish.
        """

    def on_state(self, callback: StateCallback) -> None:
        """Have `callback` called at each change of `connected` from now on."""

    async def flush(self) -> None:
        """Return when the bus has everything that was published so far.

        Raises:
            BusUnavailable: there is no connection, or it was lost meanwhile.
        """

    async def drain(self) -> None:
        """Drain every subscription, then flush. Handlers may publish until then; afterwards nobody may."""

    async def close(self) -> None:
        """Leave at once; whoever still waits gets ShuttingDown. Does nothing the second time."""


def check_subject(subject: str) -> None:
    """Refuse what a nats-server would read as something else; for subjects to publish to.

    Raises:
        InvalidArgument: empty, too long, or with blanks, control or non-ASCII characters, which could
            smuggle commands into the connection.
    """
    if not is_plain(subject):
        raise InvalidArgument(f"not a subject: {subject[:80]!r}")


def is_plain(subject: str) -> bool:
    """Whether `subject` can be sent as it is: printable ASCII without blanks, not empty, not too long."""
    return (
        0 < len(subject) <= MAX_SUBJECT_CHARS
        and subject.isascii()
        and subject.isprintable()
        and " " not in subject
    )


def check_pattern(pattern: str) -> None:
    """Refuse a malformed subject to subscribe to.

    Raises:
        InvalidArgument: as for check_subject, or with an empty token or a misplaced wildcard.
    """
    check_subject(pattern)
    tokens = pattern.split(".")
    for position, token in enumerate(tokens):
        misplaced = (token != "*" and "*" in token) or (
            ">" in token and (token != ">" or position != len(tokens) - 1)
        )
        if not token or misplaced:
            raise InvalidArgument(f"not a subject: {pattern[:80]!r}")


def matches(pattern: list[str], subject: list[str]) -> bool:
    """Whether the tokens of a pattern match those of a subject.

    Args:
        pattern: tokens; `*` stands for one token, `>` at the end for one or more.
        subject: tokens without wildcards.
    """
    for position, token in enumerate(pattern):
        if token == ">":
            return len(subject) > position
        if position >= len(subject) or (token not in ("*", subject[position])):
            return False
    return len(subject) == len(pattern)
