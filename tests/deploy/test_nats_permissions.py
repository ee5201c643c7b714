"""deploy/nats.conf in a real nats-server: each kind of service may do what it has to, and nothing else."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from support.buses import Inbox
from support.deployed_nats import ROLES, deployed_nats, deployed_pair, environment, password, permissions
from support.nats_server import NatsServer
from support.supervisor import free_port
from vtsserving._bus.nats import NatsBus
from vtsserving._wire import subjects
from vtsserving.exceptions import AuthError, Forbidden, VtsServingException

ID: Final = "0123456789abcdef"

WHO: Final[dict[str, tuple[str, set[str], set[str]]]] = {
    # one subject of each kind: who publishes it, who subscribes to it
    "batcher_in": (subjects.batcher_in(ID), {"gateway"}, {"batcher"}),
    "batcher_event": (subjects.batcher_event(ID), {"runner"}, {"batcher"}),
    "gateway_reply": (subjects.gateway_reply(ID, 7), {"runner", "batcher"}, {"gateway"}),
    "gateway_replies": (subjects.gateway_replies(ID), set(), {"gateway"}),
    "runner_batch": (subjects.runner_batch(ID), {"batcher"}, {"runner"}),
    "runner_control": (subjects.runner_control(ID), {"batcher"}, {"runner"}),
    "runner_unrouted": (subjects.runner_unrouted(ID), set(), {"runner"}),
    "heartbeat gateway": (subjects.heartbeat("gateway"), {"gateway"}, set()),
    "heartbeat batcher": (subjects.heartbeat("batcher"), {"batcher"}, {"gateway", "batcher"}),
    "heartbeat runner": (subjects.heartbeat("runner"), {"runner"}, {"gateway", "batcher"}),
    "STORE_CHANGED": (subjects.STORE_CHANGED, {"store"}, {"gateway", "runner", "store"}),
}

VERSIONS: Final = ("vts.v2.", "vts.v1.")
"""Protocol versions of sets that may stand beside each other."""

PRYING: Final = (">", "*.>", "vts.>", "vts.v2.>", "_INBOX.>", "$SYS.>", "vts.v2.*.*.batch", "vts.v2.bat.>")
"""Patterns that nobody may subscribe to: each would show what is meant for others."""

Scenario = Callable[[NatsServer], Awaitable[None]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NatsServer]]:
    first, second = deployed_pair(tmp_path_factory.mktemp("pair"))
    with first, second:
        yield [first, second]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with deployed_nats(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture(params=["alone", "first of two", "second of two"])
def server(request: pytest.FixtureRequest, alone: NatsServer, pair: list[NatsServer]) -> NatsServer:
    return {"alone": alone, "first of two": pair[0], "second of two": pair[1]}[request.param]


async def connected(server: NatsServer, role: str, refusals: list[VtsServingException]) -> NatsBus:
    return await NatsBus.connect(
        server.url, user=role, password=password(role), on_fatal=refusals.append, timeout_s=10
    )


async def may_publish(server: NatsServer, role: str, subject: str) -> bool:
    refusals: list[VtsServingException] = []
    bus = await connected(server, role, refusals)
    bus.publish(subject, b"x")
    await bus.flush()
    await bus.close()
    assert all(isinstance(refusal, Forbidden) for refusal in refusals)
    return not refusals


async def may_subscribe(server: NatsServer, role: str, pattern: str) -> bool:
    bus = await connected(server, role, [])
    try:
        await bus.subscribe(pattern, Inbox())
    except Forbidden:
        return False
    finally:
        await bus.close()
    return True


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("role", ROLES)
def test_a_service_may_do_what_the_table_of_subjects_says_and_nothing_else(
    server: NatsServer, role: str, version: str
) -> None:
    async def scenario() -> None:
        for name, (built, publishers, subscribers) in WHO.items():
            subject = built.replace("vts.v2.", version)
            assert subject.startswith(version)
            if not subject.endswith(">"):
                assert await may_publish(server, role, subject) == (role in publishers), (role, name)
            assert await may_subscribe(server, role, subject) == (role in subscribers), (role, name)
        for pattern in PRYING:
            prying = pattern.replace("vts.v2.", version)
            assert not await may_subscribe(server, role, prying), (role, prying)

    asyncio.run(scenario())


def test_the_table_above_has_every_subject_that_the_product_builds() -> None:
    built = {
        name
        for name, value in vars(subjects).items()
        if inspect.isfunction(value)
        and value.__module__ == subjects.__name__
        and not name.startswith(("is_", "new_"))
        and name not in ("gateway_answers", "heartbeat")  # the first gives a gateway_reply
    }
    named = {name for name in WHO if " " not in name and name != "STORE_CHANGED"}
    assert named == built


def test_a_runner_reads_no_inbox_and_gives_no_work_to_batchers(server: NatsServer) -> None:
    async def scenario() -> None:
        gateway = await connected(server, "gateway", [])
        batcher = await connected(server, "batcher", [])
        answers, work = Inbox(), Inbox()
        await gateway.subscribe(subjects.gateway_replies(ID), answers)
        await batcher.subscribe(subjects.batcher_in(ID), work)
        for pattern in (subjects.gateway_replies(ID), subjects.gateway_reply(ID, 0), "vts.v2.gw.>"):
            assert not await may_subscribe(server, "runner", pattern)
        refusals: list[VtsServingException] = []
        runner = await connected(server, "runner", refusals)
        runner.publish(subjects.batcher_in(ID), b"forged")
        runner.publish(subjects.gateway_reply(ID, 0), b"answer")
        await runner.flush()
        await answers.holds(1)
        gateway.publish(subjects.batcher_in(ID), b"honest")
        await work.holds(1)
        assert work.payloads == [b"honest"]
        assert [type(refusal) for refusal in refusals] == [Forbidden]
        assert subjects.batcher_in(ID) in refusals[0].message
        for bus in (gateway, batcher, runner):
            await bus.close()

    asyncio.run(scenario())


async def crosses(sender: NatsBus, receiver: NatsBus) -> None:
    """Return when what one publishes on its server reaches the other on another."""
    inbox = Inbox()
    await receiver.subscribe(subjects.batcher_in(ID), inbox)

    async def try_again() -> None:
        while not inbox.payloads:  # the servers may not have met yet
            sender.publish(subjects.batcher_in(ID), b"over a route")
            await sender.flush()
            await asyncio.sleep(0.02)

    await asyncio.wait_for(try_again(), 10)
    assert set(inbox.payloads) == {b"over a route"}


def test_what_is_sent_to_one_of_two_servers_reaches_who_is_at_the_other(pair: list[NatsServer]) -> None:
    async def scenario() -> None:
        for here, there in (pair, reversed(pair)):
            gateway = await connected(here, "gateway", [])
            batcher = await connected(there, "batcher", [])
            await crosses(gateway, batcher)
            await gateway.close()
            await batcher.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("user", "given"),
    [(None, None), ("gateway", "wrong"), ("gateway", password("runner")), ("admin", password("gateway"))],
    ids=["anonymous", "wrong password", "another's password", "unknown user"],
)
def test_who_is_not_known_is_not_let_in(server: NatsServer, user: str | None, given: str | None) -> None:
    with pytest.raises(AuthError):
        asyncio.run(NatsBus.connect(server.url, user=user, password=given, timeout_s=10))


def test_the_largest_message_has_8_mb(server: NatsServer) -> None:
    async def scenario() -> int:
        bus = await connected(server, "gateway", [])
        try:
            return bus.max_payload
        finally:
            await bus.close()

    assert asyncio.run(scenario()) == 8 * 1024 * 1024


def start_as(service: str, role: str, server: NatsServer, home: Path) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        **environment(role, server.url),
        f"VTSSERVING_{service.upper()}__PORT": str(free_port()),
        "VTSSERVING_HOME": str(home),
    }
    command = [sys.executable, "-m", f"vtsserving_{service}"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("service", "role"), [("batcher", "runner"), ("runner", "store"), ("gateway", "batcher")]
)
def test_a_service_that_is_forbidden_what_it_needs_ends_at_start_and_says_which_subject(
    server: NatsServer, tmp_path: Path, service: str, role: str
) -> None:
    ended = start_as(service, role, server, tmp_path)
    assert ended.returncode == Forbidden.exit_code
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{service}: ")
    assert "Permissions Violation" in last
    assert "vts.v2." in last


@pytest.mark.slow
def test_a_service_with_a_wrong_password_ends_at_start_and_says_so(
    server: NatsServer, tmp_path: Path
) -> None:
    env = {
        **os.environ,
        **environment("batcher", server.url),
        "VTSSERVING_NATS_PASSWORD": "wrong",
        "VTSSERVING_BATCHER__PORT": str(free_port()),
        "VTSSERVING_HOME": str(tmp_path),
    }
    command = [sys.executable, "-m", "vtsserving_batcher"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == AuthError.exit_code
    assert "Authorization Violation" in ended.stderr.strip().splitlines()[-1]
    assert "wrong" not in ended.stderr


def test_the_configuration_names_a_user_for_each_service_and_no_other() -> None:
    assert sorted(permissions()) == sorted(ROLES)
