"""`vtsserving predict`: files in and out, what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vtsserving
from support.command_line import CommandLine, Terminal, command
from support.runner_models import GATE, RAISE
from support.scored_models import people, save_people, save_trouble
from support.supervisor import descendants, process_state
from vtsserving._local_store.store import LocalStore

pytestmark = pytest.mark.slow


def test_a_file_is_scored_and_the_sentence_says_how(
    vts: CommandLine, store: LocalStore, tmp_path: Path
) -> None:
    tag = save_people().tag
    people(40).to_csv(tmp_path / "in.csv", index=False)
    out = tmp_path / "out.csv"
    ended = vts(
        "predict", "people", str(tmp_path / "in.csv"), str(out), "--method", "predict_proba", "--keep", "age"
    )
    assert (ended.code, ended.out, ended.err) == (0, f"Scored 40 rows with {tag}: {out}\n", "")
    lines = out.read_text().splitlines()
    assert (lines[0], len(lines)) == ("age,prediction_0,prediction_1", 41)


def test_programs_read_json_and_yaml(vts: CommandLine, store: LocalStore, tmp_path: Path) -> None:
    tag = save_trouble(tmp_path).tag
    np.save(tmp_path / "in.npy", np.ones((3, 2)))
    names = str(tmp_path / "in.npy"), str(tmp_path / "out.npy")
    found = json.loads(vts("predict", "trouble", *names, "-o", "json").out)
    assert found.pop("seconds") > 0
    assert found == {"output": names[1], "tag": str(tag), "rows": 3, "failed": 0, "failed_file": None}
    assert "rows: 3\n" in vts("predict", "trouble", *names, "-o", "yaml").out


def test_rows_that_failed_are_told_and_the_exit_code_shows_it(
    vts: CommandLine, store: LocalStore, tmp_path: Path
) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.array([[1.0, 2.0], [RAISE, 0.0]]))
    out = tmp_path / "out.csv"
    ended = vts("predict", "trouble", str(tmp_path / "in.npy"), str(out))
    assert ended.code == 1
    assert f"1 of them failed: {out}.failed.csv has the number and the error of each" in ended.err
    assert out.read_text() == "prediction_0,prediction_1\n2.0,4.0\n,\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("trouble", "in.csv", "out.csv"), 2, "expected shape [-1, 2], got [1, 3]"),
        (("trouble", "in.csv", "out.xls"), 2, "does not tell a format"),
        (("trouble", "gone.csv", "out.csv"), 2, "there is no file"),
        (("trouble", "in.csv", "out.csv", "--keep", "d"), 2, "the file has no column 'd'"),
        (("nobody", "in.csv", "out.csv"), 3, "no model 'nobody'"),
        (("trouble", "in.csv", "out.csv", "--method", "score"), 3, "no method 'score'"),
        (
            ("trouble", "in.csv", "out.csv", "--url", "http://127.0.0.1:9", "-p", "0"),
            2,
            "is not in the range",
        ),
        (("trouble", "in.csv", "out.parquet"), 8, "pip install 'vtsserving[arrow]'"),
    ],
)
def test_errors_are_one_line_with_the_code_of_their_kind(
    vts: CommandLine,
    store: LocalStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    save_trouble(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("a,b,c\n1,2,3\n")
    ended = vts("predict", *arguments)
    assert ended.code == code
    assert said in ended.err
    assert ended.err.count("\n") == 1
    assert not list(tmp_path.glob("*out*"))


def test_the_help_has_examples(vts: CommandLine) -> None:
    shown = vts("predict", "--help").out
    assert "vtsserving predict fraud:production in.parquet out.parquet --processes 4" in shown
    assert "--batch-rows" in shown


def test_a_terminal_shows_how_far_it_is(store: LocalStore, tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.ones((4_000, 2)))
    names = str(tmp_path / "in.npy"), str(tmp_path / "out.npy")
    terminal = Terminal("predict", "trouble", *names, "--batch-rows", "1", env={"COLUMNS": "100"})
    terminal.wait_for("Scoring with trouble, ", within_s=60)
    terminal.wait_for("rows", within_s=60)
    assert terminal.end() == 0
    assert "Scored 4,000 rows with trouble:" in terminal.text


def test_options_reach_the_run(vts: CommandLine, store: LocalStore, tmp_path: Path) -> None:
    save_trouble(tmp_path)
    (tmp_path / "in").write_text("id\tb\ta\n7\t1\t2\n")
    ended = vts(
        "predict", "trouble", str(tmp_path / "in"), str(tmp_path / "out"), "--input-format", "tsv", "--output-format",
        "csv", "--column", "a", "--column", "b", "--keep-all", "--result-name", "p", "--rows-as", "array",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert (tmp_path / "out").read_text() == "id,b,a,p_0,p_1\n7,1,2,4.0,2.0\n"


def test_a_gateway_computes(vts: CommandLine, store: LocalStore, tmp_path: Path) -> None:
    save_trouble(tmp_path)
    np.save(tmp_path / "in.npy", np.ones((5, 2)))
    with vtsserving.serve("trouble", port=0) as server:
        names = str(tmp_path / "in.npy"), str(tmp_path / "out.npy")
        assert vts("predict", "trouble", *names, "--url", server.url).code == 0
    assert np.load(tmp_path / "out.npy").tolist() == [[2.0, 2.0]] * 5
    assert vts("predict", "trouble", *names, "--url", "ftp://nowhere").code == 2


def test_an_interrupt_ends_a_run_whose_processes_hang(store: LocalStore, tmp_path: Path) -> None:
    save_trouble(tmp_path)
    rows = np.ones((100, 2))
    rows[50, 0] = GATE  # the gate is never opened
    np.save(tmp_path / "in.npy", rows)
    names = str(tmp_path / "in.npy"), str(tmp_path / "out.npy")
    process = subprocess.Popen(
        command("predict", "trouble", *names, "--processes", "2", "--batch-rows", "10"),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        within(60, lambda: (tmp_path / "calls").exists() and str(GATE) in (tmp_path / "calls").read_text())
        children = descendants(process.pid)
        assert len(children) == 2
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.decode() == "Error: interrupted\n"
    within(10, lambda: all(process_state(pid) in ("", "Z") for pid in children))


def within(seconds: float, condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
