"""`serve --workers`: several gateways on one socket, which outlive the death of one and end together."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from support.cluster import row_and_answer, save_model
from support.load import Load, Target
from support.supervisor import (
    Program,
    Supervisor,
    command_line,
    descendants,
    free_port,
    http_ok,
)
from support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def gateways(pid: int) -> list[int]:
    return [child for child in descendants(pid) if "vtsserving_gateway" in command_line(child)]


def test_workers_share_the_load_and_one_that_dies_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    tag, port = save_model("linear"), free_port()
    argv = [sys.executable, "-m", "vtsserving_cli", "serve", tag, "--port", str(port), "--workers", "2"]

    async def scenario() -> None:
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start("serve", Program(argv, os.environ, http_ok(port, "/readyz")))
            pid = supervisor.pid("serve")
            before = gateways(pid)
            assert len(before) == 2
            target = Target(port, f"/v1/models/{tag}/predict", 10.0, row_and_answer)
            async with Load.closed(target, clients=16) as load:
                await load.progress(200)
                os.kill(before[0], signal.SIGKILL)
                await load.progress(200)
                await eventually(lambda: len(set(gateways(pid)) - {before[0]}) == 2)
                report = await load.stop()
            assert not report.of("wrong"), report
            left = descendants(pid)
            assert await supervisor.stop("serve", signal.SIGINT) == 0
            assert not [child for child in left if command_line(child)], "children were left behind"

    asyncio.run(scenario())
