"""Every kind of bus behind one face, so that one suite of tests runs on all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from support.nats_server import MAX_PAYLOAD_BYTES, OLDEST, NatsServer, oldest_nats_server
from support.waiting import eventually
from vtsserving._bus import Bus, Message
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._bus.nats import NatsBus

T = TypeVar("T")

ON_OLDEST = f"nats-{OLDEST}"
KINDS = ("inprocess", "nats", "nats-uvloop", ON_OLDEST)


class BusWorld:
    """One bus of one kind, as seen by any number of peers, and its outages."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        binary = oldest_nats_server() if kind == ON_OLDEST else None
        self.server: NatsServer | None = None if kind == "inprocess" else NatsServer(folder, binary=binary)
        self._shared: InProcessBus | None = None
        self._opened: list[Bus] = []

    def run(self, scenario: Callable[[BusWorld], Coroutine[Any, Any, T]]) -> T:
        """Run a scenario on a fresh event loop, with the server running; close all peers afterwards."""
        if self.kind == "nats-uvloop":
            import uvloop

            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        try:
            if self.server is not None:
                self.server.start()
            return loop.run_until_complete(self._run(scenario))
        finally:
            if self.server is not None:
                self.server.kill()
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    async def bus(self) -> Bus:
        """Another peer: a connection of its own, or the one bus that all share in one process."""
        if self.server is None:
            if self._shared is None:
                self._shared = InProcessBus(max_payload=MAX_PAYLOAD_BYTES)
                self._opened.append(self._shared)
            return self._shared
        bus = await NatsBus.connect(self.server.url, timeout_s=10)
        self._opened.append(bus)
        return bus

    async def fail(self) -> None:
        """End the bus's server as a crash would; return when all peers know."""
        if self.server is not None:
            await asyncio.to_thread(self.server.kill)
        elif self._shared is not None:
            self._shared.disconnect()
        await eventually(lambda: not any(bus.connected for bus in self._opened))

    async def heal(self) -> None:
        """End the outage; return when all peers are connected again."""
        if self.server is not None:
            await asyncio.to_thread(self.server.start)
        elif self._shared is not None:
            self._shared.reconnect()
        await eventually(lambda: all(bus.connected for bus in self._opened))

    async def _run(self, scenario: Callable[[BusWorld], Awaitable[T]]) -> T:
        try:
            return await scenario(self)
        finally:
            for bus in self._opened:
                await bus.close()


class Inbox:
    """A handler that keeps what it got."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def payloads(self) -> list[bytes]:
        """The payloads so far, in order."""
        return [message.payload for message in self.messages]

    async def holds(self, count: int) -> None:
        """Return when at least `count` messages are here."""
        await eventually(
            lambda: len(self.messages) >= count, what=f"{count} messages, there are {len(self.messages)}"
        )
