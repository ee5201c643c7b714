"""The wheel holds the packages of the product and nothing generic, and works where only it is installed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from support.source_tree import PACKAGES, REPOSITORY, modules


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY))
    (found,) = folder.glob("vtsserving-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pip("install", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def run(site: Path, *command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(command, cwd=site, env=env, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_packages_of_the_product_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)


def test_the_wheel_holds_every_source_file(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*.py")
    }
    assert ours - names == set()


def test_all_packages_import_from_the_installed_wheel(installed: Path) -> None:
    lines = "; ".join(f"import {p}; print({p}.__file__)" for p in PACKAGES)
    done = run(installed, sys.executable, "-c", lines)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(installed)) for line in done.stdout.splitlines())


def test_the_installed_command_says_its_version_and_help(installed: Path) -> None:
    version = run(installed, sys.executable, str(installed / "bin" / "vtsserving"), "--version")
    assert (version.returncode, version.stderr) == (0, "")
    source = run(installed, sys.executable, "-c", "import vtsserving.version as v; print(v.__version__)")
    assert source.stdout.strip() in version.stdout
    assert run(installed, sys.executable, str(installed / "bin" / "vtsserving"), "--help").returncode == 0


def test_every_extra_that_an_error_advises_exists() -> None:
    advised = {
        extra
        for _, path in modules()
        for found in re.findall(
            r"""framework_import\("[\w.]+", "(\w+)"\)|vtsserving\[(\w+)\]""", path.read_text()
        )
        for extra in found
        if extra
    }
    defined = set(importlib.metadata.metadata("vtsserving").get_all("Provides-Extra") or [])
    assert advised - defined == set()
