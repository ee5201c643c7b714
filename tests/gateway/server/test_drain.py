"""Leaving without losing a request: alone, and with another gateway on the same listening socket."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop

from support.backend import entry, rows_spec
from support.nats_server import NatsServer
from support.served_gateway import Client, ServedGateway, get, post, served, wait_until

FUNCTIONS = {("iris", "predict"): lambda X: X.sum(axis=1)}
ENTRIES = [entry("iris", input_specs=rows_spec(4))]
ROW = post(b"[[1,2,3,4]]")
LOOPS = pytest.mark.parametrize(
    "loop", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"]
)
Loop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket that several gateways may share."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as bound:
        yield bound


def shared_fd(listener: socket.socket) -> dict[str, int]:
    return {"fd": os.dup(listener.fileno())}


def start_drain(gateway: ServedGateway) -> concurrent.futures.Future[None]:
    future = asyncio.run_coroutine_threadsafe(gateway.app.drain(), gateway.loop)
    wait_until(lambda: gateway.app.gateway.draining)
    return future


@LOOPS
def test_what_is_under_way_is_answered(loop: Loop) -> None:
    with served(ENTRIES, FUNCTIONS, {"grace_s": 0.2}, loop=loop) as gateway, gateway.connect() as client:
        gateway.run(lambda: setattr(gateway.backend, "hold", True))
        client.send(ROW)
        wait_until(lambda: gateway.backend.held)
        drained = start_drain(gateway)
        with pytest.raises(concurrent.futures.TimeoutError):
            drained.result(0.5)
        gateway.run(gateway.backend.release)
        answer = client.receive()
        assert (answer.json, answer.headers["connection"]) == ([10.0], "close")
        assert client.closed()
        drained.result(5)


@LOOPS
def test_idle_connections_may_ask_once_more_during_the_grace_period(loop: Loop) -> None:
    with (
        served(ENTRIES, FUNCTIONS, {"grace_s": 1.0}, loop=loop) as gateway,
        gateway.connect() as first,
        gateway.connect() as second,
        gateway.connect() as idle,
    ):
        for client in (first, second, idle):
            assert "connection" not in client.ask(ROW).headers
        drained = start_drain(gateway)
        for client, data in ((first, ROW), (second, get("/livez"))):
            answer = client.ask(data)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert client.closed()
        assert not drained.done()
        assert idle.closed()
        drained.result(5)


def test_pipelined_requests_are_all_answered_before_the_connection_closes() -> None:
    with served(ENTRIES, FUNCTIONS, {"grace_s": 0.2}) as gateway, gateway.connect() as client:
        gateway.run(lambda: setattr(gateway.backend, "hold", True))
        client.send(ROW * 10)
        wait_until(lambda: gateway.backend.held)
        start_drain(gateway)
        gateway.run(gateway.backend.release)
        answers = [client.receive() for _ in range(10)]
        assert [answer.json for answer in answers] == [[10.0]] * 10
        assert [answer.headers.get("connection") for answer in answers] == [None] * 9 + ["close"]
        assert client.closed()


def test_a_request_that_is_half_sent_is_finished() -> None:
    with served(ENTRIES, FUNCTIONS, {"grace_s": 0.1}) as gateway, gateway.connect() as client:
        client.send(ROW[:-3])
        wait_until(lambda: gateway.app.gateway.metrics.in_progress)
        drained = start_drain(gateway)
        with pytest.raises(concurrent.futures.TimeoutError):
            drained.result(0.4)
        assert client.ask(ROW[-3:]).json == [10.0]
        drained.result(5)


def test_a_gateway_of_its_own_socket_takes_connections_until_the_grace_period_ends() -> None:
    with served(ENTRIES, FUNCTIONS, {"grace_s": 0.5}) as gateway, gateway.connect() as idle:
        idle.ask(ROW)
        drained = start_drain(gateway)
        answer = gateway.ask(ROW)
        assert (answer.json, answer.headers["connection"]) == ([10.0], "close")
        assert gateway.ask(get("/readyz")).code == "unavailable"
        drained.result(5)
        with pytest.raises(ConnectionRefusedError):
            gateway.connect()


def test_a_gateway_of_this_machine_alone_leaves_at_once_when_nobody_is_connected() -> None:
    with served(ENTRIES, FUNCTIONS, {"grace_s": 20.0}) as gateway:
        gateway.ask(ROW)
        wait_until(lambda: not gateway.app.gateway.connections)
        start_drain(gateway).result(5)


@LOOPS
def test_a_gateway_on_a_shared_socket_leaves_at_once_when_nobody_is_connected(
    loop: Loop, listener: socket.socket
) -> None:
    with served(ENTRIES, FUNCTIONS, {**shared_fd(listener), "grace_s": 60.0}, loop=loop) as gateway:
        start_drain(gateway).result(5)


def test_an_answer_that_never_comes_does_not_hold_the_drain_for_ever() -> None:
    with served(ENTRIES, FUNCTIONS, {"grace_s": 0.1, "drain_s": 0.5, "request_timeout_s": 1.5}) as gateway:
        gateway.run(lambda: setattr(gateway.backend, "hold", True))
        with gateway.connect() as client:
            client.send(ROW)
            wait_until(lambda: gateway.backend.held)
            start_drain(gateway).result(5)
            assert client.closed()


class Load:
    """Clients that ask without pause and count what went wrong; a closed idle connection is reopened."""

    def __init__(self, port: int, clients: int) -> None:
        self.port = port
        self.done = 0
        self.wrong: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, number: int) -> None:
        client: Client | None = None
        while not self._stop.is_set():
            try:
                client = client or Client(self.port)
                answer = client.ask(post(b"[[%d,0,0,0]]" % number))
            except (OSError, EOFError) as error:
                self.wrong.append(repr(error))
                client = None
                continue
            if answer.status != 200 or answer.json != [number]:
                self.wrong.append(f"{answer.status} {answer.body!r}")
            self.done += 1
            if answer.headers.get("connection") == "close":
                client.socket.close()
                client = None
        if client is not None:
            client.socket.close()


@pytest.mark.slow
@LOOPS
def test_gateways_that_replace_each_other_on_one_socket_lose_nothing(
    listener: socket.socket, loop: Loop
) -> None:
    with Load(listener.getsockname()[1], 16) as load:
        running = ServedGateway(ENTRIES, FUNCTIONS, {**shared_fd(listener), "grace_s": 0.5}, loop=loop)
        running.start()
        for _ in range(4):
            replacement = ServedGateway(
                ENTRIES, FUNCTIONS, {**shared_fd(listener), "grace_s": 0.5}, loop=loop
            )
            replacement.start()
            start_drain(running).result(10)
            running.stop()
            running = replacement
        before = load.done
        wait_until(lambda: load.done > before + 100)
    running.stop()
    assert load.wrong == []
    assert load.done > 500


def test_the_process_drains_on_sigterm_and_exits_0(tmp_path: Path, listener: socket.socket) -> None:
    server = NatsServer(tmp_path)
    server.start()
    environment = {
        **os.environ,
        "VTSSERVING_NATS_URL": server.url,
        "VTSSERVING_GATEWAY__FD": str(listener.fileno()),
        "VTSSERVING_GATEWAY__GRACE_S": "0.3",
    }
    command = [sys.executable, "-m", "vtsserving_gateway"]
    process = subprocess.Popen(
        command, env=environment, pass_fds=[listener.fileno()], stderr=subprocess.PIPE, text=True
    )
    try:
        port = listener.getsockname()[1]
        with Client(port) as client:
            assert client.ask(get("/livez")).json == {"live": True}
            answer = client.ask(get("/readyz"))
            assert (answer.code, answer.status) == ("unavailable", 503)
            started_s = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert client.closed()
        assert process.wait(10) == 0
        assert time.monotonic() - started_s < 3
    finally:
        process.kill()
        _, errors = process.communicate()
        server.kill()
    assert "Traceback" not in errors, errors


@pytest.mark.parametrize(
    ("port", "message"), [("x", "VTSSERVING_GATEWAY__PORT"), ("70000", "VTSSERVING_GATEWAY__PORT")]
)
def test_a_bad_setting_is_named(port: str, message: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "vtsserving_gateway"],
        env={**os.environ, "VTSSERVING_GATEWAY__PORT": port},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr


def test_health_exits_0_when_ready_and_1_when_not() -> None:
    def health(port: int) -> int:
        command = [sys.executable, "-m", "vtsserving_gateway", "health"]
        environment = {
            **os.environ,
            "VTSSERVING_GATEWAY__PORT": str(port),
            "VTSSERVING_GATEWAY__HOST": "0.0.0.0",
        }
        return subprocess.run(
            command, env=environment, capture_output=True, timeout=20, check=False
        ).returncode

    with served(ENTRIES, FUNCTIONS) as gateway:
        assert health(gateway.port) == 0
        gateway.run(lambda: setattr(gateway.app.gateway, "draining", True))
        assert health(gateway.port) == 1
