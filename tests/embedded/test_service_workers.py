"""A Service in several gateway processes: `serve --workers`, which hands it to them by VTSSERVING_SERVICE."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

import vtsserving
from support.cluster import row_and_answer, save_model
from support.supervisor import Program, Supervisor, command_line, descendants, free_port, http_ok

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SERVICE = """\
import os

import vtsserving
from vtsserving.io import JSON, NumpyNdarray

runner = vtsserving.sklearn.get("linear:latest").to_runner()
svc = vtsserving.Service("flowers", runners=[runner])

@svc.api(input=NumpyNdarray(), output=NumpyNdarray())
def classify(rows):
    return runner.predict.run(rows)

@svc.api(input=None, output=JSON())
def process():
    return os.getpid()
"""


def test_all_workers_serve_the_functions_with_their_models_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    save_model("linear")
    (tmp_path / "service.py").write_text(SERVICE)
    service, port = str(tmp_path / "service.py") + ":svc", free_port()
    argv = [sys.executable, "-m", "vtsserving_cli", "serve", service, "--workers", "2", "--port", str(port)]

    async def ask(number: int) -> tuple[float, int]:
        # A client of its own, so that the connection may go to any of the workers.
        async with vtsserving.AsyncClient(f"http://127.0.0.1:{port}") as client:
            row, _ = row_and_answer(number)
            return float((await client.classify([row]))[0]), await client.process()

    async def scenario() -> None:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start("serve", Program(argv, os.environ, http_ok(port, "/readyz")))
            workers = {
                pid
                for pid in descendants(supervisor.pid("serve"))
                if "vtsserving_gateway" in command_line(pid)
            }
            answered: set[int] = set()
            number = 0
            while answered != workers:
                results = await asyncio.gather(*(ask(one) for one in range(number, number + 8)))
                for one, (answer, pid) in enumerate(results, number):
                    assert answer == pytest.approx(row_and_answer(one)[1])
                    answered.add(pid)
                number += 8
            assert len(workers) == 2
            assert await supervisor.stop("serve", signal.SIGTERM) == 0

    asyncio.run(scenario())
