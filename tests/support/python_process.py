"""Programs in a process of their own, beside the packages of a folder, such as pyarrow that only they see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = "pyarrow>=15"


def install(folder: Path) -> Path:
    """Install pyarrow into a folder."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder),
        PACKAGE,
    ]
    subprocess.run(command, check=True)
    return folder


def python_with(folder: Path, *arguments: str, timeout_s: float = 120) -> str:
    """Run Python with the packages of a folder beside those of the tests; its stdout, if it ends well."""
    folders = [str(folder), str(Path(__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-3000:]}"
    return done.stdout
