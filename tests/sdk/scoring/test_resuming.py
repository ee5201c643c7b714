"""A run that is killed goes on where it was: no row is lost, none is there twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import vtsserving
from support.command_line import command
from support.scored_models import save_trouble
from vtsserving._scoring.answering import FailedRow
from vtsserving._scoring.unfinished import Unfinished
from vtsserving.exceptions import IntegrityError, InUse, InvalidArgument

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 20_000
BATCH_ROWS = {"npy": 1, "csv": 10}
"""So few that a run takes longer than the second after which it is first recorded how far it is."""


@pytest.fixture
def rows(tmp_path: Path) -> np.ndarray:
    """An input in two formats, and its values."""
    save_trouble(tmp_path)
    values = np.arange(2.0 * ROWS).reshape(-1, 2) + 1_000
    values[values == 601.0] = 0
    np.save(tmp_path / "in.npy", values)
    with (tmp_path / "in.csv").open("w") as file:
        file.write("id,a,b\n")
        file.writelines(f"{number:06d},{row[0]!r},{row[1]!r}\n" for number, row in enumerate(values.tolist()))
    return values


def start(folder: Path, kind: str, *more: str) -> subprocess.Popen[bytes]:
    """The command on a file of the folder, in a process of its own."""
    names = str(folder / f"in.{kind}"), str(folder / f"out.{kind}")
    return subprocess.Popen(
        command("predict", "trouble", *names, "--batch-rows", str(BATCH_ROWS[kind]), *more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def progress(folder: Path, kind: str) -> int:
    """The rows that an unfinished run would not compute again; 0: none, or there is no such run."""
    try:
        text = (folder / f"out.{kind}.unfinished" / "progress.json").read_text()
    except OSError:
        return 0
    return int(json.loads(text)["rows"])


def kill_after(folder: Path, kind: str, done: int, *more: str) -> bool:
    """Kill a run as soon as more than `done` rows count; False: it ended before."""
    process = start(folder, kind, *more)
    deadline_s = time.monotonic() + 120
    while process.poll() is None and progress(folder, kind) <= done:
        assert time.monotonic() < deadline_s
        time.sleep(0.002)
    is_killed = process.poll() is None
    if is_killed:
        os.kill(process.pid, signal.SIGKILL)
    _, errors = process.communicate()
    assert is_killed or process.returncode == 0, errors
    return is_killed


@pytest.mark.parametrize(
    ("kind", "more"),
    [("npy", ()), ("csv", ("--keep", "id")), ("csv", ("--keep", "id", "--processes", "2"))],
    ids=["npy", "csv", "csv in two processes"],
)
def test_a_killed_run_goes_on(tmp_path: Path, rows: np.ndarray, kind: str, more: tuple[str, ...]) -> None:
    assert kill_after(tmp_path, kind, 0, *more)
    first = progress(tmp_path, kind)
    assert 0 < first < ROWS
    assert not (tmp_path / f"out.{kind}").exists()
    (tmp_path / "calls").unlink()
    process = start(tmp_path, kind, *more)
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    with (tmp_path / "calls").open() as calls:
        computed = [number for line in calls for number in json.loads(line)]
    assert sorted(computed) == rows[first:, 0].tolist()
    check(tmp_path, kind, rows)


def check(folder: Path, kind: str, rows: np.ndarray) -> None:
    """Whether the output has the result of each row, once, in order; and nothing else is left."""
    if kind == "npy":
        assert np.array_equal(np.load(folder / "out.npy"), rows * 2)
    else:
        found = np.loadtxt(folder / "out.csv", delimiter=",", skiprows=1)
        assert np.array_equal(found[:, 0], np.arange(ROWS))
        assert np.array_equal(found[:, 1:], rows * 2)
    assert [path.name for path in folder.iterdir() if ".unfinished" in path.name] == []


def test_a_run_that_is_killed_again_and_again_comes_to_its_end(tmp_path: Path, rows: np.ndarray) -> None:
    random_s = random.Random(7)
    kills = 0
    while True:
        process = start(tmp_path, "csv", "--keep", "id")
        try:
            process.wait(timeout=1.5 + random_s.random() * 2)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        _, errors = process.communicate()
        if process.returncode != -signal.SIGKILL:
            break
        if kills >= 4:
            process = start(tmp_path, "csv", "--keep", "id")
            _, errors = process.communicate(timeout=200)
            break
    assert process.returncode == 0, errors
    assert kills
    check(tmp_path, "csv", rows)


def test_what_a_kill_left_behind_the_last_step_does_not_count(tmp_path: Path, rows: np.ndarray) -> None:
    assert kill_after(tmp_path, "csv", 0, "--keep", "id")
    with (tmp_path / "out.csv.unfinished" / "answers").open("ab") as answers:
        answers.write(b"000000,torn")
    process = start(tmp_path, "csv", "--keep", "id")
    _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    check(tmp_path, "csv", rows)


def test_another_command_does_not_go_on_with_it_unless_it_starts_anew(
    tmp_path: Path, rows: np.ndarray
) -> None:
    assert kill_after(tmp_path, "npy", 0)
    names = tmp_path / "in.npy", tmp_path / "out.npy"
    with pytest.raises(InvalidArgument, match=r"a run with another answering.*--restart"):
        vtsserving.predict_file("trouble", *names, rows_as="table")
    save_trouble(tmp_path, rows=6)
    with pytest.raises(InvalidArgument, match="a run with another tag"):
        vtsserving.predict_file("trouble", *names)
    np.save(tmp_path / "in.npy", rows[:7])
    vtsserving.predict_file("trouble", *names, restart=True)
    assert np.array_equal(np.load(tmp_path / "out.npy"), rows[:7] * 2)


def test_two_runs_do_not_write_one_output(tmp_path: Path, rows: np.ndarray) -> None:
    process = start(tmp_path, "npy")
    try:
        deadline_s = time.monotonic() + 60
        while not progress(tmp_path, "npy"):
            assert time.monotonic() < deadline_s
            time.sleep(0.002)
        with pytest.raises(InUse, match="another process is writing"):
            vtsserving.predict_file("trouble", tmp_path / "in.npy", tmp_path / "out.npy")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("is_recorded", [True, False], ids=["recorded", "not yet recorded"])
def test_a_run_that_ended_between_its_output_and_its_folder_s_end_is_done(
    tmp_path: Path, is_recorded: bool
) -> None:
    output, plan = tmp_path / "out.csv", {"tag": "iris:1"}
    with Unfinished(output, restart=False) as run:
        run.begin(plan)
        run.append(b"prediction\n1\n", [FailedRow(0, "model_failed", "poison")])
        run.progress.rows = 1
        run.step(now=True)
        before = (run.folder / "progress.json").read_bytes()
        run.publish(run.answers_file)
        if not is_recorded:
            (run.folder / "progress.json").write_bytes(before)
    with Unfinished(output, restart=False) as run:
        run.begin(plan)
        assert run.progress.is_written
        run.remove()
    assert output.read_bytes() == b"prediction\n1\n"
    assert (tmp_path / "out.csv.failed.csv").read_text() == "row,code,error\n0,model_failed,poison\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.csv.failed.csv"]


def test_answers_that_were_cut_are_an_error(tmp_path: Path) -> None:
    with Unfinished(tmp_path / "out.csv", restart=False) as run:
        run.begin({})
        run.append(b"prediction\n1\n", [])
        run.progress.rows = 1
        run.step(now=True)
        os.truncate(run.answers_file, 3)
    wanted = pytest.raises(IntegrityError, match="has 3 bytes, 13 were written; start anew")
    with Unfinished(tmp_path / "out.csv", restart=False) as run, wanted:
        run.begin({})
