"""A service whose port another one has says so in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.nats_server import NatsServer


@pytest.mark.parametrize("service", ["gateway", "batcher", "runner"])
def test_a_port_that_is_taken_is_one_line_and_an_exit_code(tmp_path: Path, service: str) -> None:
    server = NatsServer(tmp_path)
    server.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            place = {f"VTSSERVING_{service.upper()}__PORT": str(port)}
            done = subprocess.run(
                [sys.executable, "-m", f"vtsserving_{service}"],
                env={**os.environ, "VTSSERVING_NATS_URL": server.url, **place},
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
    finally:
        server.kill()
    assert done.returncode == 2
    assert f"{service}: cannot listen on 127.0.0.1:{port}" in done.stderr.splitlines()[-1]
    assert "ddress already in use" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
