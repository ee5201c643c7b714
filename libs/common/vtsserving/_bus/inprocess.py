"""The bus of the embedded mode: all services in one process and one event loop.

A publish runs its deliveries before it returns, unless it is made by a handler: then it waits in line until
the handlers before it are through. So nothing is ever re-entered, order is first in, first out over all
subjects, and a message costs two function calls and no turn of the event loop.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from vtsserving._bus.interface import (
    NO_RESPONDERS,
    Handler,
    Message,
    Payload,
    StateCallback,
    check_pattern,
    check_subject,
    is_plain,
    matches,
)
from vtsserving._bus.requests import Requests
from vtsserving._recent import RecentDict
from vtsserving.exceptions import BusUnavailable, InvalidArgument, MessageTooLarge, ShuttingDown

_log = logging.getLogger(__name__)

MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024
MAX_WAITING_MESSAGES: Final = 100_000
"""Most messages that handlers may publish before the first of them is delivered."""

DEFERRED_BYTES: Final = 1024 * 1024
"""No payload without bytes is larger: where more is allowed, they need not be made to be counted."""

_MAX_ROUTES: Final = 4_096
"""Most subjects whose subscribers are remembered."""


class InProcessBus:
    """Implements Bus within one process. Use it from one event loop only."""

    def __init__(self, *, max_payload: int = MAX_PAYLOAD_BYTES) -> None:
        """Create the bus; it is connected at once.

        Args:
            max_payload: largest payload, in bytes.
        """
        self._max_payload = max_payload
        self._connected = True
        self._ended = False
        self._subscriptions: list[_Subscription] = []
        self._routes: RecentDict[str, tuple[_Subscription, ...]] = RecentDict(_MAX_ROUTES)
        self._waiting: deque[Message] = deque()
        self._pumping = False
        self._callbacks: list[StateCallback] = []
        self._requests = Requests(self, "_INBOX.local")

    @property
    def max_payload(self) -> int:
        """Largest payload, in bytes."""
        return self._max_payload

    @property
    def connected(self) -> bool:
        """Whether a publish would be taken now."""
        return self._connected and not self._ended

    def publish(self, subject: str, payload: Payload, *, reply: str = "") -> None:
        """Deliver one message; see Bus.publish. The payload passes by reference."""
        if not self._connected or self._ended:
            self._refuse()
        if type(payload) is bytes or self._max_payload < DEFERRED_BYTES:
            self._check_size(len(payload))
        if subject not in self._routes:
            self._route(subject)
        if reply and not is_plain(reply):
            check_subject(reply)
        if len(self._waiting) >= MAX_WAITING_MESSAGES:
            raise BusUnavailable(f"{MAX_WAITING_MESSAGES} messages wait already")
        self._waiting.append(Message(subject, payload, reply))
        if not self._pumping:
            self._pump()

    async def subscribe(self, subject: str, handler: Handler) -> _Subscription:
        """Deliver what is published to `subject` to `handler`; see Bus.subscribe."""
        if not self._connected or self._ended:
            self._refuse()
        check_pattern(subject)
        subscription = _Subscription(self, subject, handler)
        self._subscriptions.append(subscription)
        self._routes.clear()
        return subscription

    async def request(self, subject: str, payload: bytes, *, timeout_s: float) -> bytes:
        """Send one message and wait for the first answer; see Bus.request."""
        return await self._requests.ask(subject, payload, timeout_s)

    def on_state(self, callback: StateCallback) -> None:
        """Have `callback` called at each change of `connected` from now on."""
        self._callbacks.append(callback)

    async def flush(self) -> None:
        """Return at once: a published message was delivered already."""
        if not self._connected or self._ended:
            self._refuse()

    async def drain(self) -> None:
        """Refuse everything from now on; what was published was delivered already."""
        self._end()

    async def close(self) -> None:
        """Refuse everything from now on and let those who wait for an answer fail."""
        self._end()

    def disconnect(self) -> None:
        """Behave as a bus whose server is gone, until `reconnect`: to try out what an outage does."""
        if self.connected:
            self._connected = False
            self._waiting.clear()
            self._requests.fail_all(BusUnavailable("the connection was lost"))
            self._tell(False)

    def reconnect(self) -> None:
        """End the outage; subscriptions are in force again, messages of the outage are gone."""
        if not self._connected and not self._ended:
            self._connected = True
            self._tell(True)

    def _pump(self) -> None:
        """Deliver until nothing waits; a BaseException such as Ctrl-C leaves the rest to the next publish."""
        self._pumping = True
        try:
            while self._waiting:
                message = self._waiting.popleft()
                route = self._routes.get(message.subject)
                if route is None:
                    route = self._route(message.subject)
                if not route and message.reply:
                    self._waiting.append(Message(message.reply, NO_RESPONDERS, ""))
                for subscription in route:
                    subscription.deliver(message)
        finally:
            self._pumping = False

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_payload:
            raise MessageTooLarge(size=size_bytes, limit=self._max_payload)
        if not size_bytes:
            raise InvalidArgument("an empty payload means: no responders")

    def _route(self, subject: str) -> tuple[_Subscription, ...]:
        """Find the subscribers of a subject, and remember them until a subscription comes or goes."""
        check_subject(subject)
        tokens = subject.split(".")
        route = tuple(s for s in self._subscriptions if matches(s.tokens, tokens))
        self._routes[subject] = route
        return route

    def remove(self, subscription: _Subscription) -> None:
        """Forget a subscription; for the subscription itself."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._routes.clear()

    def _refuse(self) -> None:
        if self._ended:
            raise ShuttingDown("the bus is closed")
        raise BusUnavailable

    def _end(self) -> None:
        if self._ended:
            return
        was_connected = self.connected
        self._ended = True
        self._subscriptions.clear()
        self._routes.clear()
        self._requests.fail_all(ShuttingDown("the bus is closed"))
        if was_connected:
            self._tell(False)

    def _tell(self, connected: bool) -> None:
        for callback in list(self._callbacks):
            try:
                callback(connected)
            except Exception:
                _log.exception("bus_state_callback_raised")


class _Subscription:
    """One handler's interest; deliveries to it are synchronous, so there is never anything to wait for."""

    def __init__(self, bus: InProcessBus, subject: str, handler: Handler) -> None:
        self.tokens = subject.split(".")
        self._bus = bus
        self._handler = handler
        self._active = True

    def deliver(self, message: Message) -> None:
        """Call the handler; what it raises ends here."""
        if not self._active:
            return
        try:
            self._handler(message)
        except Exception:
            _log.exception("bus_handler_raised", extra={"subject": message.subject})

    async def drain(self) -> None:
        """Stop; whatever reached this subscription was handled already."""
        self._bus.remove(self)

    async def unsubscribe(self) -> None:
        """Stop at once."""
        self._active = False
        self._bus.remove(self)
