"""Parquet and Arrow files: checks of `support.arrow_scoring`, each in a process that finds pyarrow."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import vtsserving
from support.scored_models import save_trouble
from vtsserving.exceptions import MissingDependency

CHECKS = (
    "formats",
    "processes",
    "kept",
    "columns_of_lists",
    "positions",
    "missing_numbers",
    "refused",
    "shared_names",
    "memory",
)


@pytest.mark.frameworks("own")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("check", CHECKS)
def test_parquet_and_arrow(check: str, arrow_path: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "support.arrow_scoring", check],
        env={**os.environ, "PYTHONPATH": arrow_path, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert done.stdout.endswith("ok\n")


@pytest.mark.parametrize(("source", "target"), [("in.npy", "out.parquet"), ("in.arrow", "out.csv")])
def test_without_pyarrow_the_error_says_how_to_install_it(tmp_path: Path, source: str, target: str) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.ones((1, 2)))
    (tmp_path / "in.arrow").write_bytes(b"")
    with pytest.raises(MissingDependency, match=r"pip install 'vtsserving\[arrow\]'"):
        vtsserving.predict_file("trouble", tmp_path / source, tmp_path / target)
