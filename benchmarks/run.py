"""Closed-loop load on the embedded stack and on the NATS stack, beside a floor; writes benchmarks/results.md.

The rounds of all systems are interleaved, so that a slow minute of the machine hits all of them alike; the table has
medians over the rounds. Every answer is checked; one wrong answer fails the run. The load generator shares the cores
with what it measures, for every system alike. usage: python -m benchmarks.run [--rounds N] [--measure-s S]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu import cpu_s
from examples.demo import (
    DemoFailed,
    Processes,
    free_port,
    serve_embedded,
    serve_nats,
    stack,
    train_and_save,
    wait_ready,
)
from tests.support.provenance import REPOSITORY, commit, machine

WORK: Final = REPOSITORY / ".bench"
RESULTS: Final = REPOSITORY / "benchmarks" / "results.md"
CLIENTS: Final = (1, 16, 64, 256)
WARM_S: Final = 0.5
PREDICT: Final = "/v1/models/iris_clf:latest/predict"


@dataclass(frozen=True)
class System:
    """Something that answers predictions on a local port."""

    name: str
    port: int
    path: str
    roots: tuple[int, ...]


@dataclass(frozen=True)
class Figure:
    """Medians over the rounds of one system at one number of clients."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float


Figures = dict[tuple[str, int], Figure]


def build_loadgen() -> Path:
    """Compile the load generator."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise DemoFailed("no C compiler for the load generator; run: apt-get install gcc libc6-dev")
    binary = WORK / "loadgen"
    source = REPOSITORY / "benchmarks" / "loadgen.c"
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(binary), str(source)], check=True)
    return binary


def write_cases(clf: Any, rows: Any) -> Path:
    """Pairs of lines for the load generator: one row, then the exact answer."""
    path = WORK / "cases.txt"
    answers = clf.predict(rows).tolist()
    lines = [f"{json.dumps([row])}\n[{answer}]\n" for row, answer in zip(rows.tolist(), answers, strict=True)]
    path.write_text("".join(lines))
    return path


def start_systems(processes: Processes, over_nats: bool) -> list[System]:
    """Start the floor, the embedded stack and the NATS stack, ready to answer."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.floor", str(port)]
    floor = processes.start("floor", command, {"VTSSERVING_HOME": str(WORK)})
    wait_ready(floor, port)
    embedded, embedded_port = serve_embedded(processes)
    wait_ready(embedded, embedded_port)
    systems = [
        System("floor", port, "/predict", (floor.process.pid,)),
        System("embedded", embedded_port, PREDICT, (embedded.process.pid,)),
    ]
    if over_nats:
        before = len(processes.children)
        gateway, nats_port = serve_nats(processes)
        wait_ready(gateway, nats_port)
        roots = tuple(child.process.pid for child in processes.children[before:])
        systems.append(System("NATS", nats_port, PREDICT, roots))
    return systems


def measure(loadgen: Path, cases: Path, system: System, clients: int, measure_s: float) -> dict[str, Any]:
    """One round; raises when an answer was wrong or a connection failed."""
    where = ["127.0.0.1", str(system.port), str(clients)]
    what = [str(WARM_S), str(measure_s), system.path, str(cases)]
    before_s = cpu_s(system.roots)
    done = subprocess.run([str(loadgen), *where, *what], capture_output=True, text=True, check=False)
    used_s = cpu_s(system.roots) - before_s
    if done.returncode not in (0, 1):
        raise DemoFailed(f"{system.name} at {clients} clients: {done.stderr.strip()}")
    round_figures: dict[str, Any] = json.loads(done.stdout)
    if round_figures["wrong"] or round_figures["failed"]:
        raise DemoFailed(
            f"{system.name} at {clients} clients: {round_figures['wrong']} wrong answers,"
            f" {round_figures['failed']} broken connections; first wrong: {round_figures['first_wrong']}"
        )
    return {**round_figures, "cpu_ms": used_s * 1e3 / max(1, round_figures["answers"])}


def run_rounds(systems: list[System], loadgen: Path, cases: Path, rounds: int, measure_s: float) -> Figures:
    """All rounds, interleaved, reduced to medians."""
    seen: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for number in range(rounds):
        for clients in CLIENTS:
            for system in systems:
                one = measure(loadgen, cases, system, clients, measure_s)
                seen.setdefault((system.name, clients), []).append(one)
                print(
                    f"round {number + 1}: {clients:3d} clients  {system.name:9s} {one['per_s']:9.0f}/s"
                    f"  p50 {one['p50_ms']:7.2f} ms  p99 {one['p99_ms']:7.2f} ms"
                    f"  CPU {one['cpu_ms']:.3f} ms",
                    flush=True,
                )
    return {
        key: Figure(
            *(
                statistics.median(one[name] for one in some)
                for name in ("per_s", "p50_ms", "p99_ms", "cpu_ms")
            )
        )
        for key, some in seen.items()
    }


def table(figures: Figures) -> list[str]:
    """The medians side by side, with the ratios to the floor."""
    lines = [
        "| clients | system | requests/s | x floor | p50 ms | p50 / floor's | p99 ms | CPU ms / request |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for clients in CLIENTS:
        floor = figures["floor", clients]
        for name in (system for system, number in figures if number == clients):
            one = figures[name, clients]
            lines.append(
                f"| {clients} | {name} | {one.per_s:,.0f} | {one.per_s / floor.per_s:.2f} | {one.p50_ms:.2f}"
                f" | {one.p50_ms / floor.p50_ms:.2f} | {one.p99_ms:.2f} | {one.cpu_ms:.3f} |"
            )
    return lines


def verdicts(figures: Figures) -> list[str]:
    """The targets, each with what was reached."""

    def ratio(name: str, clients: int) -> float:
        return figures[name, clients].per_s / figures["floor", clients].per_s

    p50 = figures["embedded", 1].p50_ms / figures["floor", 1].p50_ms
    checks = (
        (
            "64 clients, embedded, requests/s at least 6 x the floor",
            ratio("embedded", 64),
            ratio("embedded", 64) >= 6,
        ),
        ("64 clients, NATS, requests/s at least 3 x the floor", ratio("NATS", 64), ratio("NATS", 64) >= 3),
        ("1 client, embedded, p50 at most 1.3 x the floor's", p50, p50 <= 1.3),
    )
    return [f"- {what}: {value:.2f}, {'reached' if good else '**missed**'}" for what, value, good in checks]


def page(figures: Figures, rounds: int, measure_s: float) -> str:
    """The whole of results.md."""
    lines = [
        "# Benchmark results",
        "",
        "<!-- Written by `make bench` (benchmarks/run.py). -->",
        "",
        f"- Date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; commit {commit()}.",
        f"- Machine: {machine()}. The load generator runs on the same cores.",
        f"- Method: closed loop, one row of four numbers a request, every answer checked; medians of {rounds}",
        f"  interleaved rounds of {measure_s:g} s. Latency is from the first byte sent to the last byte received.",
        "- CPU per request is that of all processes of the system together, the load generator's not counted.",
        "- Floor: a FastAPI endpoint under uvicorn (uvloop, httptools), the same scikit-learn LogisticRegression in",
        "  its process, no batching (benchmarks/floor.py).",
        "- Embedded: `vtsserving serve`. NATS: gateway, batcher, runner and store as processes over one nats-server.",
        "",
        *table(figures),
        "",
        "Targets:",
        "",
        *verdicts(figures),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Closed-loop load beside a floor.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure-s", type=float, default=2.0)
    parser.add_argument("--embedded-only", action="store_true", help="leave NATS out; prints, writes nothing")
    options = parser.parse_args()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    os.environ["VTSSERVING_HOME"] = str(WORK)
    started = time.monotonic()
    try:
        loadgen = build_loadgen()
        cases = write_cases(*train_and_save())
        with stack(WORK) as processes:
            systems = start_systems(processes, not options.embedded_only)
            figures = run_rounds(systems, loadgen, cases, options.rounds, options.measure_s)
    except DemoFailed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    print("\n".join(table(figures)))
    if options.embedded_only:
        return 0
    print("\n".join(verdicts(figures)))
    RESULTS.write_text(page(figures, options.rounds, options.measure_s))
    print(f"wrote {RESULTS.relative_to(REPOSITORY)} after {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
