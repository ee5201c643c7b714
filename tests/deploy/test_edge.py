"""The edge in front of gateways that come and go: deploy/haproxy.cfg in a real HAProxy, where one can be had."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from support.edge import edge
from support.supervisor import Program, Supervisor, free_port, http_ok

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(120)]

REQUESTS: Final = 400

GATEWAY: Final = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass

ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


async def ask(port: int) -> int:
    """The status of one prediction, on a connection of its own; 0 for none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        body = b"[[1]]"
        writer.write(
            b"POST /v1/models/m/predict HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        status = int((await reader.readline()).split()[1])
        writer.close()
        return status
    except (OSError, IndexError, ValueError):
        return 0


@pytest.mark.parametrize("dead", [1, 2, 4])
def test_gateways_that_vanish_without_a_word_cost_no_request_while_another_one_lives(
    tmp_path: Path, dead: int
) -> None:
    async def scenario() -> Counter[int]:
        statuses: Counter[int] = Counter()
        ports = [free_port() for _ in range(dead + 1)]
        async with Supervisor(tmp_path) as supervisor:
            for port in ports:
                argv = [sys.executable, "-c", GATEWAY, str(port)]
                await supervisor.start(f"gateway {port}", Program(argv, os.environ, http_ok(port, "/readyz")))
            _, front, program = edge(tmp_path, ports)
            await supervisor.start("edge", program)

            async def client() -> None:
                while sum(statuses.values()) < REQUESTS:
                    statuses[await ask(front)] += 1

            async def vanish() -> None:
                while sum(statuses.values()) < REQUESTS // 4:
                    await asyncio.sleep(0.005)
                for port in ports[:dead]:
                    await supervisor.stop(f"gateway {port}", signal.SIGKILL)

            await asyncio.gather(vanish(), *(client() for _ in range(8)))
        return statuses

    statuses = asyncio.run(scenario())
    assert set(statuses) == {200}, statuses
