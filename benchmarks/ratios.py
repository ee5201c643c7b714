"""Comparing routes of one process: medians over interleaved rounds, and the CPU time of each over the first one's."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.run import WORK, System, build_loadgen, measure
from examples.demo import DemoFailed, Processes, stack

Seen = dict[tuple[int, str], list[dict[str, float]]]
"""What each round measured (`benchmarks.run.measure`), by size and name, in the order of the table."""


class Asked(NamedTuple):
    """One measurement of each round.

    Attributes:
        size: the number in its key of `Seen`.
        name: the name in it.
        system: where it is sent.
        cases: requests and answers for the load generator.
        clients: at once.
    """

    size: int
    name: str
    system: System
    cases: Path
    clients: int


_COLUMNS: Final = ("per_s", "p50_ms", "p99_ms", "cpu_ms")


def parser(description: str, *, measure_s: float) -> argparse.ArgumentParser:
    """The command line that these benchmarks have in common.

    Args:
        description: of the benchmark.
        measure_s: how long one measurement takes unless told otherwise, seconds.
    """
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--measure-s", type=float, default=measure_s)
    made.add_argument("--dry", action="store_true", help="print, write nothing")
    return made


def table(seen: Seen, *, size: str, name: str, base: str) -> list[str]:
    """Medians as the lines of a table, with the ratio of the CPU time to the first name's of the same size.

    Args:
        seen: all rounds.
        size: what the numbers in its keys count.
        name: what the names in its keys are.
        base: what the first name of each size stands for, in the heading of the ratio.
    """
    lines = [
        f"| {size} | {name} | requests/s | p50 ms | p99 ms | CPU ms / request | x {base} |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    base_ms: dict[int, float] = {}
    for (number, one), rounds in seen.items():
        per_s, p50_ms, p99_ms, cpu_ms = (
            statistics.median(measured[column] for measured in rounds) for column in _COLUMNS
        )
        ratio = cpu_ms / base_ms.setdefault(number, cpu_ms)
        figures = f"{per_s:,.0f} | {p50_ms:.2f} | {p99_ms:.2f} | {cpu_ms:.3f} | {ratio:.2f}"
        lines.append(f"| {number} | {one} | {figures} |")
    return lines


def run(
    options: Any,
    start: Callable[[Processes], Sequence[Asked]],
    columns: dict[str, str],
    results: Path,
    page: Callable[[list[str], int, float], str],
) -> int:
    """Start the system, measure everything in turn, show the table, and write it down unless told not to.

    Args:
        options: of `parser`.
        start: starts the system in WORK, and says what is measured, in the order of the table.
        columns: `size`, `name` and `base` of `table`.
        results: where the table is written down.
        page: the text there, of the lines of the table, the rounds and the seconds of a measurement.

    Returns:
        The exit code.
    """
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir()
    os.environ["VTSSERVING_HOME"] = str(WORK)
    seen: Seen = {}
    try:
        loadgen = build_loadgen()
        with stack(WORK) as processes:
            asked = start(processes)
            for _ in range(options.rounds):
                for one in asked:
                    found = measure(loadgen, one.cases, one.system, one.clients, options.measure_s)
                    seen.setdefault((one.size, one.name), []).append(found)
                    figures = f"{found['per_s']:8.0f}/s  {found['cpu_ms']:.3f} ms"
                    print(f"{one.size:3d}  {one.name:30s} {figures}", flush=True)
    except DemoFailed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    lines = table(seen, **columns)
    print("\n".join(lines))
    if not options.dry:
        results.write_text(page(lines, options.rounds, options.measure_s))
    return 0
