"""What a request costs in each process on its way, over NATS, and how many a second would fill one core of each.

HAProxy with deploy/haproxy.cfg, gateway, nats-server, batcher, runner and model process; processor time from /proc, so
that the figures hold on a machine that does other things, too. Prints tables for docs/scaling.md.
usage: python -m benchmarks.hops [--measure-s S]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from benchmarks.cpu import children_of, own_cpu_s
from benchmarks.run import PREDICT, WARM_S, WORK, build_loadgen
from examples.demo import (
    Child,
    DemoFailed,
    Processes,
    free_port,
    serve_nats,
    stack,
    train_and_save,
    wait_ready,
)
from tests.support.provenance import REPOSITORY, commit, machine

CLIENTS: Final = (1, 16, 64, 256)
ROWS: Final = (1, 16, 256)
HOPS: Final = ("edge", "gateway", "nats-server", "batcher", "runner", "model process")


@dataclass(frozen=True)
class Hops:
    """The processes of one stack.

    Attributes:
        pids: of each hop; its children do not count as it.
        port: of the edge.
    """

    pids: Mapping[str, tuple[int, ...]]
    port: int

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds that each hop has used so far."""
        return {hop: sum(own_cpu_s(pid) for pid in pids) for hop, pids in self.pids.items()}


@contextlib.contextmanager
def edge(gateway: int) -> Iterator[tuple[int, int]]:
    """HAProxy with the configuration of deploy/, in front of one gateway of this machine; yields its pid and port."""
    if shutil.which("haproxy") is None:
        raise DemoFailed("haproxy is not on PATH; run: apt-get install haproxy")
    port, health = free_port(), free_port()
    text = (REPOSITORY / "deploy" / "haproxy.cfg").read_text()
    for old, new in (
        (r"bind :3000", f"bind 127.0.0.1:{port}"),
        (r"bind :3001", f"bind 127.0.0.1:{free_port()}"),
        (r":8404", f":{health}"),
        (r"server-template gateway 16 gateway:3000", f"server gateway1 127.0.0.1:{gateway}"),
        (r"server-template store 8 store:3001", f"server store1 127.0.0.1:{gateway}"),
        (r"resolvers docker init-addr libc,none ", ""),
        (r"log stdout format raw local0 notice", ""),
    ):
        text, count = re.subn(old, new, text)
        if not count:
            raise DemoFailed(f"deploy/haproxy.cfg has no {old!r} any more: change benchmarks/hops.py")
    config = WORK / "haproxy.cfg"
    config.write_text(text)
    log = WORK / "edge.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stdout=output, stderr=output)
    try:
        wait_ready(Child("edge", process, log), health, "/healthz")
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def hops_of(processes: Processes, edge_pid: int, port: int) -> Hops:
    """The processes that a request passes, once its model is loaded."""
    pids = {child.name: child.process.pid for child in processes.children}
    hops: dict[str, tuple[int, ...]] = {hop: (pids[hop],) for hop in HOPS if hop in pids}
    hops |= {"edge": (edge_pid,), "model process": children_of(pids["runner"])}
    return Hops(hops, port)


def write_cases(clf: Any, data: Any, rows: int) -> Path:
    """Pairs of lines for the load generator: requests of so many rows, and their exact answers."""
    path = WORK / f"cases-{rows}.txt"
    lines = []
    for first in range(0, 100):
        some = [data[(first + offset) % len(data)] for offset in range(rows)]
        answers = clf.predict(some).tolist()
        lines.append(
            f"{json.dumps([row.tolist() for row in some])}\n{json.dumps(answers, separators=(',', ':'))}\n"
        )
    path.write_text("".join(lines))
    return path


def measure(hops: Hops, loadgen: Path, cases: Path, clients: int, measure_s: float) -> dict[str, Any]:
    """Throughput, latency and the processor milliseconds of a request in each hop."""
    command = [str(loadgen), "127.0.0.1", str(hops.port), str(clients)]
    before = hops.cpu_s()
    done = subprocess.run(
        [*command, str(WARM_S), str(measure_s), PREDICT, str(cases)],
        capture_output=True,
        text=True,
        check=False,
    )
    used = {hop: after - before[hop] for hop, after in hops.cpu_s().items()}
    if done.returncode not in (0, 1):
        raise DemoFailed(f"{clients} clients: {done.stderr.strip()}")
    figures: dict[str, Any] = json.loads(done.stdout)
    if figures["wrong"] or figures["failed"]:
        raise DemoFailed(
            f"{clients} clients: {figures['wrong']} wrong, {figures['failed']} failed, first: {figures['first_wrong']}"
        )
    return {**figures, "cpu_ms": {hop: s * 1e3 / max(1, figures["answers"]) for hop, s in used.items()}}


def load_model(port: int, data: Any) -> None:
    """Ask once, so that the model is loaded before anything is measured."""
    body = json.dumps([data[0].tolist()]).encode()
    url = f"http://127.0.0.1:{port}{PREDICT}"
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=60) as answer:
        answer.read()


def table(title: str, rounds: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """One line per measurement; milliseconds of processor time per request."""
    lines = [
        f"| {title} | requests/s | p50 ms | p99 ms | " + " | ".join(f"{hop}" for hop in HOPS) + " | sum |",
        "|---:|---:|---:|---:|" + "---:|" * (len(HOPS) + 1),
    ]
    for key, one in rounds.items():
        costs = [one["cpu_ms"][hop] for hop in HOPS]
        cells = " | ".join(f"{cost:.3f}" for cost in (*costs, sum(costs)))
        lines.append(f"| {key} | {one['per_s']:,.0f} | {one['p50_ms']:.2f} | {one['p99_ms']:.2f} | {cells} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Processor time of each hop over NATS.")
    parser.add_argument("--measure-s", type=float, default=3.0)
    options = parser.parse_args()
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    os.environ["VTSSERVING_HOME"] = str(WORK)
    try:
        loadgen = build_loadgen()
        clf, data = train_and_save()
        with stack(WORK) as processes:
            front, gateway = serve_nats(processes)
            wait_ready(front, gateway)
            with edge(gateway) as (edge_pid, port):
                load_model(port, data)
                hops = hops_of(processes, edge_pid, port)
                load_before = os.getloadavg()[0]
                one_row = write_cases(clf, data, 1)
                by_clients = {n: measure(hops, loadgen, one_row, n, options.measure_s) for n in CLIENTS}
                by_rows = {
                    n: measure(hops, loadgen, write_cases(clf, data, n), 64, options.measure_s) for n in ROWS
                }
                load_after = os.getloadavg()[0]
    except DemoFailed as failure:
        print(f"hops: {failure}", file=sys.stderr)
        return 1
    print(f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC, commit {commit()}, {machine()},")
    print(f"load average {load_before:.1f} before and {load_after:.1f} after\n")
    print("\n".join([*table("clients", by_clients), "", *table("rows", by_rows)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
