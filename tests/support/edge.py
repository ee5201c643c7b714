"""What stands in front of the gateways: HAProxy with deploy/haproxy.cfg where it can be had, else a proxy of the tests.

Both ask each gateway for /readyz every half second, send each request to one that is ready, and send a prediction once
more where the connection breaks before an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from support.source_tree import REPOSITORY
from support.supervisor import Program, free_port, http_ok, tcp_open

CONFIG: Final = REPOSITORY / "deploy" / "haproxy.cfg"
UNPACKED: Final = REPOSITORY / "build" / "tools" / "haproxy"
CHECK_S: Final = 0.5
TRIES: Final = 6


def haproxy() -> tuple[str, dict[str, str]] | None:
    """The program and its environment: on PATH, or unpacked by scripts/haproxy.sh; None if there is none."""
    installed = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if installed is not None:
        return installed, dict(os.environ)
    program = UNPACKED / "usr" / "sbin" / "haproxy"
    libraries = ":".join(str(path.parent) for path in UNPACKED.glob("usr/lib/*/liblua*"))
    return (str(program), {**os.environ, "LD_LIBRARY_PATH": libraries}) if program.exists() else None


def edge(folder: Path, gateways: Sequence[int]) -> tuple[str, int, Program]:
    """An edge before gateways, which need not run yet.

    Args:
        folder: for its configuration.
        gateways: their ports on 127.0.0.1.

    Returns:
        What it is, its port for predictions, and the program to start.
    """
    port, found = free_port(), haproxy()
    if found is None:
        argv = [sys.executable, "-m", "support.edge", str(port), *map(str, gateways)]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY / "tests")}
        return "a proxy of the tests", port, Program(argv, env, tcp_open(port))
    program, env = found
    path = folder / "haproxy.cfg"
    path.write_text(config(port, gateways))
    return "haproxy", port, Program([program, "-db", "-f", str(path)], env, tcp_open(port))


def config(port: int, gateways: Sequence[int]) -> str:
    """deploy/haproxy.cfg for gateways on ports of this machine, where no name server of Docker is."""
    text = CONFIG.read_text()
    text = re.sub(r"^resolvers docker\n(?: .*\n)+", "", text, flags=re.MULTILINE)
    servers = [f"    server gateway{i} 127.0.0.1:{gateway}" for i, gateway in enumerate(gateways)]
    changes = {
        "resolvers docker init-addr libc,none ": "",
        "    server-template gateway 16 gateway:3000": "\n".join(servers),
        "    server-template store 8 store:3001\n": "",
        "bind :3000": f"bind 127.0.0.1:{port}",
        "bind :3001": f"bind 127.0.0.1:{free_port()}",
        "127.0.0.1:8404": f"127.0.0.1:{free_port()}",
    }
    for before, after in changes.items():
        assert before in text, f"{CONFIG} has no {before!r} any more"
        text = text.replace(before, after)
    return text


# --- the proxy of the tests ------------------------------------------------------------------------------------------


class _Proxy:
    """Passes requests with a length, and answers with a length, as the load of the tests has them."""

    def __init__(self, gateways: Sequence[int]) -> None:
        self._gateways = gateways
        self._ready: list[int] = []
        self._turn = 0

    async def check_for_ever(self) -> None:
        """Look which gateways are ready."""
        while True:
            ready = await asyncio.gather(*(http_ok(port, "/readyz")() for port in self._gateways))
            self._ready = [port for port, is_ready in zip(self._gateways, ready, strict=True) if is_ready]
            await asyncio.sleep(CHECK_S)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle one client."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                request = await _message(reader)
                writer.write(await self._answer(request))
                await writer.drain()
        writer.close()

    async def _answer(self, request: bytes) -> bytes:
        for _ in range(TRIES):
            for port in self._in_turn():
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    return await _ask(port, request)
            await asyncio.sleep(CHECK_S)
        return b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"

    def _in_turn(self) -> list[int]:
        ready = self._ready or list(self._gateways)
        self._turn += 1
        first = self._turn % len(ready)
        return [*ready[first:], *ready[:first]]


async def _ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return (await _message(reader)).replace(b"connection: close\r\n", b"")
    finally:
        writer.close()


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return head + await reader.readexactly(int(length.group(1)) if length else 0)


async def _main(port: int, gateways: Sequence[int]) -> None:
    proxy = _Proxy(gateways)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", port)
    async with server:
        await proxy.check_for_ever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), [int(word) for word in sys.argv[2:]]))
