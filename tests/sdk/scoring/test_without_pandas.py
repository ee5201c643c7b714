"""CSV and .npy where only numpy is installed: the same rows, the same failed rows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.runner_models import RAISE
from support.scored_models import save_echo, save_trouble

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
sys.modules["pandas"] = None  # as if it were not installed: importing it raises ImportError
import vtsserving
scored = vtsserving.predict_file(*sys.argv[1:4], keep=sys.argv[4:])
print(scored.rows, scored.failed)
"""


def scored(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )


def test_numbers_of_csv_are_an_array(tmp_path: Path) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in.csv").write_text(f"id,a,b\n007,1,2\n008,{RAISE},1\n009,x,1\n010,1\n011,0.1,1e300\n")
    ended = scored("trouble", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "id")
    assert ended.stdout == "5 3\n", ended.stderr
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == ["id,prediction_0,prediction_1", "007,2.0,4.0", "008,,", "009,,", ",,", "011,0.2,2e+300"]
    failed = (tmp_path / "out.csv.failed.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in failed[1:]] == [
        ["1", "model_failed"],
        ["2", "bad_input"],
        ["3", "bad_input"],
    ]


def test_texts_of_csv_are_a_list(tmp_path: Path) -> None:
    save_echo("texts")
    (tmp_path / "in.csv").write_text('text\n"a, b"\nNA\n')
    ended = scored("echo", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
    assert ended.stdout == "2 0\n", ended.stderr
    assert (tmp_path / "out.csv").read_text() == "prediction\n\"'a, b'\"\n'NA'\n"


def test_a_method_of_tables_says_how_to_install_it(tmp_path: Path) -> None:
    from support.scored_models import people, save_people

    save_people()
    people(3).to_csv(tmp_path / "in.csv", index=False)
    ended = scored("people", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"))
    assert ended.returncode != 0
    assert "pip install 'vtsserving[pandas]'" in ended.stderr
