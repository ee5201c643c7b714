"""Comparing routes of one process: medians over interleaved rounds, and the CPU time of each over the first one's."""

from __future__ import annotations

import argparse
import statistics
from typing import Final

Seen = dict[tuple[int, str], list[dict[str, float]]]
"""What each round measured (`benchmarks.run.measure`), by size and name, in the order of the table."""

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
