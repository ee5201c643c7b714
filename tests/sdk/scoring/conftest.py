"""pyarrow, installed where only processes see it that tests of Parquet and Arrow files start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "pyarrow>=15"
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def arrow_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with pyarrow, the tests' own modules and the benchmarks."""
    folder = tmp_path_factory.mktemp("pyarrow")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), PACKAGE]
    subprocess.run(pip, check=True)
    return os.pathsep.join([str(folder), str(REPOSITORY / "tests"), str(REPOSITORY)])
