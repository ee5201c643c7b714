"""The client while gateways restart and connections die: predictions are repeated, functions are not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vtsserving
from support.cluster import row_and_answer, save_model
from support.fault_proxy import FaultProxy
from support.served_stack import ServedStack
from support.supervisor import Program, Supervisor, free_port, http_ok
from support.waiting import eventually
from vtsserving.exceptions import GatewayUnavailable

pytestmark = pytest.mark.slow
CALLERS = 16


class CallersOfOneModel:
    """Callers that predict until they are told to stop; every answer is checked."""

    def __init__(self, client: vtsserving.AsyncClient) -> None:
        self.answers = 0
        self._client = client
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def _call(self, number: int) -> None:
        while not self._stopping:
            row, answer = row_and_answer(number)
            result = await self._client.predict("linear:latest", [row])
            assert result.tolist() == pytest.approx([answer])
            self.answers += 1
            number += CALLERS

    async def progress(self, count: int) -> None:
        """Return when so many more calls were answered, or one failed."""
        wanted = self.answers + count
        await eventually(
            lambda: self.answers >= wanted or any(task.done() for task in self._tasks), within_s=60
        )
        for task in self._tasks:
            if task.done():
                task.result()

    async def __aenter__(self) -> CallersOfOneModel:
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(CALLERS)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stopping = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=kind is not None)


@pytest.mark.parametrize("abruptly", [False, True], ids=["drained", "cut off"])
def test_a_gateway_that_restarts_under_load_costs_no_answer(stack: ServedStack, abruptly: bool) -> None:
    async def scenario() -> None:
        async with vtsserving.AsyncClient(stack.url) as client, CallersOfOneModel(client) as callers:
            for _ in range(2):
                await callers.progress(100)
                await asyncio.to_thread(stack.restart_gateway, abruptly=abruptly)
            await callers.progress(100)

    asyncio.run(scenario())


def through_a_proxy(
    stack: ServedStack, scenario: Callable[[FaultProxy, vtsserving.AsyncClient], Any]
) -> None:
    async def run(proxy: FaultProxy) -> None:
        async with vtsserving.AsyncClient(proxy.url) as client:
            await scenario(proxy, client)

    with FaultProxy(stack.ports[0]) as proxy:
        asyncio.run(run(proxy))


def test_connections_that_die_under_predictions_cost_no_answer(stack: ServedStack) -> None:
    async def scenario(proxy: FaultProxy, client: vtsserving.AsyncClient) -> None:
        async with CallersOfOneModel(client) as callers:
            for _ in range(5):
                await callers.progress(60)
                proxy.cut()
            await callers.progress(60)
        assert proxy.cuts

    through_a_proxy(stack, scenario)


def test_a_function_whose_connection_dies_is_not_run_again(stack: ServedStack) -> None:
    async def scenario(proxy: FaultProxy, client: vtsserving.AsyncClient) -> None:
        before = await client.count()
        call = asyncio.ensure_future(client.never(1))
        async with vtsserving.AsyncClient(stack.url) as other:
            while await other.count() == before:
                await asyncio.sleep(0.01)
            proxy.cut()
            with pytest.raises(GatewayUnavailable, match="broke"):
                await call
            assert await other.count() == before + 1

    through_a_proxy(stack, scenario)


def test_a_server_that_is_not_there_yet_and_one_that_is_killed_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    tag, port = save_model("linear"), free_port()
    argv = [sys.executable, "-m", "vtsserving_cli", "serve", tag, "--port", str(port)]

    async def scenario() -> None:
        async with (
            Supervisor(tmp_path) as supervisor,
            vtsserving.AsyncClient(f"http://127.0.0.1:{port}", retries=1_000) as client,
        ):
            waiting = asyncio.ensure_future(client.wait_until_ready())
            await supervisor.start("serve", Program(argv, os.environ, http_ok(port, "/readyz")))
            await waiting
            async with CallersOfOneModel(client) as callers:
                await callers.progress(100)
                supervisor.kill("serve")
                await supervisor.ready("serve")
                await callers.progress(100)
            assert await supervisor.stop("serve", signal.SIGTERM) == 0

    asyncio.run(scenario())
