"""The product as it runs in production: nats-server, runner, batcher and gateway as processes of their own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
from sklearn.linear_model import LinearRegression

import vtsserving.sklearn
from support.fault_proxy import FaultProxy
from support.load import Target
from support.nats_cluster import clustered
from support.nats_server import NatsServer
from support.supervisor import (
    Probe,
    Program,
    Supervisor,
    command_line,
    descendants,
    free_port,
    http_ok,
    listening_socket,
    tcp_open,
)
from vtsserving._model.signature import ModelSignature

WEIGHTS: Final = (1.0, 0.001, 0.000_001, 0.5)
"""Of the served model; every row below has an answer of its own."""


GATEWAY_READY: Final = "gateway_started"
"""The event that a gateway logs when it takes connections."""

DRAINING: Final = "draining"
"""The event that it logs when it takes no more."""


def row_and_answer(number: int) -> tuple[list[float], float]:
    """The row of a request, and what the model answers to it and to no other one."""
    row = [float(number), float(number % 97), float(number % 89), 1.0]
    return row, sum(weight * value for weight, value in zip(WEIGHTS, row, strict=True))


def save_model(name: str, shift: float = 0.0) -> str:
    """Save a model that computes exactly WEIGHTS, plus `shift`, into the local store; returns its tag."""
    model = LinearRegression()
    model.coef_ = np.array(WEIGHTS)
    model.intercept_ = shift
    model.n_features_in_ = len(WEIGHTS)
    signatures = {"predict": ModelSignature(batchable=True)}
    return str(vtsserving.sklearn.save_model(name, model, signatures=signatures).tag)


class Cluster:
    """Four kinds of processes around one model; use it as an asynchronous context manager.

    Attributes:
        supervisor: runs them under the names nats, runner, batcher and gateway, and those that tests add.
        tag: of the model.
        last_start_s: when the last of `starts` was started, on the monotonic clock.
        boot_s: how long the processes took to be ready: a measure of what else the machine has to do.
        ports: of health and metrics, by the names of runners and batchers.
        proxy: between the nats-server and the process that is named `proxied`.
    """

    proxy: FaultProxy

    def __init__(
        self,
        folder: Path,
        home: Path,
        tag: str,
        *,
        proxied: str = "",
        twins: bool = False,
        buses: int = 1,
        starts: Sequence[str] = (),
        apart_s: float = 0.0,
    ) -> None:
        """Create it, not started.

        Args:
            folder: an existing folder of the test's own, for logs.
            home: VTSSERVING_HOME, with the model in its store.
            tag: the model that the runners preload.
            proxied: name of a process that reaches the nats-server through `proxy`.
            twins: whether there are two gateways, batchers and runners: `gateway` and `gateway-2` and so on.
            buses: how many nats-servers there are, `nats`, `nats-2` and so on; more than one are a cluster.
            starts: the order in which nats, gateway, batcher and runner are started, none waiting for another; by
                default nats first, then all others at once.
            apart_s: how long after each other those are started.
        """
        self.supervisor = Supervisor(folder)
        self.tag = tag
        self.boot_s = 0.0
        self.last_start_s = 0.0
        self.ports: dict[str, int] = {}
        self._starts = starts
        self._apart_s = apart_s
        self._folder = folder
        self._home = home
        self._buses = [NatsServer(folder)]
        if buses > 1:
            self._buses = clustered(folder, buses)
        for server in self._buses:
            server.port = free_port()
        self._proxied = proxied
        self._ends = ("", "-2") if twins else ("",)
        self._listening: socket.socket | None = None

    @property
    def port(self) -> int:
        """Of the gateways; they share one listening socket."""
        assert self._listening is not None
        return int(self._listening.getsockname()[1])

    @property
    def bus_names(self) -> list[str]:
        """The names of the nats-servers at the supervisor."""
        return ["nats", *(f"nats-{number}" for number in range(2, len(self._buses) + 1))]

    @property
    def _proxied_url(self) -> str:
        return f"nats://127.0.0.1:{self.proxy.port}"

    @property
    def nats_url(self) -> str:
        """Of the nats-servers, for tests that speak on the bus themselves."""
        return ",".join(server.url for server in self._buses)

    def target(self, timeout_s: float) -> Target:
        """Where to send load, and what to expect."""
        return Target(self.port, f"/v1/models/{self.tag}/predict", timeout_s, row_and_answer)

    async def start_nats(self) -> None:
        """Start the nats-servers, on ports that they keep when they are restarted."""
        for name, server in zip(self.bus_names, self._buses, strict=True):
            program = Program(server.command(), os.environ, tcp_open(server.port))
            await self.supervisor.start(name, program)

    async def start_runner(self, name: str) -> None:
        """Start a runner and return when its model is warm."""
        await self._start_service(name, "runner", {"VTSSERVING_RUNNER__PRELOAD": self.tag})

    async def start_batcher(self, name: str) -> None:
        """Start a batcher."""
        await self._start_service(name, "batcher", {})

    async def start_gateway(self, name: str) -> None:
        """Start a gateway on the shared listening socket."""
        assert self._listening is not None
        number = self._listening.fileno()
        await self._start_service(
            name, "gateway", {"VTSSERVING_GATEWAY__FD": str(number)}, pass_fds=(number,)
        )

    def model_processes(self, runner: str = "runner") -> list[int]:
        """The process ids of the model processes of a runner; none while it does not run."""
        pid = self.supervisor.running(runner)
        return [] if pid is None else [p for p in descendants(pid) if "worker" in command_line(p)]

    def model_process(self, runner: str = "runner") -> int:
        """The process id of the only model process of a runner."""
        (pid,) = self.model_processes(runner)
        return pid

    async def _start_service(
        self, name: str, service: str, env: dict[str, str], pass_fds: tuple[int, ...] = ()
    ) -> None:
        port = free_port()
        everything = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "VTSSERVING_HOME": str(self._home),
            "VTSSERVING_NATS_URL": self.nats_url if name != self._proxied else self._proxied_url,
            **env,
        }
        ready = http_ok(port, "/readyz")
        if not pass_fds:
            self.ports[name] = port
            everything[f"VTSSERVING_{service.upper()}__PORT"] = str(port)
        else:
            ready = self._said_ready(name)
        argv = [sys.executable, "-m", f"vtsserving_{service}"]
        await self.supervisor.start(name, Program(argv, everything, ready, pass_fds))

    def _said_ready(self, name: str) -> Probe:
        """A probe for one of several gateways on one socket: whether it said that it takes connections, and still does.

        Its lives are told apart by their process ids, for one may end before it says anything.
        """

        async def probe() -> bool:
            mark = f'"pid": {self.supervisor.running(name)}}}'
            lines = [line for line in self.supervisor.log(name).splitlines() if line.endswith(mark)]
            said = [
                event for event in (GATEWAY_READY, DRAINING) if any(f'"{event}"' in line for line in lines)
            ]
            return said == [GATEWAY_READY]

        return probe

    async def __aenter__(self) -> Cluster:
        self._listening = listening_socket()
        try:
            self.proxy = FaultProxy(self._buses[0].port).start()
            if self._starts:
                await self._start_one_by_one()
                return self
            await self.start_nats()
            began_s = time.monotonic()
            await asyncio.gather(
                *(self.start_runner(f"runner{end}") for end in self._ends),
                *(self.start_batcher(f"batcher{end}") for end in self._ends),
                *(self.start_gateway(f"gateway{end}") for end in self._ends),
            )
            self.boot_s = time.monotonic() - began_s
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def _start_one_by_one(self) -> None:
        starts = {
            "nats": self.start_nats,
            "gateway": lambda: self.start_gateway("gateway"),
            "batcher": lambda: self.start_batcher("batcher"),
            "runner": lambda: self.start_runner("runner"),
        }
        starting = []
        for name in self._starts:
            self.last_start_s = time.monotonic()
            starting.append(asyncio.create_task(starts[name]()))
            await asyncio.sleep(self._apart_s)
        await asyncio.gather(*starting)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.supervisor.__aexit__(kind, error, trace)
        self.proxy.close()
        if self._listening is not None:
            self._listening.close()
