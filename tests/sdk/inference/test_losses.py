"""What the request side does when batchers die, drain, disagree, or when connections break; on a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from support import virtual_loop
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._bus.interface import Message, Subscription
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._inference.client import InferenceClient
from vtsserving._inference.rendezvous import rendezvous_hash
from vtsserving._inference.request import Outcome
from vtsserving._inference.retries import MAX_BOUNCES
from vtsserving._model.signature import ModelSignature
from vtsserving._wire import frames, subjects
from vtsserving._wire.rows import split_result

pytestmark = pytest.mark.fast

ENTRY = CatalogEntry("iris", "1", "sha256:" + "0" * 64, {"predict": ModelSignature(batchable=True)})
ROW = np.ones((1, 2))
ANSWER_HEAD, ANSWER_BODIES = split_result(np.array([7.0]), (1,), 0)


class Batcher:
    """Beats while it lives; does with each part what its script says: answer, bounce or keep."""

    def __init__(self, bus: InProcessBus, id: str, script: str = "answer") -> None:
        self.id = id
        self.script = script
        self.state = "ready"
        self.taken: list[int] = []
        self.attempts: list[int] = []
        self._bus = bus
        self._inbox: Subscription | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> Batcher:
        self._inbox = await self._bus.subscribe(subjects.batcher_in(self.id), self._take)
        self._beating = asyncio.create_task(self._beat_for_ever())
        await asyncio.sleep(0)
        return self

    async def stop_listening(self) -> None:
        assert self._inbox is not None
        await self._inbox.unsubscribe()

    async def die(self) -> None:
        await self.stop_listening()
        assert self._beating is not None
        self._beating.cancel()

    def beat(self, state: str) -> None:
        beat = frames.Heartbeat("batcher", self.id, state, 0, [], {})
        self._bus.publish(subjects.heartbeat("batcher"), frames.encode(beat))

    def answer(self, gateway: str, ids: tuple[int, ...]) -> None:
        columns = (ids, (1,) * len(ids), (0,) * len(ids), b"", ANSWER_HEAD, [ANSWER_BODIES[0]] * len(ids))
        self._bus.publish(gateway, frames.encode(frames.Reply("0" * 16, len(ids), 0, *columns)))

    async def _beat_for_ever(self) -> None:
        while True:
            if self._bus.connected:
                self.beat(self.state)
            await asyncio.sleep(0.5)

    def _take(self, message: Message) -> None:
        request = frames.decode(message.payload)
        if not isinstance(request, frames.Request):
            return
        self.taken += request.ids
        self.attempts += request.attempts
        if self.script == "answer":
            self.answer(message.reply, request.ids)
        elif self.script == "bounce":
            failure = frames.Failure("batcher_lost", "another batcher serves iris:1 now", 0, request.ids)
            self._bus.publish(message.reply, frames.encode(failure))


class World:
    """A client and two batchers, of which `first` owns the model while both live."""

    def __init__(self) -> None:
        self.bus = InProcessBus()
        ids = [subjects.new_id(), subjects.new_id()]
        ids = sorted(ids, key=lambda id: id != rendezvous_hash(ENTRY.tag, ids))
        self.first, self.second = (Batcher(self.bus, id) for id in ids)
        self.client = InferenceClient(self.bus)

    async def start(self) -> None:
        await self.client.start()
        await self.first.start()
        await self.second.start()

    def ask(self, timeout_s: float = 30.0) -> asyncio.Task[Outcome]:
        return asyncio.create_task(self.client.call(ENTRY, "predict", (ROW,), {}, timeout_s=timeout_s))


def play(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        world = World()
        await world.start()
        try:
            await scenario(world)
        finally:
            await world.client.close()

    virtual_loop.run(whole())


def test_what_nobody_listened_to_goes_to_another_batcher_at_once_and_is_no_attempt() -> None:
    async def scenario(world: World) -> None:
        await world.first.die()
        began_s = asyncio.get_running_loop().time()
        outcome = await world.ask()
        assert outcome.error is None
        assert asyncio.get_running_loop().time() - began_s < 0.01
        assert world.second.attempts == [0]

    play(scenario)


def test_what_a_dead_batcher_held_is_sent_to_another_one_when_it_is_silent() -> None:
    async def scenario(world: World) -> None:
        world.first.script = "keep"
        held = world.ask()
        await asyncio.sleep(0.1)
        await world.first.die()
        began_s = asyncio.get_running_loop().time()
        # Hears that nobody listens there, which alone does not tell that what is held is lost.
        assert (await world.ask()).error is None
        assert not held.done()
        assert (await held).error is None
        assert 1.0 < asyncio.get_running_loop().time() - began_s < 2.6
        assert world.second.attempts == [0, 1]

    play(scenario)


def test_what_a_draining_batcher_holds_is_left_to_it() -> None:
    async def scenario(world: World) -> None:
        world.first.script = "keep"
        held = world.ask()
        await asyncio.sleep(0.1)
        world.first.state = "draining"
        world.first.beat("draining")
        await world.first.stop_listening()
        await asyncio.sleep(5)
        assert world.second.taken == []
        world.first.answer(subjects.gateway_reply(world.client.id, 0), tuple(world.first.taken))
        assert (await held).error is None
        assert world.client.retries == 0

    play(scenario)


def test_a_part_that_is_handed_back_is_offered_again_until_the_batchers_agree() -> None:
    async def scenario(world: World) -> None:
        world.first.script = "bounce"
        asked = world.ask()
        await asyncio.sleep(1.5)
        assert not asked.done()
        world.first.script = "answer"
        assert (await asked).error is None
        assert set(world.first.attempts) == {0}

    play(scenario)


def test_a_part_that_is_handed_back_for_ever_is_refused_in_about_five_seconds() -> None:
    async def scenario(world: World) -> None:
        world.first.script = "bounce"
        began_s = asyncio.get_running_loop().time()
        outcome = await world.ask()
        assert outcome.error is not None
        assert outcome.error.code == "batcher_lost"
        assert 4 < asyncio.get_running_loop().time() - began_s < 6
        assert len(world.first.taken) == MAX_BOUNCES + 1

    play(scenario)


def test_what_was_under_way_when_the_bus_broke_is_sent_again_once() -> None:
    async def scenario(world: World) -> None:
        world.first.script = "keep"
        asked = world.ask()
        await asyncio.sleep(0.1)
        for _ in range(3):
            world.bus.disconnect()
            await asyncio.sleep(0.2)
            world.bus.reconnect()
            await asyncio.sleep(0.6)
        assert world.first.attempts == [0, 1]
        world.first.answer(subjects.gateway_reply(world.client.id, 0), (world.first.taken[0],))
        assert (await asked).error is None

    play(scenario)


def test_what_a_batcher_held_that_was_off_the_bus_is_sent_to_it_again() -> None:
    async def scenario(world: World) -> None:
        world.first.script = "keep"
        asked = world.ask()
        await asyncio.sleep(0.1)
        world.first.script = "answer"
        world.second.beat("reconnected")
        await asyncio.sleep(0.2)
        assert not asked.done()
        world.first.beat("reconnected")
        assert (await asked).error is None
        assert world.first.attempts == [0, 1]
        assert world.second.taken == []

    play(scenario)
