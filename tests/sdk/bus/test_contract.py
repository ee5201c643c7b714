"""What every bus promises, on every bus."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

import pytest

from support.buses import KINDS, BusWorld, Inbox
from support.nats_server import MAX_PAYLOAD_BYTES
from support.waiting import eventually
from vtsserving._bus import NO_RESPONDERS, Message
from vtsserving.exceptions import (
    BusUnavailable,
    DeadlineExceeded,
    InvalidArgument,
    MessageTooLarge,
    NoResponders,
    ShuttingDown,
)


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> BusWorld:
    return BusWorld(request.param, tmp_path)


def test_a_message_arrives_with_its_subject_payload_and_reply(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        sender, receiver, inbox = await world.bus(), await world.bus(), Inbox()
        await receiver.subscribe("vts.a", inbox)
        sender.publish("vts.a", b"one", reply="vts.back.1")
        sender.publish("vts.a", bytes(range(256)) + b"\r\nMSG \r\n")
        await inbox.holds(2)
        assert inbox.messages == [
            Message("vts.a", b"one", "vts.back.1"),
            Message("vts.a", bytes(range(256)) + b"\r\nMSG \r\n", ""),
        ]
        assert all(type(payload) is bytes for payload in inbox.payloads)

    world.run(scenario)


def test_every_subscriber_gets_every_message(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, one, two, other = await world.bus(), Inbox(), Inbox(), Inbox()
        await bus.subscribe("vts.a", one)
        await (await world.bus()).subscribe("vts.a", two)
        await bus.subscribe("vts.b", other)
        bus.publish("vts.a", b"x")
        await one.holds(1)
        await two.holds(1)
        assert other.messages == []

    world.run(scenario)


def test_who_subscribes_after_a_message_gets_the_next_ones(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, first, second = await world.bus(), Inbox(), Inbox()
        for inbox, payload in ((first, b"two"), (second, b"three")):
            bus.publish("vts.a", b"one" if inbox is first else b"two")
            await bus.flush()
            await bus.subscribe("vts.a", inbox)
            bus.publish("vts.a", payload)
            await inbox.holds(1)
        assert second.payloads == [b"three"]
        assert first.payloads == [b"two", b"two", b"three"]

    world.run(scenario)


def test_messages_of_one_publisher_stay_in_order(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        sender, receiver, inbox = await world.bus(), await world.bus(), Inbox()
        await receiver.subscribe("vts.a", inbox)
        sizes = [1, 70_000, 3, 2_000_000, 5, 65_536, 65_537, 40]
        sent = [bytes([n % 256]) * sizes[n % len(sizes)] for n in range(80)]
        for number, payload in enumerate(sent):
            sender.publish("vts.a", payload)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await inbox.holds(len(sent))
        assert inbox.payloads == sent

    world.run(scenario)


@pytest.mark.parametrize(
    ("pattern", "hits", "misses"),
    [
        (
            "vts.gw.7.reply.>",
            ["vts.gw.7.reply.1", "vts.gw.7.reply.1.2"],
            ["vts.gw.7.reply", "vts.gw.8.reply.1"],
        ),
        ("vts.*.in", ["vts.a.in", "vts.b.in"], ["vts.in", "vts.a.b.in", "vts.a.out"]),
        ("vts.*.>", ["vts.a.b"], ["vts.a", "vtx.a.b"]),
    ],
)
def test_a_wildcard_takes_what_it_stands_for(
    world: BusWorld, pattern: str, hits: list[str], misses: list[str]
) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, inbox, end = await world.bus(), Inbox(), Inbox()
        await bus.subscribe(pattern, inbox)
        await bus.subscribe("end", end)
        for subject in [*hits, *misses]:
            bus.publish(subject, b"x")
        bus.publish("end", b"x")
        await end.holds(1)
        assert [message.subject for message in inbox.messages] == hits

    world.run(scenario)


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB x 1\r\nx", "a\tb", "ä", "a" * 2_000, "a\x00"])
def test_a_subject_that_could_smuggle_commands_is_refused(world: BusWorld, subject: str) -> None:
    async def scenario(world: BusWorld) -> None:
        bus = await world.bus()
        with pytest.raises(InvalidArgument):
            bus.publish(subject, b"x")
        with pytest.raises(InvalidArgument):
            await bus.subscribe(subject, Inbox())
        if subject:
            with pytest.raises(InvalidArgument):
                bus.publish("vts.a", b"x", reply=subject)
        await bus.flush()

    world.run(scenario)


@pytest.mark.parametrize("pattern", ["a..b", ".a", "a.", "a.>.b", "a>.b", "a*.b"])
def test_a_malformed_pattern_is_refused(world: BusWorld, pattern: str) -> None:
    async def scenario(world: BusWorld) -> None:
        with pytest.raises(InvalidArgument):
            await (await world.bus()).subscribe(pattern, Inbox())

    world.run(scenario)


def test_a_publish_to_nobody_is_answered_at_once(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, inbox = await world.bus(), Inbox()
        await bus.subscribe("vts.back.>", inbox)
        began_s = time.monotonic()
        for number in range(3):
            bus.publish("vts.nobody", b"x", reply=f"vts.back.{number}")
        await inbox.holds(3)
        assert time.monotonic() - began_s < 1
        assert inbox.messages == [Message(f"vts.back.{n}", NO_RESPONDERS, "") for n in range(3)]

    world.run(scenario)


def test_an_empty_payload_is_refused_because_it_means_no_responders(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        with pytest.raises(InvalidArgument):
            (await world.bus()).publish("vts.a", b"")

    world.run(scenario)


def test_a_request_returns_the_first_answer(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        server, client = await world.bus(), await world.bus()

        def answer(message: Message) -> None:
            server.publish(message.reply, message.payload + b"!")
            server.publish(message.reply, b"too late")

        await server.subscribe("vts.echo", answer)
        questions = (client.request("vts.echo", b"%d" % n, timeout_s=5) for n in range(50))
        assert await asyncio.gather(*questions) == [b"%d!" % n for n in range(50)]

    world.run(scenario)


def test_a_request_to_nobody_fails_at_once(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, began_s = await world.bus(), time.monotonic()
        with pytest.raises(NoResponders):
            await bus.request("vts.nobody", b"x", timeout_s=30)
        assert time.monotonic() - began_s < 1

    world.run(scenario)


@pytest.mark.alone
def test_a_request_that_nobody_answers_fails_at_its_deadline(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, inbox = await world.bus(), Inbox()
        await bus.subscribe("vts.silent", inbox)
        began_s = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            await bus.request("vts.silent", b"x", timeout_s=0.1)
        assert 0.09 < time.monotonic() - began_s < 0.35
        bus.publish(inbox.messages[0].reply, b"late answers go nowhere")
        await bus.flush()

    world.run(scenario)


def test_an_oversize_payload_is_refused_with_both_numbers(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, inbox = await world.bus(), Inbox()
        await bus.subscribe("vts.a", inbox)
        assert bus.max_payload == MAX_PAYLOAD_BYTES
        with pytest.raises(MessageTooLarge) as refused:
            bus.publish("vts.a", bytes(MAX_PAYLOAD_BYTES + 1))
        assert (refused.value.size, refused.value.limit) == (MAX_PAYLOAD_BYTES + 1, MAX_PAYLOAD_BYTES)
        assert str(MAX_PAYLOAD_BYTES + 1) in str(refused.value)
        assert str(MAX_PAYLOAD_BYTES) in str(refused.value)
        bus.publish("vts.a", bytes(MAX_PAYLOAD_BYTES))
        await inbox.holds(1)
        assert len(inbox.payloads[0]) == MAX_PAYLOAD_BYTES

    world.run(scenario)


def test_a_raising_handler_stops_nobody(world: BusWorld, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, inbox = await world.bus(), Inbox()

        def fragile(message: Message) -> None:
            if message.payload == b"2":
                raise ZeroDivisionError
            inbox(message)

        await bus.subscribe("vts.a", fragile)
        other = Inbox()
        await bus.subscribe("vts.a", other)
        for number in range(5):
            bus.publish("vts.a", b"%d" % number)
        await inbox.holds(4)
        await other.holds(5)
        assert inbox.payloads == [b"0", b"1", b"3", b"4"]

    with caplog.at_level(logging.ERROR):
        world.run(scenario)
    assert [record.getMessage() for record in caplog.records] == ["bus_handler_raised"]


def test_handlers_are_never_entered_while_another_runs(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, trace, done = await world.bus(), [], Inbox()

        def outer(message: Message) -> None:
            trace.append("outer begins")
            bus.publish("vts.inner", b"x")
            trace.append("outer ends")

        await bus.subscribe("vts.outer", outer)
        await bus.subscribe("vts.inner", lambda message: trace.append("inner"))
        await bus.subscribe("vts.inner", done)
        bus.publish("vts.outer", b"x")
        await done.holds(1)
        assert trace == ["outer begins", "outer ends", "inner"]

    world.run(scenario)


def test_draining_a_subscription_loses_nothing_that_reached_it(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        sender, receiver = await world.bus(), await world.bus()
        inbox, bounced, sent = Inbox(), Inbox(), 0
        subscription = await receiver.subscribe("vts.in", inbox)
        await sender.subscribe("vts.back.>", bounced)
        stopping = asyncio.Event()

        async def keep_sending() -> None:
            nonlocal sent
            while not stopping.is_set():
                for _ in range(20):
                    sender.publish("vts.in", bytes(200), reply=f"vts.back.{sent}")
                    sent += 1
                await asyncio.sleep(0)

        sending = asyncio.create_task(keep_sending())
        await inbox.holds(1_000)
        await subscription.drain()
        handled = len(inbox.messages)
        await eventually(lambda: bounced.messages)
        stopping.set()
        await sending
        await sender.flush()
        await eventually(lambda: len(inbox.messages) + len(bounced.messages) >= sent)
        numbers = [m.reply for m in inbox.messages] + [m.subject for m in bounced.messages]
        assert sorted(numbers) == sorted(f"vts.back.{n}" for n in range(sent))
        assert len(inbox.messages) == handled
        assert {m.payload for m in bounced.messages} == {NO_RESPONDERS}

    world.run(scenario)


def test_unsubscribing_ends_deliveries(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, gone, stays = await world.bus(), Inbox(), Inbox()
        subscription = await bus.subscribe("vts.a", gone)
        await bus.subscribe("vts.a", stays)
        await subscription.unsubscribe()
        await subscription.unsubscribe()
        await subscription.drain()
        bus.publish("vts.a", b"x")
        await stays.holds(1)
        assert gone.messages == []

    world.run(scenario)


def test_draining_the_bus_lets_handlers_answer_and_then_refuses(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        server, client = await world.bus(), await world.bus()
        answers = Inbox()
        await client.subscribe("vts.back", answers)
        await server.subscribe("vts.echo", lambda m: server.publish(m.reply, m.payload))
        for number in range(200):
            client.publish("vts.echo", b"%d" % number, reply="vts.back")
        await client.flush()
        await server.drain()
        with pytest.raises(ShuttingDown):
            server.publish("vts.a", b"x")
        with pytest.raises(ShuttingDown):
            await server.subscribe("vts.a", Inbox())
        await answers.holds(200)
        assert answers.payloads == [b"%d" % n for n in range(200)]
        await server.drain()

    world.run(scenario)


def test_a_closed_bus_refuses_and_lets_nobody_wait(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus = await world.bus()
        await bus.subscribe("vts.silent", Inbox())
        waiting = asyncio.create_task(bus.request("vts.silent", b"x", timeout_s=30))
        await bus.flush()
        await asyncio.sleep(0)
        await bus.close()
        with pytest.raises(ShuttingDown):
            await waiting
        assert not bus.connected
        for refused in (bus.flush(), bus.subscribe("vts.a", Inbox()), bus.request("a", b"x", timeout_s=1)):
            with pytest.raises(ShuttingDown):
                await refused
        with pytest.raises(ShuttingDown):
            bus.publish("vts.a", b"x")
        await bus.close()

    world.run(scenario)


def test_nothing_can_be_published_during_an_outage(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus = await world.bus()
        await world.fail()
        with pytest.raises(BusUnavailable):
            bus.publish("vts.a", b"x")
        for refused in (bus.flush(), bus.subscribe("vts.a", Inbox()), bus.request("a", b"x", timeout_s=1)):
            with pytest.raises(BusUnavailable):
                await refused

    world.run(scenario)


def test_a_reconnect_replays_nothing_and_renews_subscriptions(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        sender, receiver, inbox = await world.bus(), await world.bus(), Inbox()
        await receiver.subscribe("vts.a", inbox)
        gone = await receiver.subscribe("vts.gone", inbox)
        sender.publish("vts.a", b"before")
        await inbox.holds(1)
        failing = asyncio.create_task(world.fail())
        while not failing.done():
            for bus in (sender, receiver):
                try:
                    bus.publish("vts.late", b"stale", reply="vts.a")
                    bus.publish("vts.a" if not bus.connected else "vts.late", b"stale")
                except BusUnavailable:
                    pass
            await asyncio.sleep(0)
        await failing
        kept = len(inbox.messages)
        await gone.unsubscribe()
        await world.heal()
        sender.publish("vts.gone", b"for nobody")
        sender.publish("vts.a", b"after")
        await inbox.holds(kept + 1)
        assert inbox.payloads[kept:] == [b"after"]

    world.run(scenario)


def test_who_waits_for_an_answer_hears_of_the_outage_at_once(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, inbox = await world.bus(), Inbox()
        await bus.subscribe("vts.silent", inbox)
        waiting = asyncio.create_task(bus.request("vts.silent", b"x", timeout_s=30))
        await inbox.holds(1)
        await world.fail()
        with pytest.raises(BusUnavailable):
            await asyncio.wait_for(waiting, 1)

    world.run(scenario)


def test_changes_of_state_are_told_once_each(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus, states = await world.bus(), []

        def fragile(connected: bool) -> None:
            raise ZeroDivisionError

        bus.on_state(fragile)
        bus.on_state(states.append)
        for _ in range(2):
            await world.fail()
            assert not bus.connected
            await world.heal()
            assert bus.connected
        assert states == [False, True, False, True]
        await bus.close()
        assert states == [False, True, False, True, False]

    world.run(scenario)


def test_draining_during_an_outage_returns(world: BusWorld) -> None:
    async def scenario(world: BusWorld) -> None:
        bus = await world.bus()
        subscription = await bus.subscribe("vts.a", Inbox())
        await world.fail()
        await asyncio.wait_for(subscription.drain(), 1)
        await asyncio.wait_for(bus.drain(), 1)

    world.run(scenario)
