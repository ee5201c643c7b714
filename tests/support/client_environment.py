"""Interpreters with other people's clients, each in an environment of its own that is made once per checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from filelock import FileLock

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from support.source_tree import REPOSITORY

FOLDER: Final = REPOSITORY / ".venv" / "clients"
INSTALL_TIMEOUT_S: Final = 550.0


VERSIONS: Final = REPOSITORY / "tests" / "frameworks" / "versions.toml"


def interpreter_with(name: str, *requirements: str) -> Path:
    """A Python that has packages and not vtsserving: clients pin what would change our own environment.

    Args:
        name: of the environment.
        requirements: as pip takes them; others make the environment anew.
    """
    folder = FOLDER / name
    python, made_for = folder / "bin" / "python", folder / "made_for"
    wanted = f"{' '.join(requirements)} on {sys.version}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / f"{name}.lock"):
        if not made_for.exists() or made_for.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            install = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            subprocess.run([*install, *requirements], check=True, timeout=INSTALL_TIMEOUT_S)
            made_for.write_text(wanted)
    return python


def client_interpreter(group: str) -> Path:
    """A Python with the client of a group of versions.toml, in the version that it is held for."""
    return interpreter_with(group, *_group(group)["client"])


def npm_modules(group: str) -> Path:
    """A folder with the commands of the npm packages of a group of versions.toml; needs Node.js with npm."""
    folder, packages = FOLDER / group, _group(group)["npm"]
    made_for = folder / "made_for"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / f"{group}.lock"):
        if not made_for.exists() or made_for.read_text() != " ".join(packages):
            folder.mkdir(exist_ok=True)
            install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
            subprocess.run([*install, *packages], check=True, timeout=INSTALL_TIMEOUT_S)
            made_for.write_text(" ".join(packages))
    return folder / "node_modules" / ".bin"


def _group(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(VERSIONS.read_text())[name]
    return found
