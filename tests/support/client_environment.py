"""Interpreters with other people's clients, each in an environment of its own that is made once per checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

from filelock import FileLock

from support.source_tree import REPOSITORY

FOLDER: Final = REPOSITORY / ".venv" / "clients"
INSTALL_TIMEOUT_S: Final = 400.0


def interpreter_with(name: str, requirement: str) -> Path:
    """A Python that has a package and not vtsserving: clients pin what would change our own environment.

    Args:
        name: of the environment.
        requirement: as pip takes it; another one makes the environment anew.
    """
    folder = FOLDER / name
    python, made_for = folder / "bin" / "python", folder / "made_for"
    wanted = f"{requirement} on {sys.version}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / f"{name}.lock"):
        if not made_for.exists() or made_for.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*install, requirement], check=True, timeout=INSTALL_TIMEOUT_S)
            made_for.write_text(wanted)
    return python
