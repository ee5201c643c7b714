"""Where nats-server is found: with its wheel, as a system's package on PATH, and with neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.nats_server import OLDEST, oldest_nats_server
from support.source_tree import PACKAGES
from vtsserving_embedded.nats_binary import DISTRIBUTION, find_nats_server, installed_command

PRODUCT = ":".join(str(PACKAGES[name].parent) for name in ("vtsserving", "vtsserving_embedded"))


def ask(folder: Path, *options: str, path: Path, modules: str = "") -> subprocess.CompletedProcess[str]:
    """Print the choice of a fresh Python, started from another folder without the developer's environment."""
    argv = [sys.executable, *options, "-m", "vtsserving_embedded.nats_binary"]
    environment = {"PATH": str(path), "PYTHONPATH": modules}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def on_path(tmp_path: Path) -> Path:
    """A folder on PATH with a nats-server as a system's package brings it."""
    folder = tmp_path / "usr"
    folder.mkdir()
    (folder / "nats-server").symlink_to(oldest_nats_server())
    return folder


def version(binary: str) -> str:
    return subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout


def test_the_wheel_is_found_although_its_folder_is_not_on_path(tmp_path: Path) -> None:
    found = ask(tmp_path, path=tmp_path)
    assert found.stdout.strip() == str(find_nats_server()), found.stderr
    assert version(found.stdout.strip()).startswith("nats-server: v2.")


def test_the_wheel_goes_before_what_is_on_path(tmp_path: Path, on_path: Path) -> None:
    found = ask(tmp_path, path=on_path)
    assert OLDEST not in version(found.stdout.strip())


def test_a_wheel_that_was_installed_into_a_folder_is_found(tmp_path: Path) -> None:
    folder = oldest_nats_server().parents[1]
    assert ask(tmp_path, path=tmp_path, modules=str(folder)).stdout.strip() == str(oldest_nats_server())


def test_without_the_wheel_the_one_on_path_is_taken(tmp_path: Path, on_path: Path) -> None:
    found = ask(tmp_path, "-S", path=on_path, modules=PRODUCT)  # -S leaves out what pip installed
    assert found.stdout.strip() == str(on_path / "nats-server"), found.stderr


def test_with_neither_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    found = ask(tmp_path, "-S", path=tmp_path, modules=PRODUCT)
    assert found.returncode == 1
    assert "pip install 'vtsserving[nats]'" in found.stderr
    assert "apt-get install nats-server" in found.stderr


def test_a_command_that_a_distribution_does_not_have_is_not_found() -> None:
    assert installed_command("vtsserving-no-such-distribution", "nats-server") is None
    assert installed_command(DISTRIBUTION, "no-such-command") is None
