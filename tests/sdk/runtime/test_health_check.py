"""`python -m vtsserving_... health`, as container engines call it every few seconds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from threading import Thread

import pytest

from support.supervisor import free_port
from vtsserving._runtime.health import HealthServer

SERVICES = ("gateway", "store", "batcher", "runner")
HEAVY = ("pydantic", "fastapi", "numpy", "uvicorn", "asyncio")


class ServiceInReadiness:
    """Something on a port that says whether it is ready."""

    def __init__(self) -> None:
        self.is_ready = True
        self._loop = asyncio.new_event_loop()
        self._server = HealthServer("127.0.0.1", 0, lambda: self.is_ready, lambda: b"")
        self._thread = Thread(target=self._loop.run_forever)

    @property
    def port(self) -> int:
        return self._server.port

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def running() -> Iterator[ServiceInReadiness]:
    service = ServiceInReadiness()
    service.start()
    yield service
    service.stop()


def check(service: str, port: int | str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, f"VTSSERVING_{service.upper()}__PORT": str(port), **more}
    command = [sys.executable, "-m", f"vtsserving_{service}", "health"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("service", SERVICES)
def test_it_ends_with_0_when_the_service_is_ready_and_with_1_when_it_is_not(
    service: str, running: ServiceInReadiness
) -> None:
    ready = check(service, running.port, **{f"VTSSERVING_{service.upper()}__HOST": "0.0.0.0"})
    assert (ready.returncode, ready.stderr) == (0, "")
    running.is_ready = False
    not_ready = check(service, running.port)
    assert not_ready.returncode == 1
    assert not_ready.stderr == f"http://127.0.0.1:{running.port}/readyz answered 503\n"


def test_nobody_there_is_one_line_that_says_so() -> None:
    nobody = check("gateway", free_port())
    assert nobody.returncode == 1
    assert "does not answer" in nobody.stderr
    assert nobody.stderr.count("\n") == 1


def test_a_port_that_is_none_is_one_line_that_names_the_variable() -> None:
    wrong = check("store", "http")
    assert wrong.returncode == 1
    assert wrong.stderr == "VTSSERVING_STORE__PORT is 'http', which is no port\n"


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import runpy, sys; sys.argv[1:] = ['health']\n"
        "try: runpy.run_module('vtsserving_runner', run_name='__main__')\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    env = {**os.environ, "VTSSERVING_RUNNER__PORT": str(free_port())}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("service", SERVICES)
def test_it_asks_the_port_that_the_service_listens_on_by_default(service: str) -> None:
    from vtsserving._runtime.health_check import DEFAULT_PORTS

    settings = import_module(f"vtsserving_{service}.settings")
    if service == "store":
        own = settings.read_settings().store
    else:
        own = getattr(settings, f"{service.capitalize()}Settings")()
    assert own.port == DEFAULT_PORTS[service]
