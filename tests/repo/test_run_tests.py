"""`scripts/run_tests.py` on a small project: which tests run beside each other, and whether the end is honest."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.fast import NotFast
from support.source_tree import REPOSITORY

PROJECT = """
[tool.pytest.ini_options]
testpaths = ["tests"]
markers = ["alone: a", "slow: s", "frameworks: f", "gpu: g", "compose: c"]
"""
TESTS = """
import os

import pytest


def test_beside_others():
    assert "PYTEST_XDIST_WORKER" in os.environ


@pytest.mark.slow
def test_beside_others_too():
    assert "beside" not in os.environ.get("BROKEN", "")


@pytest.mark.alone
def test_alone():
    assert "PYTEST_XDIST_WORKER" not in os.environ
    assert "alone" not in os.environ.get("BROKEN", "")


@pytest.mark.gpu
def test_of_another_target():
    raise AssertionError
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("scripts", "tests"):
        (tmp_path / folder).mkdir()
    shutil.copy(REPOSITORY / "scripts" / "run_tests.py", tmp_path / "scripts")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "tests" / "test_some.py").write_text(TESTS)
    return tmp_path


def run(project: Path, *arguments: str, broken: str = "") -> tuple[int, str]:
    command = [sys.executable, str(project / "scripts" / "run_tests.py"), "--workers", "2", *arguments]
    plugins = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
    env = {"PATH": "/usr/bin:/bin", "BROKEN": broken, **plugins}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_all_run_in_the_pass_they_belong_to_and_are_counted_together(project: Path) -> None:
    code, output = run(project)
    assert code == 0, output
    assert "tests: 3 in all (3 passed)" in output
    assert "2 passed in" in output
    assert "1 passed, 3 deselected in" in output


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["beside", "alone"])
def test_a_failure_in_either_pass_is_one_of_the_run_and_hides_nothing(project: Path, broken: str) -> None:
    code, output = run(project, broken=broken)
    assert code == 1
    assert "tests: 3 in all (2 passed, 1 failed)" in output


@pytest.mark.slow
def test_a_choice_that_only_one_pass_has_is_none_missed_and_one_that_none_has_is(project: Path) -> None:
    code, output = run(project, "-k", "too")
    assert (code, "tests: 1 in all (1 passed)" in output) == (0, True), output
    assert run(project, "-k", "nowhere")[0] == 5


@pytest.mark.slow
def test_a_mark_narrows_the_choice_and_does_not_widen_it(project: Path) -> None:
    code, output = run(project, "-m", "slow or gpu")
    assert (code, "tests: 1 in all (1 passed)" in output) == (0, True), output


@pytest.mark.slow
def test_wrong_arguments_are_an_error_at_once(project: Path) -> None:
    code, output = run(project, "--no-such-option")
    assert code == 4
    assert output.count("unrecognized arguments") == 1


@pytest.mark.fast
@pytest.mark.parametrize("address", [("127.0.0.1", 0), ("::1", 0)], ids=["IPv4", "IPv6"])
def test_a_fast_test_opens_no_port(address: tuple[str, int]) -> None:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family) as made, pytest.raises(NotFast, match="opens_no_port"):
        made.bind(address)


@pytest.mark.fast
def test_a_fast_test_starts_no_process() -> None:
    with pytest.raises(NotFast, match=r"subprocess\.Popen"):
        subprocess.run([sys.executable, "-c", ""], check=True)


@pytest.mark.slow
def test_proving_beside_others_is_refused() -> None:
    command = [sys.executable, "-m", "pytest", "-n", "2", "tests/repo/test_proofs.py"]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin", "VTSSERVING_PROVE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4
    assert "run pytest without -n" in done.stdout + done.stderr
