"""Two gateways, batchers and runners that are short of something: the bus, time to compute, memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import pytest

from support.cluster import save_model
from support.load import Answer, Load, Report
from support.proofs import Proof
from support.runner_models import GATE, calls_of, open_gate, save, trouble
from support.running_cluster import RunningCluster, own_home, running
from support.supervisor import descendants
from support.two_of_each import LOAD_TIMEOUT_S, Caller, check, record
from support.waiting import eventually
from vtsserving._inference.pending_queue import BUS_WAIT_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

REFUSED_S: Final = 1.0
"""How long at most a request is kept that nobody can compute because the bus is gone."""

BACK_S: Final = 1.0
"""After so long there is service again when a dead nats-server is back."""

BUSLESS_TIMEOUT_S: Final = 5.0
"""Deadline of the load on a bus that dies; what is under way then waits no longer."""

NOTICED_S: Final = 3.0
"""After so long a nats-server that hangs is noticed, and that it goes on."""


SLOW_BATCH_ROWS: Final = 2
SLOW_TIMEOUT_S: Final = 2.0

HEALED_S: Final = 5.0
"""So long after models were slow, latencies are what they were."""

REFUSALS: Final = ("503 overloaded", "503 queue_full", "504 deadline_exceeded")
"""At admission, and when it had to be admitted before anybody knew how slow the model has become."""

MEMORY_BYTES: Final = 6 << 30
"""Address space that model processes may have while memory is short; more than what they use, less than they try."""

CATCHES, IGNORES = 701.0, 702.0
"""First values of a row for which `hungry` wants too much memory, in Python and in native code."""


def slowing(folder: Path) -> Any:
    """The model of `row_and_answer`; a batch takes 10 ms, ten times as much while there is a file `slow`."""
    slow = str(folder / "slow")

    class Slowing:
        def predict(self, rows: Any) -> Any:
            import os
            import time

            import numpy as np

            time.sleep(0.1 if os.path.exists(slow) else 0.01)
            return rows @ np.array([1.0, 0.001, 0.000_001, 0.5])

    return Slowing()


def hungry() -> Any:
    """Doubles its input, unless a row has it ask for 8 GiB."""

    class Hungry:
        def predict(self, x: Any) -> Any:
            import ctypes

            import numpy as np

            x = np.asarray(x)  # lists stay lists where they come as JSON
            if 701.0 in x[:, 0]:
                return np.zeros((1 << 30, 1))
            if 702.0 in x[:, 0]:
                libc = ctypes.CDLL(None)
                libc.malloc.restype = ctypes.c_void_p
                # Like a library that does not look whether it got what it asked for.
                ctypes.memset(libc.malloc(ctypes.c_size_t(1 << 33)), 0, 1)
            return x * 2

    return Hungry()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """The cluster of all tests here."""
    folder, home = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("home")
    with own_home(home):
        tag = save_model("linear")
        save("plain", trouble(folder))
        save("slowing", slowing(folder), options={"max_batch_size": SLOW_BATCH_ROWS})
        save("hungry", hungry())
    with running(folder, home, tag) as cluster:
        yield cluster


def per_s(proof: Proof) -> int:
    """Requests a second that are sent throughout."""
    return proof.count(full=200, quick=60)


@pytest.mark.alone
@pytest.mark.prove
def test_while_nats_server_is_dead_requests_are_refused_within_a_second_and_served_a_second_after(
    two: RunningCluster, proof: Proof
) -> None:
    supervisor = two.cluster.supervisor

    async def scenario() -> tuple[Report, float, float]:
        async with Load.opened(two.cluster.target(BUSLESS_TIMEOUT_S), per_s=per_s(proof)) as load:
            await load.progress(60)
            pid = supervisor.pid("nats")
            supervisor.kill("nats", down_s=2.0)
            killed_s = time.monotonic()
            await eventually(lambda: supervisor.running("nats") not in (None, pid))
            await supervisor.ready("nats")
            back_s = time.monotonic()
            await load.progress(100)
            await asyncio.sleep(BACK_S)
            return await load.stop(), killed_s, back_s

    report, killed_s, back_s = two.run(scenario())
    print(report)
    gap = [a for a in report.answers if killed_s + report.stall_s < a.began_s < back_s - REFUSED_S]
    worst_s = max(answer.latency_s for answer in gap)
    recovery_s = report.recovery_s(back_s)
    record(
        proof, "two of each, nats-server dead for 2 s", report, refused_in_s=worst_s, recovery_s=recovery_s
    )
    check(report)
    assert not report.of("lost"), report
    assert all(answer.detail.startswith("503 ") and answer.retry_after for answer in gap), report
    assert worst_s < REFUSED_S + report.stall_s, report
    assert recovery_s < BACK_S + report.stall_s, report


def test_nothing_that_expired_while_nats_server_was_dead_is_computed_afterwards(two: RunningCluster) -> None:
    supervisor = two.cluster.supervisor
    waiting, late = [2_000.0 + i for i in range(8)], [3_000.0 + i for i in range(8)]

    async def scenario() -> tuple[list[Any], list[Any]]:
        async with Caller(two) as caller:
            await caller.call("plain", 1.0)
            gated = asyncio.create_task(caller.call("plain", GATE))
            await eventually(lambda: [GATE] in calls_of(two.folder))
            queued = [asyncio.create_task(caller.call("plain", first, timeout_s=1.0)) for first in waiting]
            await caller.pass_through()
            pid = supervisor.pid("nats")
            supervisor.kill("nats", down_s=2.0)
            await eventually(lambda: supervisor.running("nats") is None)
            refused = await asyncio.gather(*(caller.call("plain", first, timeout_s=1.0) for first in late))
            expired = await asyncio.gather(*queued)
            await eventually(lambda: supervisor.running("nats") not in (None, pid))
            await supervisor.ready("nats")
            open_gate(two.folder)
            await gated
            await eventually_right(caller, 3.0)
            return expired, refused

    expired, refused = two.run(scenario())
    (two.folder / "gate").unlink()
    assert {answer for answer in expired if isinstance(answer, float)} == set(), expired
    assert {answer for answer in refused if isinstance(answer, float)} == set(), refused
    computed = {first for call in calls_of(two.folder) for first in call}
    assert not computed & {*waiting, *late}


async def eventually_right(caller: Caller, first: float) -> None:
    """Return when a call to `plain` has its right answer."""
    until_s = time.monotonic() + 30.0
    while (answer := await caller.call("plain", first)) != first:
        assert time.monotonic() < until_s, answer
        await asyncio.sleep(0.05)


class Look(NamedTuple):
    """What one gateway said about itself, and when it was asked."""

    asked_s: float
    ready: bool


class Watch:
    """Asks each of the two gateways whether it is ready, again and again, on a connection of its own.

    Attributes:
        looks: what they said, by the part of the request ids that is each gateway's own.
    """

    def __init__(self, port: int) -> None:
        self.looks: dict[str, list[Look]] = {}
        self._url = f"http://127.0.0.1:{port}"
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> None:
        """Find both gateways behind the socket that they share, and begin."""
        while len(self.looks) < 2:
            clients = [httpx2.AsyncClient(base_url=self._url, timeout=LOAD_TIMEOUT_S) for _ in range(16)]
            for client, answer in zip(
                clients, await asyncio.gather(*(client.get("/livez") for client in clients)), strict=True
            ):
                gateway = answer.headers["x-request-id"].partition("-")[0]
                if gateway in self.looks:
                    await client.aclose()
                    continue
                self.looks[gateway] = []
                self._tasks.append(asyncio.create_task(self._ask(client, self.looks[gateway])))

    async def stop(self) -> None:
        """Ask no more."""
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _ask(self, client: httpx2.AsyncClient, looks: list[Look]) -> None:
        try:
            while not self._stopping:
                asked_s = time.monotonic()
                answer = await client.get("/readyz")
                looks.append(Look(asked_s, answer.status_code == 200))
                await asyncio.sleep(0.05)
        finally:
            await client.aclose()


@pytest.mark.alone
@pytest.mark.prove
def test_a_nats_server_that_hangs_is_noticed_in_three_seconds_and_so_is_its_return(
    two: RunningCluster, proof: Proof
) -> None:
    async def scenario() -> tuple[Report, Watch, float, float]:
        watch = Watch(two.cluster.port)
        await watch.start()
        async with Load.opened(two.cluster.target(BUSLESS_TIMEOUT_S), per_s=per_s(proof)) as load:
            await load.progress(60)
            pid = two.cluster.supervisor.pid("nats")
            os.kill(pid, signal.SIGSTOP)
            stopped_s = time.monotonic()
            await asyncio.sleep(proof.count(full=30, quick=5))
            os.kill(pid, signal.SIGCONT)
            resumed_s = time.monotonic()
            await load.progress(200)
            report = await load.stop()
        await watch.stop()
        return report, watch, stopped_s, resumed_s

    report, watch, stopped_s, resumed_s = two.run(scenario())
    noticed_s, healed_s = 0.0, report.recovery_s(resumed_s)
    for looks in watch.looks.values():
        blind = [look.asked_s for look in looks if look.ready and stopped_s < look.asked_s < resumed_s]
        noticed_s = max([noticed_s, *(asked_s - stopped_s for asked_s in blind)])
        red = [look.asked_s for look in looks if not look.ready and look.asked_s > resumed_s]
        healed_s = max([healed_s, *(asked_s - resumed_s for asked_s in red)])
        assert any(not look.ready for look in looks), "one gateway never said that it is not ready"
    record(
        proof,
        "two of each, nats-server stopped and continued",
        report,
        noticed_s=noticed_s,
        healed_s=healed_s,
    )
    check(report)
    assert not report.of("lost"), report
    noticed_by_s = stopped_s + NOTICED_S + report.stall_s
    meanwhile = [answer for answer in report.answers if noticed_by_s < answer.began_s < resumed_s]
    # In the first moments without the bus requests wait for it, and are served if it is back in time.
    refused = [answer for answer in meanwhile if answer.began_s > noticed_by_s + BUS_WAIT_S]
    assert refused
    assert all(answer.detail.startswith("503 ") for answer in refused), report
    assert max(answer.latency_s for answer in meanwhile) < REFUSED_S + report.stall_s, report
    assert noticed_s < NOTICED_S + report.stall_s, report
    assert healed_s < NOTICED_S + report.stall_s, report


def p99_s(answers: list[Answer]) -> float:
    """The latency that 99 % of answers did not exceed."""
    latencies_s = sorted(answer.latency_s for answer in answers)
    return latencies_s[len(latencies_s) * 99 // 100]


@pytest.mark.alone
@pytest.mark.prove
def test_a_model_that_is_ten_times_slower_for_a_while_is_as_fast_as_before_five_seconds_later(
    two: RunningCluster, proof: Proof
) -> None:
    slow = two.folder / "slow"
    target = replace(two.cluster.target(SLOW_TIMEOUT_S), path="/v1/models/slowing/predict")

    async def for_a_while(for_s: float) -> Report:
        async with Load.opened(target, per_s=per_s(proof)) as load:
            await asyncio.sleep(for_s)
            return await load.stop()

    async def scenario() -> tuple[Report, Report, Report]:
        async with Load.closed(replace(target, timeout_s=LOAD_TIMEOUT_S), clients=4) as load:
            await load.progress(20)
            await load.stop()
        base = await for_a_while(proof.count(full=10, quick=2))
        slow.touch()
        during = await for_a_while(proof.count(full=20, quick=3))
        slow.unlink()
        return base, during, await for_a_while(HEALED_S)

    base, during, after = two.run(scenario())
    print(base, during, after, sep="\n")
    healed = [
        answer for answer in after.answers if answer.began_s > after.answers[0].began_s + HEALED_S - 1.5
    ]
    base_s, after_s = p99_s(base.answers), p99_s(healed)
    record(
        proof,
        "two of each, a model ten times slower",
        during,
        base_p99_s=base_s,
        slow_p99_s=p99_s(during.answers),
        after_p99_s=after_s,
    )
    for report in (base, during, after):
        check(report)
        assert not report.of("lost"), report
    refused = during.of("refused")
    assert refused, "it was not slow enough to refuse anything"
    assert during.of("right"), during
    assert all(answer.detail in REFUSALS for answer in refused), during
    turned_away = [answer for answer in refused if answer.detail.startswith("503 ")]
    assert turned_away, during
    assert all(int(answer.retry_after) >= 1 for answer in turned_away), during
    assert {answer.kind for answer in healed} == {"right"}, after
    # Each of the processes on the way may be kept waiting by the machine as the load was.
    assert after_s < 1.5 * base_s + 0.005 + 4 * after.stall_s, f"{after_s:.3f} s, and {base_s:.3f} s before"


@contextlib.contextmanager
def short_of_memory(two: RunningCluster) -> Iterator[None]:
    """Limit the address space of the runners, and with it that of the model processes that they start."""

    def limit(bytes: int) -> None:
        for name in ("runner", "runner-2"):
            runner = two.cluster.supervisor.pid(name)
            for pid in (runner, *descendants(runner)):
                resource.prlimit(pid, resource.RLIMIT_AS, (bytes, hard))

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit(MEMORY_BYTES)
    try:
        yield
    finally:
        limit(hard)


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        pytest.param(CATCHES, "model_failed", id="in Python"),
        pytest.param(IGNORES, "model_crashed", id="in native code, which ends the process"),
    ],
)
def test_a_request_that_takes_too_much_memory_fails_alone(
    two: RunningCluster, wish: float, code: str
) -> None:
    async def scenario() -> tuple[Any, list[Any], Report]:
        async with Caller(two) as caller:
            assert await caller.call("hungry", 1.0) == 1.0
            with short_of_memory(two):
                async with Load.closed(two.cluster.target(LOAD_TIMEOUT_S), clients=2) as load:
                    await load.progress(20)
                    answer = await caller.call("hungry", wish)
                    others = [await caller.call("hungry", 10.0 + i) for i in range(4)]
                    await load.progress(20)
                    return answer, others, await load.stop()

    answer, others, siblings = two.run(scenario())
    assert answer == code
    assert others == [10.0 + i for i in range(4)]
    check(siblings)
    assert len(siblings.of("right")) == len(siblings.answers), siblings
