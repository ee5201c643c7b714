"""Tells everybody that a model changed: caches over the bus, browsers and scripts over server-sent events.

What is told is only a hint to look again; nothing breaks when a hint is lost, because caches expire by themselves. So
the store serves without the bus, too, and says when it is there that everything is to be looked at again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from vtsserving._bus.interface import Bus, Message, Subscription
from vtsserving._wire import subjects
from vtsserving.exceptions import VtsServingException

MAX_WAITING: Final = 256
"""Events that wait for one slow reader; beyond that, it is told to look at everything again."""

MAX_LISTENERS: Final = 1000
_MAX_MESSAGE_BYTES: Final = 4096
_log = logging.getLogger(__name__)

Event = dict[str, Any]

_LOOK_AT_EVERYTHING: Final[Event] = {"kind": "missed", "name": ""}


class Changes:
    """Spreads change events."""

    def __init__(self, on_change: Callable[[str], None]) -> None:
        """Create it.

        Args:
            on_change: called with a model's name when this or another replica changed it; empty: whatever it was.
        """
        self._on_change = on_change
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bus: Bus | None = None
        self._subscription: Subscription | None = None
        self._unannounced = False

    def start(self) -> None:
        """Begin to spread events, within this replica only."""
        self._loop = asyncio.get_running_loop()

    async def join(self, bus: Bus) -> None:
        """Spread events over the bus from now on, and hear those of other replicas.

        Raises:
            BusUnavailable: it was lost meanwhile.
            Forbidden: the server does not let this service hear them.
        """
        self._subscription = await bus.subscribe(subjects.STORE_CHANGED, self._received)
        self._bus = bus
        bus.on_state(self._bus_came_or_went)
        self._bus_came_or_went(True)

    async def close(self) -> None:
        """End all listeners' streams."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._subscription = None
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    def announce(self, kind: str, name: str, **details: Any) -> None:
        """Say that something changed; safe to call from any thread.

        Args:
            kind: `pushed`, `deleted`, `alias`, `labels` or `settings`.
            name: of the model.
            details: whatever else helps: `version`, `alias`, ...
        """
        event = {"kind": kind, "name": name, **details}
        self._on_change(name)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._spread, event)

    async def listen(self) -> AsyncIterator[Event]:
        """Events from now on, until the service stops."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MAX_WAITING)
        self._listeners.add(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    def _spread(self, event: Event) -> None:
        if self._bus is None:
            self._unannounced = True
            self._tell(event)
            return
        try:
            self._bus.publish(subjects.STORE_CHANGED, json.dumps(event).encode())
        except VtsServingException as error:
            _log.warning("change_not_announced", extra={"reason": error.message, **event})
            self._unannounced = True
            self._tell(event)

    def _bus_came_or_went(self, connected: bool) -> None:
        """What others changed while there was no bus was not heard here, and what was changed here not by them."""
        if not connected:
            return
        self._on_change("")
        if self._unannounced:
            self._unannounced = False
            self._spread(_LOOK_AT_EVERYTHING)

    def _received(self, message: Message) -> None:
        """An event of this or another replica came over the bus."""
        try:
            event = json.loads(bytes(message.payload)[:_MAX_MESSAGE_BYTES])
            name = str(event["name"])
        except (ValueError, KeyError, TypeError):
            self._on_change("")
            return
        self._on_change(name)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for queue in self._listeners:
            if queue.full():
                while not queue.empty():
                    queue.get_nowait()
                event = _LOOK_AT_EVERYTHING
            queue.put_nowait(event)
