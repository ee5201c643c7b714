"""Every answer is the model's own answer to that row, on both buses, with batches formed of many clients."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

import vtsserving
from support.cluster import Cluster, row_and_answer, save_model
from support.load import Load, Report, Target
from support.proofs import Proof
from support.supervisor import Program, Supervisor, free_port, http_ok

pytestmark = [pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(240)]

CLIENTS = 256
TIMEOUT_S = 30.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def oracle_of(tag: str, count: int) -> dict[int, float]:
    """What the loaded model answers in this process, row by row."""
    runner = vtsserving.models.get(tag).to_runner()
    runner.init_local()
    rows = np.array([row_and_answer(number)[0] for number in range(count)])
    return dict(enumerate(runner.predict.run(rows).tolist()))


async def ask(target: Target, count: int) -> Report:
    load = Load.closed(target, clients=CLIENTS)
    async with load:
        await load.progress(count, within_s=120.0)
        return await load.stop()


def check(report: Report, expected: dict[int, float], name: str, proof: Proof) -> None:
    assert {answer.kind for answer in report.answers} == {"right"}, report
    for answer in report.answers:
        if answer.number in expected:
            assert row_and_answer(answer.number)[1] == pytest.approx(expected[answer.number], rel=1e-12)
    sizes = [answer.batch_rows for answer in report.answers]
    mean = sum(sizes) / len(sizes)
    assert mean > 1, "requests of 256 clients were not merged"
    latencies = sorted(answer.latency_s for answer in report.answers)
    proof.record(
        name,
        requests=len(sizes),
        right=len(report.of("right")),
        mean_batch_rows=round(mean, 1),
        largest_batch_rows=max(sizes),
        p50_ms=round(latencies[len(latencies) // 2] * 1e3, 1),
        p99_ms=round(latencies[len(latencies) * 99 // 100] * 1e3, 1),
    )


def test_every_answer_is_right_when_embedded(tmp_path: Path, home: Path, proof: Proof) -> None:
    tag = save_model("linear")
    port = free_port()
    argv = [sys.executable, "-m", "vtsserving_cli", "serve", tag, "--port", str(port)]

    async def scenario() -> tuple[Report, int]:
        async with Supervisor(tmp_path) as supervisor:
            program = Program(argv, {**os.environ, "VTSSERVING_HOME": str(home)}, http_ok(port, "/readyz"))
            await supervisor.start("serve", program)
            target = Target(port, f"/v1/models/{tag}/predict", TIMEOUT_S, row_and_answer)
            report = await ask(target, proof.count(full=10_000, quick=1_000))
            return report, await supervisor.stop("serve", signal.SIGINT)

    report, exit_code = asyncio.run(scenario())
    check(report, oracle_of(tag, len(report.answers)), "embedded", proof)
    assert exit_code == 0, "Ctrl-C ends with 0"


def test_every_answer_is_right_over_nats(tmp_path: Path, home: Path, proof: Proof) -> None:
    tag = save_model("linear")

    async def scenario() -> Report:
        async with Cluster(tmp_path, home, tag) as cluster:
            return await ask(cluster.target(TIMEOUT_S), proof.count(full=10_000, quick=1_000))

    report = asyncio.run(scenario())
    check(report, oracle_of(tag, len(report.answers)), "over NATS", proof)
