"""The demo itself: what a newcomer runs first must never rot."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.source_tree import REPOSITORY


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--nats"]], ids=["embedded", "nats"])
def test_the_demo_gets_every_answer_right_and_stops_cleanly(arguments: list[str], tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(REPOSITORY / "examples" / "demo.py"),
        "--home",
        str(tmp_path / "home"),
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr + done.stdout
    counts = re.search(r"(\d+) of (\d+) answers were right", done.stdout)
    assert counts
    assert counts.group(1) == counts.group(2)
    assert 'Model saved: Model(tag="iris_clf:' in done.stdout
    assert "stopped cleanly" in done.stdout
    assert "curl -s localhost:3000/v1/models/iris_clf:latest/predict" in done.stdout


def test_a_demo_that_cannot_go_on_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    command = [sys.executable, str(REPOSITORY / "examples" / "demo.py"), "--home", str(tmp_path / "home")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
