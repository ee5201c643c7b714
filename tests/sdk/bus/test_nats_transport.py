"""The seam to nats-py: what passes through it, and that it is the only one."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeGuard

import pytest
import uvloop

from support.buses import Inbox
from support.source_tree import REPOSITORY, imports, modules, within
from support.waiting import eventually
from vtsserving._bus.nats import NatsBus
from vtsserving._bus.nats_connection import MAX_SILENT_PINGS, PING_INTERVAL_S

SEAM = "libs/common/vtsserving/_bus/nats_transport.py"


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoop:
    made: asyncio.AbstractEventLoop = request.param()
    yield made
    made.run_until_complete(made.shutdown_default_executor())
    made.close()


class ScriptedServer:
    """Speaks as much of a nats-server's protocol as a client needs, and misbehaves when told to."""

    def __init__(self) -> None:
        self.answers_pings = True
        self.clients: list[asyncio.StreamWriter] = []
        self.subscribed = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def send(self, data: bytes) -> None:
        """Send to the client that came last."""
        self.clients[-1].write(data)

    async def end(self) -> None:
        """Close all connections and take no more."""
        self._server.close()
        for client in self.clients:
            client.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients.append(writer)
        writer.write(info(max_payload=1_000))
        try:
            while line := await reader.readline():
                self.subscribed += line.startswith(b"SUB")
                if line == b"PING\r\n" and self.answers_pings:
                    writer.write(b"PONG\r\n")
        except ConnectionError:
            pass
        finally:
            writer.close()


def info(**fields: object) -> bytes:
    return b"INFO " + json.dumps({"server_id": "s", "headers": True, **fields}).encode() + b"\r\n"


def with_server(
    loop: asyncio.AbstractEventLoop, scenario: Callable[[ScriptedServer, NatsBus], Awaitable[None]]
) -> None:
    async def run() -> None:
        server = ScriptedServer()
        await server.start()
        bus = await NatsBus.connect(f"nats://127.0.0.1:{server.port}", timeout_s=10)
        try:
            await scenario(server, bus)
        finally:
            await bus.close()
            await server.end()

    loop.run_until_complete(run())


@pytest.mark.slow
def test_a_slow_connection_is_kept_while_it_delivers_and_given_up_when_it_is_silent(
    loop: asyncio.AbstractEventLoop,
) -> None:
    async def scenario(server: ScriptedServer, bus: NatsBus) -> None:
        inbox, states = Inbox(), []
        await bus.subscribe("vts.a", inbox)
        bus.on_state(states.append)
        server.answers_pings = False
        payload = bytes(4 * (MAX_SILENT_PINGS + 2))
        server.send(b"MSG vts.a 1 %d\r\n" % len(payload))
        for position in range(len(payload)):
            server.send(payload[position : position + 1])
            await asyncio.sleep(PING_INTERVAL_S / 4)  # the pace of the network
        server.send(b"\r\n")
        await inbox.holds(1)
        assert states == []
        await eventually(lambda: states, within_s=PING_INTERVAL_S * (MAX_SILENT_PINGS + 2))
        assert states[0] is False

    with_server(loop, scenario)


def test_a_limit_that_the_server_changes_later_is_kept(loop: asyncio.AbstractEventLoop) -> None:
    async def scenario(server: ScriptedServer, bus: NatsBus) -> None:
        assert bus.max_payload == 1_000
        server.send(info(max_payload=7))
        await eventually(lambda: bus.max_payload == 7)

    with_server(loop, scenario)


def test_a_server_that_another_one_announced_is_found_when_that_ends(loop: asyncio.AbstractEventLoop) -> None:
    async def scenario(server: ScriptedServer, bus: NatsBus) -> None:
        other = ScriptedServer()
        await other.start()
        try:
            await bus.subscribe("vts.a", Inbox())
            server.send(info(max_payload=1_000, connect_urls=[f"127.0.0.1:{other.port}"]))
            await bus.flush()
            await server.end()
            await eventually(lambda: other.subscribed == 1 and bus.connected)
        finally:
            await bus.close()
            await other.end()

    with_server(loop, scenario)


def test_what_is_no_protocol_ends_the_connection_and_the_next_one_is_clean(
    loop: asyncio.AbstractEventLoop,
) -> None:
    async def scenario(server: ScriptedServer, bus: NatsBus) -> None:
        inbox, states = Inbox(), []
        await bus.subscribe("vts.a", inbox)
        bus.on_state(states.append)
        server.send(b"MSG vts.a 1 half\r\n")
        await eventually(lambda: states == [False, True])
        server.send(b"MSG vts.a 1 1\r\nx\r\n")
        await inbox.holds(1)
        await bus.flush()

    with_server(loop, scenario)


def test_only_the_seam_imports_nats_py_and_one_private_name_of_it_is_touched() -> None:
    files = [path for _, path in modules() if any(within(name, "nats") for name in imports(path))]
    assert [str(path.relative_to(REPOSITORY)) for path in files] == [SEAM]
    names = {node.attr for node in ast.walk(ast.parse(files[0].read_text())) if of_others(node)}
    assert {name for name in names if name.startswith("_") and not name.endswith("__")} == {"_transport"}
    others = {name for name in imports(files[0]) if not within(name, "vtsserving")}
    assert not any("._" in name for name in others)


def of_others(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Whether a node is an attribute of anything but `self`."""
    if not isinstance(node, ast.Attribute):
        return False
    return not (isinstance(node.value, ast.Name) and node.value.id == "self")
