"""`python -m vtsserving_runner` over a real nats-server: its health, its signals, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.nats_server import NatsServer
from support.runner_models import GATE, HANG, calls_of, open_gate, save, trouble
from support.scripted_batcher import ScriptedBatcher
from support.supervisor import free_port
from support.waiting import eventually
from support.wire_frames import loaded
from vtsserving._bus.nats import NatsBus
from vtsserving._local_store.model import Model
from vtsserving._runtime.health_check import health_check
from vtsserving._wire import frames, subjects

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> NatsServer:
    return NatsServer(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return save("trouble", trouble(tmp_path))


class RunnerProcess:
    """The service as a child of the test."""

    def __init__(self, nats_port: int, **settings: str) -> None:
        self.port = free_port()
        self.env = {
            **os.environ,
            "VTSSERVING_NATS_URL": f"nats://127.0.0.1:{nats_port}",
            "VTSSERVING_RUNNER__PORT": str(self.port),
            **{f"VTSSERVING_RUNNER__{name.upper()}": value for name, value in settings.items()},
        }
        self.process = subprocess.Popen([sys.executable, "-m", "vtsserving_runner"], env=self.env)

    def health(self) -> int:
        command = [sys.executable, "-m", "vtsserving_runner", "health"]
        return subprocess.run(command, env=self.env, stderr=subprocess.DEVNULL, check=False).returncode

    def ready(self) -> bool:
        return health_check("127.0.0.1", self.port) == 0

    async def end(self) -> int:
        return await asyncio.to_thread(self.process.wait, 20)


@contextmanager
def runner_process(nats_port: int, **settings: str) -> Iterator[RunnerProcess]:
    runner = RunnerProcess(nats_port, **settings)
    try:
        yield runner
    finally:
        runner.process.kill()
        runner.process.wait()


async def meet(bus: NatsBus, tag: str = "") -> ScriptedBatcher:
    """A batcher for the first runner that is heard, when it has the model."""
    beats: list[frames.Heartbeat] = []
    await bus.subscribe(
        subjects.heartbeat("runner"),
        lambda message: beats.append(frames.decode_as(frames.Heartbeat, message.payload)),
    )
    await eventually(lambda: any(not tag or tag in loaded(beat) for beat in beats), within_s=20)
    return await ScriptedBatcher(bus, beats[-1].id).start()


def over_nats(server: NatsServer, scenario: Callable[[NatsBus], Awaitable[None]]) -> None:
    async def main() -> None:
        bus = await NatsBus.connect(server.url, timeout_s=10)
        try:
            await scenario(bus)
        finally:
            await bus.close()

    asyncio.run(main())


def call(first: float) -> tuple[np.ndarray[Any, Any]]:
    return (np.array([[first]]),)


def test_sigterm_answers_what_was_taken_and_exits_0(server, model, tmp_path):
    with server, runner_process(server.port, preload="trouble") as runner:

        async def scenario(bus: NatsBus) -> None:
            batcher = await meet(bus, str(model.tag))
            assert runner.health() == 0
            grant = await batcher.load(model)
            sent = batcher.send(model, grant, [call(GATE), call(2.0)])
            await eventually(lambda: calls_of(tmp_path))
            runner.process.send_signal(signal.SIGTERM)
            await batcher.event("gone")
            open_gate(tmp_path)
            assert [a.tolist() for a in await batcher.done(sent)] == [[[2 * GATE]], [[4.0]]]
            assert await runner.end() == 0
            assert runner.health() == 1

        over_nats(server, scenario)


def test_a_killed_runner_takes_its_model_process_with_it_even_when_that_hangs(server, model, tmp_path):
    with server, runner_process(server.port, preload="trouble") as runner:

        async def scenario(bus: NatsBus) -> None:
            batcher = await meet(bus, str(model.tag))
            grant = await batcher.load(model)
            batcher.send(model, grant, [call(HANG)])
            await eventually(lambda: calls_of(tmp_path))
            (child,) = children(runner.process.pid)
            runner.process.kill()
            await runner.end()
            await eventually(lambda: not Path(f"/proc/{child}").exists())

        over_nats(server, scenario)


def test_a_runner_waits_for_the_bus_and_for_its_model(server, tmp_path):
    with server:
        pass  # it has a port now, and nobody listens there
    with runner_process(server.port, preload="late") as runner:
        assert not runner.ready()
        with server:

            async def scenario(bus: NatsBus) -> None:
                await meet(bus)
                assert not runner.ready()
                model = save("late", trouble(tmp_path))
                await meet(bus, str(model.tag))
                await eventually(runner.ready)

            over_nats(server, scenario)
            assert runner.process.poll() is None


def test_sigterm_ends_a_runner_that_has_no_bus(server):
    with server:
        pass
    with runner_process(server.port) as runner:
        # Before its handler is there, the signal would end it as it ends any process.
        asyncio.run(eventually(lambda: handles_sigterm(runner.process.pid)))
        runner.process.send_signal(signal.SIGTERM)
        assert asyncio.run(runner.end()) == 0


def test_a_bad_setting_is_named_and_exits_2(server):
    result = subprocess.run(
        [sys.executable, "-m", "vtsserving_runner"],
        env={**os.environ, "VTSSERVING_RUNNER__MODEL_ENVIRONMENT": "PATH,MY_API_TOKEN"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "VTSSERVING_RUNNER__MODEL_ENVIRONMENT" in result.stderr
    assert "MY_API_TOKEN" in result.stderr


def children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def handles_sigterm(pid: int) -> bool:
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    return bool(int(status["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1)
