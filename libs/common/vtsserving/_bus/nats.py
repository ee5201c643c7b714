"""The bus of the distributed mode, over a nats-server.

nats-py makes and keeps the connection, on a socket of ours (nats_socket). It is not given the messages: our parser
(nats_parser) handles each inside the read that completes it, and a publish costs no task. All commands leave through
one ordered buffer; with nats-py's own, the PING of a flush overtakes what was published before it. Decision 0021 has
the figures.

Nothing outlives a connection: what was not written when it broke is dropped, and only subscriptions are renewed.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from itertools import count
from secrets import token_hex
from typing import Final

from vtsserving._bus.interface import Handler, Payload, StateCallback, check_pattern, check_subject, is_plain
from vtsserving._bus.nats_connection import FatalCallback, NatsConnection
from vtsserving._bus.requests import Requests
from vtsserving.exceptions import (
    BusUnavailable,
    Forbidden,
    InvalidArgument,
    MessageTooLarge,
    ShuttingDown,
)

_log = logging.getLogger(__name__)

SEND_BUFFER_BYTES: Final = 64 * 1024 * 1024
"""Most bytes that wait for the network before a publish is refused."""


class NatsBus:
    """Implements Bus over one connection to a nats-server. Use it from one event loop only."""

    def __init__(
        self, *, on_fatal: FatalCallback | None = None, send_buffer_bytes: int = SEND_BUFFER_BYTES
    ) -> None:
        """Create it unconnected; `NatsBus.connect` connects it, too."""
        self._connection = NatsConnection(
            commands=self._renewals,
            on_state=self._tell,
            on_fatal=on_fatal,
            send_buffer_bytes=send_buffer_bytes,
        )
        self._socket = self._connection.socket
        self._ended = False
        self._numbers = count(1)
        self._subscriptions: dict[bytes, _Subscription] = {}
        self._callbacks: list[StateCallback] = []
        self._requests = Requests(self, f"_INBOX.{token_hex(8)}")

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str = "vtsserving",
        user: str | None = None,
        password: str | None = None,
        token: str | None = None,
        credentials_file: str | None = None,
        tls: ssl.SSLContext | None = None,
        tls_hostname: str | None = None,
        timeout_s: float | None = None,
        on_fatal: FatalCallback | None = None,
        send_buffer_bytes: int = SEND_BUFFER_BYTES,
    ) -> NatsBus:
        """Connect, trying again until it works; later outages are healed the same way.

        Args:
            url: `nats://host:port` or `tls://host:port`; several, joined by commas, are one cluster.
            name: shown in the server's monitoring.
            user: with `password`.
            password: with `user`.
            token: instead of a user.
            credentials_file: a `.creds` file, instead of a user.
            tls: for servers that require it, where the system's certificates will not do.
            tls_hostname: the name in the server's certificate, where it is not the one in the URL.
            timeout_s: give up after this long; None tries for ever.
            on_fatal: called when the server refuses the credentials or forbids a subject, at any later time.
            send_buffer_bytes: how much may wait for the network before a publish is refused.

        Returns:
            The connected bus.

        Raises:
            AuthError: the server refuses the credentials.
            BusUnavailable: no server within `timeout_s`.
            ConfigurationError: the URL is malformed.
        """
        bus = cls(on_fatal=on_fatal, send_buffer_bytes=send_buffer_bytes)
        await bus._connection.open(
            url,
            timeout_s=timeout_s,
            name=name,
            user=user,
            password=password,
            token=token,
            user_credentials=credentials_file,
            tls=tls,
            tls_hostname=tls_hostname,
        )
        return bus

    @property
    def max_payload(self) -> int:
        """Largest payload, in bytes; the server's setting."""
        return self._connection.max_payload

    @property
    def connected(self) -> bool:
        """Whether a publish would be taken now."""
        return self._connection.online and not self._ended

    def publish(self, subject: str, payload: Payload, *, reply: str = "") -> None:
        """Send one message; see Bus.publish."""
        if type(payload) is not bytes:
            payload = bytes(payload)
        size_bytes = len(payload)
        if (
            not self._connection.online
            or self._ended
            or self._socket.congested
            or not 0 < size_bytes <= self._connection.max_payload
        ):
            self._refuse(size_bytes)
        if not is_plain(subject):
            check_subject(subject)
        if reply and not is_plain(reply):
            check_subject(reply)
        self._socket.send(f"PUB {subject} {reply} {size_bytes}\r\n".encode(), payload)

    async def subscribe(self, subject: str, handler: Handler) -> _Subscription:
        """Deliver what is published to `subject` to `handler`; see Bus.subscribe."""
        check_pattern(subject)
        self._check_open()
        number = str(next(self._numbers)).encode()
        subscription = _Subscription(self, subject, number)
        self._subscriptions[number] = subscription
        self._connection.parser.handlers[number] = handler
        self._socket.write(subscription.command)
        try:
            await self._connection.round_trip()
            self._check_permitted(subject)
        except BaseException:
            self.forget(subscription)
            raise
        return subscription

    async def request(self, subject: str, payload: bytes, *, timeout_s: float) -> bytes:
        """Send one message and wait for the first answer; see Bus.request."""
        return await self._requests.ask(subject, payload, timeout_s)

    def on_state(self, callback: StateCallback) -> None:
        """Have `callback` called at each change of `connected` from now on."""
        self._callbacks.append(callback)

    async def flush(self) -> None:
        """Return when the server has everything that was published so far; see Bus.flush."""
        self._check_open()
        await self._connection.round_trip()

    async def drain(self) -> None:
        """Drain every subscription, then flush; see Bus.drain."""
        if self._ended:
            return
        try:
            await asyncio.gather(*(s.drain() for s in list(self._subscriptions.values())))
            if self._connection.online:
                await self._connection.round_trip()
        except BusUnavailable:
            _log.warning("bus_lost_while_draining")
        finally:
            self._end()

    async def close(self) -> None:
        """Leave at once; whoever still waits gets ShuttingDown."""
        self._end()
        await self._connection.close()

    async def withdraw(self, subscription: _Subscription) -> None:
        """End a subscription after handling what the server had sent to it; for the subscription itself."""
        if self._subscriptions.pop(subscription.number, None) is None:
            return
        try:
            if self._connection.online:
                self._socket.write(subscription.end_command)
            # The server may deliver a message that it had matched already just behind the first answer.
            await self._connection.round_trip()
            await self._connection.round_trip()
        except (BusUnavailable, ShuttingDown):
            _log.debug("bus_lost_while_draining", extra={"subject": subscription.subject})
        finally:
            self._connection.parser.handlers.pop(subscription.number, None)

    def forget(self, subscription: _Subscription) -> None:
        """End a subscription at once; for the subscription itself."""
        self._connection.parser.handlers.pop(subscription.number, None)
        if self._subscriptions.pop(subscription.number, None) is not None and self._connection.online:
            self._socket.write(subscription.end_command)

    def _renewals(self) -> Iterator[bytes]:
        return (subscription.command for subscription in self._subscriptions.values())

    def _check_open(self) -> None:
        if self._ended:
            raise ShuttingDown("the bus is closed")
        if not self._connection.online:
            raise BusUnavailable

    def _check_permitted(self, subject: str) -> None:
        denial = self._connection.denial
        if denial is not None and f'"{subject}"' in denial.message:
            raise Forbidden(denial.message)

    def _refuse(self, size_bytes: int) -> None:
        """Raise the reason why nothing can be published."""
        self._check_open()
        if size_bytes > self._connection.max_payload:
            raise MessageTooLarge(size=size_bytes, limit=self._connection.max_payload)
        if not size_bytes:
            raise InvalidArgument("an empty payload means: no responders")
        raise BusUnavailable("the network to the bus is too slow: too much waits to be sent")

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._requests.fail_all(ShuttingDown("the bus is closed"))

    def _tell(self, connected: bool) -> None:
        if not connected:
            self._requests.fail_all(BusUnavailable("the connection to the bus was lost"))
        for callback in list(self._callbacks):
            try:
                callback(connected)
            except Exception:
                _log.exception("bus_state_callback_raised")


class _Subscription:
    """One handler's interest, under the number that the server knows it by."""

    def __init__(self, bus: NatsBus, subject: str, number: bytes) -> None:
        self.subject = subject
        self.number = number
        self.command = b"SUB %b  %b\r\n" % (subject.encode(), number)
        self.end_command = b"UNSUB %b\r\n" % number
        self._bus = bus

    async def drain(self) -> None:
        """Stop, losing nothing; see Subscription.drain."""
        await self._bus.withdraw(self)

    async def unsubscribe(self) -> None:
        """Stop at once."""
        self._bus.forget(self)
