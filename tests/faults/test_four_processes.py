"""Crashes and orderly ends of every process under load: no wrong answer, nobody waits past their deadline."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, Protocol

import pytest

from support.cluster import Cluster, save_model
from support.load import Load, Report
from support.proofs import Proof
from support.supervisor import command_line
from support.waiting import eventually

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(580)]

TIMEOUT_S = 3.0
"""Deadline of each request under load."""

RECOVERY_S = 5.0
"""Longest time to full service again."""


def limit_s(cluster: Cluster) -> float:
    """RECOVERY_S, or more on a machine that is so busy that four processes alone take longer to start."""
    return max(RECOVERY_S, 1.5 * cluster.boot_s)


Scenario = Callable[[Cluster], Coroutine[Any, Any, None]]


class Run(Protocol):
    """Runs a scenario on a fresh cluster, one process of it behind the proxy if named."""

    def __call__(self, scenario: Scenario, proxied: str = "") -> None: ...


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def run(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a scenario on a fresh cluster; shows the ends of all logs if it fails."""
    monkeypatch.setenv("VTSSERVING_HOME", str(home))
    tag = save_model("linear")

    async def on_cluster(scenario: Scenario, proxied: str) -> None:
        async with Cluster(tmp_path, home, tag, proxied=proxied) as cluster:
            try:
                await scenario(cluster)
            except BaseException:
                for log in sorted(tmp_path.glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text()[-3_000:]}")
                raise

    return lambda scenario, proxied="": asyncio.run(on_cluster(scenario, proxied))


def in_turn(strike: Callable[[Cluster, str], Coroutine[Any, Any, None]], *names: str) -> Scenario:
    """The same fault for several processes of one cluster, one after the other."""

    async def scenario(cluster: Cluster) -> None:
        for name in names:
            await strike(cluster, name)

    return scenario


def check(report: Report) -> None:
    """What holds under every fault."""
    assert not report.of("wrong"), report
    assert not report.late, f"{report.late[:3]} {report}"


def pid_of(cluster: Cluster, victim: str) -> int:
    return cluster.model_process() if victim == "model process" else cluster.supervisor.pid(victim)


async def replaced(cluster: Cluster, victim: str, old_pid: int) -> None:
    """Return when another process does what a killed one did."""
    if victim == "model process":
        await eventually(lambda: cluster.model_processes() not in ([], [old_pid]), within_s=limit_s(cluster))
    else:
        await eventually(
            lambda: cluster.supervisor.running(victim) not in (None, old_pid), within_s=limit_s(cluster)
        )
        await cluster.supervisor.ready(victim)


@pytest.mark.prove
def test_a_killed_process_costs_no_wrong_answer_and_five_seconds_at_most(run: Run, proof: Proof) -> None:
    async def kill(cluster: Cluster, victim: str) -> None:
        faults_s: list[float] = []
        async with Load.opened(cluster.target(TIMEOUT_S), per_s=proof.count(full=200, quick=100)) as load:
            for _ in range(proof.count(full=5, quick=1)):
                await load.progress(100)
                pid = pid_of(cluster, victim)
                os.kill(pid, signal.SIGKILL)
                faults_s.append(time.monotonic())
                await replaced(cluster, victim, pid)
                await load.progress(200)
            report = await load.stop()
            print(report)
        recovery_s = max(
            report.recovery_s(began_s, ended_s) for began_s, ended_s in pairwise([*faults_s, inf])
        )
        record(proof, f"kill -9 of the {victim}", report, recovery_s=recovery_s)
        assert not report.of("wrong"), report
        assert recovery_s < limit_s(cluster), report
        # Who is connected to a gateway that dies cannot be answered; who connects meanwhile waits for the next one.
        if victim != "gateway":
            check(report)
            assert not report.of("lost"), report

    run(in_turn(kill, "model process", "runner", "batcher", "nats", "gateway"))


@pytest.mark.prove
def test_a_killed_process_with_a_ready_replacement_costs_no_request(run: Run, proof: Proof) -> None:
    async def kill(cluster: Cluster, name: str) -> None:
        start = {"batcher": cluster.start_batcher, "runner": cluster.start_runner}[name]
        names = [name, f"{name}-2"]
        await start(names[1])
        async with Load.opened(cluster.target(10.0), per_s=proof.count(full=200, quick=100)) as load:
            for number in range(proof.count(full=8, quick=2)):
                await load.progress(100)
                victim = names[number % 2]
                pid = cluster.supervisor.pid(victim)
                cluster.supervisor.kill(victim)
                await replaced(cluster, victim, pid)
                await load.progress(200)
            report = await load.stop()
            print(report)
        record(proof, f"kill -9 of the {name}, with a ready replacement", report)
        check(report)
        assert len(report.of("right")) == len(report.answers), report

    run(in_turn(kill, "batcher", "runner"))


@pytest.mark.prove
def test_a_process_that_hangs_for_a_while_costs_no_wrong_answer_and_nobody_waits_past_their_deadline(
    run: Run, proof: Proof
) -> None:
    async def stop_and_continue(cluster: Cluster, victim: str) -> None:
        async with Load.opened(cluster.target(TIMEOUT_S), per_s=proof.count(full=200, quick=100)) as load:
            await load.progress(100)
            pid = pid_of(cluster, victim)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(proof.count(full=15, quick=4))
            os.kill(pid, signal.SIGCONT)
            resumed_s = time.monotonic()
            await load.progress(300)
            report = await load.stop()
            print(report)
        recovery_s = report.recovery_s(resumed_s)
        record(proof, f"{victim} stopped and continued", report, recovery_s=recovery_s)
        check(report)
        assert recovery_s < limit_s(cluster), report
        assert not report.of("lost"), report

    run(in_turn(stop_and_continue, "model process", "runner", "batcher", "nats"))


@pytest.mark.prove
@pytest.mark.parametrize("name", ["gateway", "batcher", "runner"])
def test_a_connection_that_breaks_again_and_again_is_healed_well_before_the_deadline(
    run: Run, proof: Proof, name: str
) -> None:
    async def scenario(cluster: Cluster) -> None:
        async with Load.opened(cluster.target(20.0), per_s=proof.count(full=200, quick=100)) as load:
            await load.progress(100)
            for cut in range(proof.count(full=60, quick=10)):
                cluster.proxy.cut()
                await asyncio.sleep(0.3 + 0.1 * (cut % 7))
            last_s = time.monotonic()
            await load.progress(100)
            report = await load.stop()
            print(report)
        recovery_s = report.recovery_s(last_s)
        worst_s = max(answer.latency_s for answer in report.answers)
        record(proof, f"connection of the {name} cut", report, cuts=cluster.proxy.cuts, worst_s=worst_s)
        check(report)
        assert worst_s < limit_s(cluster), report
        assert recovery_s < limit_s(cluster), report
        assert not report.of("lost"), report

    run(scenario, proxied=name)


@pytest.mark.prove
def test_a_process_that_is_told_to_end_loses_no_accepted_request(run: Run, proof: Proof) -> None:
    async def end(cluster: Cluster, name: str) -> None:
        async with Load.closed(cluster.target(10.0), clients=16) as load:
            for _ in range(proof.count(full=5, quick=1)):
                await load.progress(200)
                pid = cluster.supervisor.pid(name)
                cluster.supervisor.kill(name, signal.SIGTERM)
                await replaced(cluster, name, pid)
                await load.progress(200)
            report = await load.stop()
            print(report)
        record(proof, f"SIGTERM of the {name}, alone", report)
        check(report)
        assert not report.of("lost"), report
        assert set(cluster.supervisor.exit_codes(name)) == {0}

    run(in_turn(end, "gateway", "batcher", "runner"))


@pytest.mark.prove
def test_a_process_that_is_told_to_end_with_a_ready_replacement_costs_no_request(
    run: Run, proof: Proof
) -> None:
    async def replace(cluster: Cluster, name: str) -> None:
        async with Load.closed(cluster.target(10.0), clients=16) as load:
            start = {
                "gateway": cluster.start_gateway,
                "batcher": cluster.start_batcher,
                "runner": cluster.start_runner,
            }[name]
            old = name
            for number in range(proof.count(full=6, quick=2)):
                await load.progress(200)
                new = f"{name}-{number + 2}"
                await start(new)
                await load.progress(200)
                assert await cluster.supervisor.stop(old) == 0, cluster.supervisor.log(old)
                old = new
            await load.progress(200)
            report = await load.stop()
            print(report)
        record(proof, f"SIGTERM of the {name}, with a ready replacement", report)
        check(report)
        assert len(report.of("right")) == len(report.answers), report

    run(in_turn(replace, "gateway", "batcher", "runner"))


def test_a_killed_runner_leaves_no_model_process_behind(run: Run) -> None:
    async def scenario(cluster: Cluster) -> None:
        orphan = cluster.model_process()
        cluster.supervisor.kill("runner")
        await eventually(lambda: not command_line(orphan), within_s=limit_s(cluster))

    run(scenario)


def record(proof: Proof, name: str, report: Report, **more: float) -> None:
    proof.record(
        name,
        requests=len(report.answers),
        wrong=len(report.of("wrong")),
        refused=len(report.of("refused")),
        lost=len(report.of("lost")),
        late=len(report.late),
        **more,
    )
