"""Scoring beside a plain loop that reads the same file, calls the same model and writes; and the memory of both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.proofs import Proof

REPOSITORY = Path(__file__).parents[3]

pytestmark = [pytest.mark.prove, pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(3_600)]


def measured(kind: str, rows: int, rounds: int, folder: Path, path: str) -> dict[str, Any]:
    arguments = ["--rows", str(rows), "--rounds", str(rounds), "--format", kind, "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scoring", "--json", *arguments],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def record(proof: Proof, kind: str, rows: int, found: dict[str, Any]) -> None:
    proof.record(
        f"scoring {rows:,} rows of {kind}, beside a plain loop",
        rows_per_s=found["rows_per_s"],
        loop_rows_per_s=found["loop_per_s"],
        ratio=found["ratio"],
        cpu_s=found["cpu_s"],
        loop_cpu_s=found["loop_cpu_s"],
        peak_mib=found["peak_mib"],
    )


def check(proof: Proof, kind: str, folder: Path, path: str, full: int = 10_000_000) -> None:
    rows = proof.count(full=full, quick=40_000)
    found = measured(kind, rows, proof.count(full=2, quick=1), folder, path)
    record(proof, kind, rows, found)
    assert found["equal"]
    assert found["peak_mib"] < 1_024
    # Of a small file, the start of the process is most.
    assert found["ratio"] >= (0.8 if proof.proving else 0.1)


@pytest.mark.parametrize("kind", ["npy", "csv"])
def test_files_of_numbers_and_text_are_scored_nearly_as_fast_as_by_a_loop(
    tmp_path: Path, proof: Proof, kind: str
) -> None:
    check(proof, kind, tmp_path, str(REPOSITORY), full=2_000_000)


@pytest.mark.frameworks("own")
def test_parquet_is_scored_nearly_as_fast_as_by_a_loop(tmp_path: Path, proof: Proof, arrow_path: str) -> None:
    check(proof, "parquet", tmp_path, arrow_path)
