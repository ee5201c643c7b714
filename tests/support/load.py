"""Load on a gateway where every answer is checked: no two requests ask for the same, so none can get another's answer.

A request is *right* or *wrong* by its value, *refused* by an HTTP status, or *lost* when its connection broke.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple

Oracle = Callable[[int], tuple[list[float], float]]
"""Gives, for the number of a request, its row and the right answer."""

Kind = Literal["right", "wrong", "refused", "lost"]

ALLOWANCE_S: Final = 0.25
"""How much later than its deadline a request may end at the client."""

_HANG_S: Final = 5.0
"""How long after its deadline a request is given up, so that a test with a hung one ends."""

_TICK_S: Final = 0.02
_TOLERANCE: Final = 1e-9


class Answer(NamedTuple):
    """What became of one request; times are of the monotonic clock."""

    number: int
    began_s: float
    ended_s: float
    kind: Kind
    detail: str
    batch_rows: int
    version: str = ""
    retry_after: str = ""

    @property
    def latency_s(self) -> float:
        """From before it was sent until its last byte."""
        return self.ended_s - self.began_s


@dataclass(frozen=True)
class Target:
    """Where the load goes.

    Attributes:
        port: of the gateway, on 127.0.0.1.
        path: of the predict route.
        timeout_s: each request's deadline, sent as X-Request-Timeout.
        oracle: rows and right answers.
        shift: what the version that answered adds to the right answer, by its name; for models that are replaced.
    """

    port: int
    path: str
    timeout_s: float
    oracle: Oracle
    shift: Callable[[str], float] = lambda version: 0.0


class Report:
    """All answers of one load, and the questions that tests ask of them.

    Attributes:
        answers: in the order in which the requests began.
        timeout_s: the deadline of each.
        stall_s: how long the load itself was kept from running at worst, by whatever else the machine does.
    """

    def __init__(self, answers: Sequence[Answer], timeout_s: float, stall_s: float = 0.0) -> None:
        self.answers = sorted(answers, key=lambda answer: answer.began_s)
        self.timeout_s = timeout_s
        self.stall_s = stall_s

    def of(self, kind: Kind) -> list[Answer]:
        """The answers of one kind."""
        return [answer for answer in self.answers if answer.kind == kind]

    @property
    def late(self) -> list[Answer]:
        """Those that ended later than their deadline and the allowance."""
        limit_s = self.timeout_s + ALLOWANCE_S + self.stall_s
        return [answer for answer in self.answers if answer.latency_s > limit_s]

    def recovery_s(self, fault_s: float, until_s: float = math.inf) -> float:
        """How long after a fault the last request began that did not get its right answer; 0 if all did.

        Args:
            fault_s: when the fault was.
            until_s: when the next one was; what began later is not counted.
        """
        failed = [a.began_s for a in self.answers if a.kind != "right" and fault_s < a.began_s < until_s]
        return max(failed, default=fault_s) - fault_s

    def __repr__(self) -> str:
        kinds = Counter(answer.kind for answer in self.answers)
        details = Counter(answer.detail for answer in self.answers if answer.kind != "right")
        latencies = sorted(answer.latency_s for answer in self.answers)
        worst_s = latencies[-1] if latencies else 0.0
        median_s = latencies[len(latencies) // 2] if latencies else 0.0
        return (
            f"{len(self.answers)} requests: {dict(kinds)}, p50 {median_s * 1e3:.1f} ms,"
            f" worst {worst_s * 1e3:.0f} ms, stall {self.stall_s * 1e3:.0f} ms,"
            f" not right: {dict(details.most_common(8))}"
        )


class Load:
    """Load that runs until it is stopped, or until the context that it was entered for is left.

    Use `closed` for clients that each wait for their answer, `opened` for requests that come whatever happens.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._numbers = iter(range(10**12))
        self._idle: list[_Connection] = []
        self._all: set[_Connection] = set()
        self._answers: list[Answer] = []
        self._stopping = False
        self._stall_s = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._run(self._watch_stalls())

    @classmethod
    def closed(cls, target: Target, *, clients: int) -> Load:
        """Start clients that ask again as soon as they have an answer."""
        load = cls(target)
        for _ in range(clients):
            load._run(load._ask_for_ever())
        return load

    @classmethod
    def opened(cls, target: Target, *, per_s: float) -> Load:
        """Start requests at a fixed rate, each on an idle connection or, if there is none, on a new one."""
        load = cls(target)
        load._run(load._ask_at_rate(per_s))
        return load

    @property
    def right(self) -> int:
        """Right answers so far."""
        return sum(answer.kind == "right" for answer in self._answers)

    @property
    def versions(self) -> Counter[str]:
        """How many right answers each version has given."""
        return Counter(answer.version for answer in self._answers if answer.kind == "right")

    async def progress(self, count: int, *, within_s: float = 30.0) -> None:
        """Return when `count` more right answers are there than now.

        Raises:
            AssertionError: they are not within `within_s`; shows the state of things.
        """
        wanted, deadline_s = self.right + count, time.monotonic() + within_s
        while self.right < wanted:
            if time.monotonic() > deadline_s:
                raise AssertionError(f"no progress: {Report(self._answers, self._target.timeout_s)}")
            await asyncio.sleep(0.01)

    async def stop(self) -> Report:
        """Begin no more requests, wait for those under way, and report."""
        self._stopping = True
        while self._tasks:
            await asyncio.gather(*self._tasks)
        return Report(self._answers, self._target.timeout_s, self._stall_s)

    async def __aenter__(self) -> Load:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._all:
            await connection.closed()

    def _run(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_stalls(self) -> None:
        while not self._stopping:
            began_s = time.monotonic()
            await asyncio.sleep(_TICK_S)
            self._stall_s = max(self._stall_s, time.monotonic() - began_s - _TICK_S)

    async def _ask_for_ever(self) -> None:
        while not self._stopping:
            await self._ask()
            if self._answers[-1].kind != "right":
                await asyncio.sleep(0.02)

    async def _ask_at_rate(self, per_s: float) -> None:
        next_s = time.monotonic()
        while not self._stopping:
            self._run(self._ask())
            next_s += 1 / per_s
            await asyncio.sleep(max(0.0, next_s - time.monotonic()))

    async def _ask(self) -> None:
        number = next(self._numbers)
        row, right = self._target.oracle(number)
        began_s = time.monotonic()
        connection = await self._connection()
        batch_rows, version, retry_after = 0, "", ""
        try:
            exchange = connection.ask(row)
            status, headers, body = await asyncio.wait_for(exchange, self._target.timeout_s + _HANG_S)
            batch_rows = int(headers.get("x-vts-batch-size", 0))
            version = headers.get("x-vts-model", "").partition(":")[2]
            retry_after = headers.get("retry-after", "")
            kind, detail = _judge(status, body, right + self._target.shift(version))
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError, ValueError, IndexError) as e:
            kind, detail = "lost", connection.describe(e)
        ended_s = time.monotonic()
        answer = Answer(number, began_s, ended_s, kind, detail, batch_rows, version, retry_after)
        self._answers.append(answer)
        if connection.usable:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
            await connection.closed()

    async def _connection(self) -> _Connection:
        """An idle connection that the server has not closed meanwhile, or a new one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.at_eof:
                return connection
            self._all.discard(connection)
            await connection.closed()
        connection = _Connection(self._target)
        self._all.add(connection)
        return connection


class _Connection:
    """One keep-alive connection; opened by its first request."""

    def __init__(self, target: Target) -> None:
        self.usable = False
        self._target = target
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._exchanges = 0
        self._stage = "connecting"

    @property
    def at_eof(self) -> bool:
        """Whether the server has closed it."""
        return self._reader is not None and (self._reader.at_eof() or self._reader.exception() is not None)

    async def ask(self, row: list[float]) -> tuple[int, dict[str, str], bytes]:
        """Send one row and return status, headers and body."""
        self.usable = False
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._target.port)
        body = json.dumps([row]).encode()
        self._stage = "sending"
        self._writer.write(
            b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"x-request-timeout: %g\r\ncontent-length: %d\r\n\r\n%b"
            % (self._target.path.encode(), self._target.timeout_s, len(body), body)
        )
        self._stage = "waiting"
        head = await self._reader.readuntil(b"\r\n\r\n")
        self._stage = "reading"
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        answer = await self._reader.readexactly(int(headers["content-length"]))
        self._exchanges += 1
        self.usable = headers.get("connection", "").lower() != "close"
        return status, headers, answer

    def describe(self, error: BaseException) -> str:
        """Where and how an exchange broke."""
        reused = f"reused {self._exchanges} times" if self._exchanges else "new"
        return f"{type(error).__name__} while {self._stage}, connection {reused if self._exchanges < 2 else 'reused'}"

    async def closed(self) -> None:
        """Close it, if it is open, and return when it is closed."""
        self.usable = False
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()


def _judge(status: int, body: bytes, right: float) -> tuple[Kind, str]:
    if status == 200:
        value = json.loads(body)[0]
        if math.isclose(value, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            return "right", ""
        return "wrong", f"{value} instead of {right}"
    try:
        code = json.loads(body)["error"]["code"]
    except (ValueError, KeyError, TypeError):
        code = "no error body"
    return "refused", f"{status} {code}"
