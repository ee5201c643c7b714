"""Connecting to a name with several addresses, some of which are dead; the sockets are real, the name server is not."""

from __future__ import annotations

import asyncio
import time

import pytest

from support.silent_port import silent_port
from support.supervisor import free_port
from vtsserving._bus import dialing
from vtsserving._bus.dialing import ADDRESS_TIMEOUT_S, dial

ALIVE = "127.0.0.1"
REFUSES = "127.0.0.2"


def name_has(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses, in this order."""

    async def fixed(host: str, port: int) -> list[str]:
        return list(addresses)

    monkeypatch.setattr(dialing, "addresses", fixed)


async def reached(port: int) -> str:
    """The address of the server that a connection to a name reached."""
    protocol = await dial(_Peer, "bus", port)
    protocol.transport.close()
    return protocol.peer


class _Peer(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.peer = str(transport.get_extra_info("peername")[0])


def test_an_address_that_refuses_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    name_has(monkeypatch, REFUSES, ALIVE)

    async def scenario() -> str:
        port = free_port()
        async with await asyncio.get_running_loop().create_server(asyncio.Protocol, ALIVE, port):
            return await reached(port)

    assert asyncio.run(scenario()) == ALIVE


@pytest.mark.alone
def test_an_address_that_is_silent_costs_its_time_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    name_has(monkeypatch, ALIVE, REFUSES)

    async def scenario(port: int) -> tuple[str, float]:
        async with await asyncio.get_running_loop().create_server(asyncio.Protocol, REFUSES, port):
            began_s = time.monotonic()
            return await reached(port), time.monotonic() - began_s

    with silent_port() as dead:
        peer, took_s = asyncio.run(scenario(dead))
    assert peer == REFUSES
    assert ADDRESS_TIMEOUT_S * 0.9 < took_s < ADDRESS_TIMEOUT_S + 0.3


def test_where_all_are_dead_the_last_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    name_has(monkeypatch, REFUSES, ALIVE)
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(dial(_Peer, "bus", free_port()))


def test_a_name_without_addresses_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    name_has(monkeypatch)
    with pytest.raises(OSError, match="bus has no address"):
        asyncio.run(dial(_Peer, "bus", 4222))


def test_each_address_of_a_name_comes_once_and_none_is_always_the_first() -> None:
    async def firsts() -> set[str]:
        return {(await dialing.addresses("localhost", 1))[0] for _ in range(64)}

    found = asyncio.run(dialing.addresses("localhost", 1))
    assert ALIVE in found
    assert len(found) == len(set(found))
    assert asyncio.run(firsts()) == set(found)
