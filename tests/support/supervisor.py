"""Real processes for tests, restarted when they die, as `docker compose` with `restart: always` does it.

Every process has a log file of its own and is ended, by its pid, when the supervisor is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 45.0
RESTART_BACKOFF_S: Final = 0.1
MAX_STILLBIRTHS: Final = 5
"""So many ends while a program is awaited, and it is given up."""
_POLL_S: Final = 0.02
PORT_RANGE: Final = (20_000, 32_000)
"""Where `free_port` looks: from the first, below the second. Linux gives out 32768 and above by itself."""
CLAIMS_KEPT: Final = 128
"""So many of the latest ports stay claimed by this process."""
_claims: Final[deque[socket.socket]] = deque()
_next_port: Final[list[int]] = []

Probe = Callable[[], Awaitable[bool]]


@dataclass
class Program:
    """How to run one process, and what became of it.

    Attributes:
        argv: the command line.
        env: the whole environment.
        ready: whether it can be used now.
        pass_fds: file descriptors that it inherits.
        restart: start it again when it ends unasked.
        down_s: how long after an end it is started again.
        exit_codes: of each end, in order; negative numbers are signals.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    ready: Probe
    pass_fds: Sequence[int] = ()
    restart: bool = True
    down_s: float = RESTART_BACKOFF_S
    exit_codes: list[int] = field(default_factory=list)
    process: asyncio.subprocess.Process | None = None
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Starts programs, keeps them running, signals them by name, collects their logs."""

    def __init__(self, folder: Path) -> None:
        """Create it.

        Args:
            folder: an existing folder of the test's own, for the logs.
        """
        self._folder = folder
        self._programs: dict[str, Program] = {}

    async def start(self, name: str, program: Program) -> None:
        """Run a program under a name and return when it is ready.

        Raises:
            AssertionError: it is not within START_TIMEOUT_S; shows the end of its log.
        """
        assert name not in self._programs, name
        self._programs[name] = program
        await self._spawn(name, program)
        program.keeper = asyncio.create_task(self._keep(name, program))
        await self.ready(name)

    async def ready(self, name: str, *, within_s: float = START_TIMEOUT_S) -> float:
        """Return when a program is ready, with the seconds that it took."""
        began_s = time.monotonic()
        program = self._programs[name]
        ends = len(program.exit_codes)
        while True:
            if program.process is not None and await program.ready():
                return time.monotonic() - began_s
            hopeless = len(program.exit_codes) - ends >= MAX_STILLBIRTHS
            if time.monotonic() - began_s > within_s or hopeless:
                raise AssertionError(f"{name} is not ready after {within_s:g} s:\n{self.log(name)[-4_000:]}")
            await asyncio.sleep(_POLL_S)

    def running(self, name: str) -> int | None:
        """The process id of a program; None while it does not run."""
        process = self._programs[name].process
        return None if process is None else process.pid

    def pid(self, name: str) -> int:
        """The process id of a running program."""
        pid = self.running(name)
        assert pid is not None, f"{name} does not run"
        return pid

    def kill(
        self, name: str, number: signal.Signals = signal.SIGKILL, *, down_s: float = RESTART_BACKOFF_S
    ) -> None:
        """Send a signal to a program; if that ends it, it is started again `down_s` later."""
        self._programs[name].down_s = down_s
        os.kill(self.pid(name), number)

    async def stop(self, name: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End a program for good and return its exit code.

        Raises:
            AssertionError: it did not end within STOP_TIMEOUT_S.
        """
        program = self._programs[name]
        program.restart = False
        if program.process is not None:
            program.process.send_signal(number)
            program.process.send_signal(signal.SIGCONT)
        assert program.keeper is not None
        done, _ = await asyncio.wait({program.keeper}, timeout=STOP_TIMEOUT_S)
        if not done:
            raise AssertionError(f"{name} does not end after {number.name}:\n{self.log(name)[-4_000:]}")
        return program.exit_codes[-1]

    def exit_codes(self, name: str) -> list[int]:
        """The exit codes of a program so far."""
        return self._programs[name].exit_codes

    def log(self, name: str) -> str:
        """What a program wrote to stdout and stderr, over all its lives."""
        path = self._folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def _spawn(self, name: str, program: Program) -> None:
        with self._open_log(name) as log:
            program.process = await asyncio.create_subprocess_exec(
                *program.argv,
                env=dict(program.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=program.pass_fds,
            )

    def _open_log(self, name: str) -> BinaryIO:
        return (self._folder / f"{name}.log").open("ab")

    async def _keep(self, name: str, program: Program) -> None:
        while True:
            assert program.process is not None
            program.exit_codes.append(await program.process.wait())
            program.process = None
            if not program.restart:
                return
            await asyncio.sleep(program.down_s)
            if not program.restart:
                return
            await self._spawn(name, program)

    async def __aenter__(self) -> Supervisor:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in self._programs.values():
            program.restart = False
            if program.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    program.process.kill()
        await asyncio.gather(*(p.keeper for p in self._programs.values() if p.keeper is not None))


def descendants(pid: int) -> list[int]:
    """The process ids of the children of a process, and of theirs."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(word) for word in path.read_text().split()]
                found += children
                waiting += children
    return found


def process_state(pid: int) -> str:
    """What a process does, as ps shows it: `R`, `S` for one that waits, `Z`; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return ""


def command_line(pid: int) -> str:
    """The command line of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses, and that no other process of the tests is given meanwhile.

    Ports come from below those that the kernel gives to whoever asks for any: no outgoing connection takes one between
    this call and the start of the server, nor while the server is down. Each is claimed by a name that all processes
    of the machine see and that the kernel gives back when this process ends; CLAIMS_KEPT are held at a time.

    Raises:
        AssertionError: all ports of the range are in use or claimed.
    """
    first = _next_port.pop() if _next_port else random.SystemRandom().randrange(*PORT_RANGE)
    for port in (*range(first, PORT_RANGE[1]), *range(PORT_RANGE[0], first)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0vtsserving-tests-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        if len(_claims) == CLAIMS_KEPT:
            _claims.popleft().close()
        _claims.append(claim)
        _next_port[:] = [port + 1]
        return port
    raise AssertionError(f"no free port from {PORT_RANGE[0]} to {PORT_RANGE[1]}: end what listens there")


def listening_socket() -> socket.socket:
    """A listening socket that processes can inherit and share."""
    shared = socket.socket()
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.bind(("127.0.0.1", 0))
    shared.listen(1_024)
    return shared


def http_ok(port: int, path: str) -> Probe:
    """A probe: whether GET `path` answers 200 within a second."""

    async def probe() -> bool:
        try:
            return await asyncio.wait_for(_status(port, path), 1) == 200
        except (OSError, asyncio.TimeoutError, ValueError, IndexError):
            return False

    return probe


def tcp_open(port: int) -> Probe:
    """A probe: whether something accepts connections."""

    async def probe() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    return probe


async def _status(port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        return int((await reader.readline()).split()[1])
    finally:
        writer.close()
