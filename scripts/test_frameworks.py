"""Install frameworks and run the tests that need them, group by group.

The groups, their versions and their environments stand in tests/frameworks/versions.toml. An environment is a folder
below build/frameworks that sees everything in .venv and adds its packages; it is made anew when these or .venv change.

usage: scripts/test_frameworks.py [--frameworks xgboost,torch] [what pytest takes]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from run_tests import status_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY: Final = Path(__file__).resolve().parents[1]
VERSIONS: Final = REPOSITORY / "tests" / "frameworks" / "versions.toml"
ENVIRONMENTS: Final = REPOSITORY / "build" / "frameworks"
CHOSEN: Final = "VTSSERVING_TEST_FRAMEWORKS"
"""The variable that tells tests/conftest.py which groups there are."""


class Group(NamedTuple):
    """Frameworks that are installed and tested together."""

    name: str
    environment: str
    packages: tuple[str, ...]
    needs: tuple[str, ...]


def groups(text: str) -> dict[str, Group]:
    """The groups of a versions.toml, by name."""
    raw = tomllib.loads(text)
    return {
        name: Group(name, one["environment"], tuple(one["packages"]), tuple(one.get("needs", ())))
        for name, one in raw.items()
    }


def chosen(known: dict[str, Group], names: Iterable[str]) -> list[Group]:
    """The groups of these names with those that they need; all groups where there is no name.

    Raises:
        SystemExit: there is no such group.
    """
    wanted = list(names) or list(known)
    found: dict[str, Group] = {}
    while wanted:
        name = wanted.pop()
        if name not in known:
            raise SystemExit(f"test-frameworks: there is no group {name!r}; there are {', '.join(known)}")
        if name not in found:
            found[name] = known[name]
            wanted.extend(known[name].needs)
    return [group for group in known.values() if group.name in found]


def by_environment(found: Sequence[Group]) -> dict[str, list[Group]]:
    """The groups of each environment, in order."""
    parts: dict[str, list[Group]] = {}
    for group in found:
        parts.setdefault(group.environment, []).append(group)
    return parts


def environment(name: str, packages: Sequence[str]) -> Path:
    """Make an environment, unless it is there already; returns its interpreter."""
    folder = ENVIRONMENTS / name
    python = folder / "bin" / "python"
    # The stamps of .venv say which state of the project it has.
    state = [*packages, sys.version, *sorted(one.name for one in Path(sys.prefix).glob(".installed-*"))]
    stamp = folder / f".installed-{hashlib.sha256(repr(state).encode()).hexdigest()[:16]}"
    if stamp.exists():
        return python
    print(f"test-frameworks: installing {' '.join(packages) or 'nothing more'} into {folder}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    inside = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # As a folder of its own, with the lines of its .pth files: .venv has the product as an editable package.
    line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    Path(inside, "of_the_tests.pth").write_text(line)
    if packages:
        install = [
            str(python),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--prefer-binary",
        ]
        subprocess.run([*install, *packages], check=True)
    stamp.touch()
    return python


def run_group(name: str, members: Sequence[Group], pytest_arguments: Sequence[str]) -> int:
    """Run the tests of one environment, those that weigh memory by themselves; pytest's exit status."""
    python = environment(name, [package for group in members for package in group.packages])
    names = ",".join(group.name for group in members)
    print(f"test-frameworks: {names}", flush=True)
    began_s = time.monotonic()
    beside = ["-n", str(len(os.sched_getaffinity(0))), "--dist", "loadfile", "--no-loadscope-reorder"]
    codes = [
        subprocess.run(
            [str(python), "-m", "pytest", "-m", marks, *more, *pytest_arguments],
            cwd=REPOSITORY,
            env={**os.environ, CHOSEN: names},
            check=False,
        ).returncode
        for marks, more in (("frameworks and not alone", beside), ("frameworks and alone", []))
    ]
    print(f"test-frameworks: {names} in {time.monotonic() - began_s:.0f} s", flush=True)
    return status_of(codes)


def main(arguments: Sequence[str]) -> int:
    """Run the chosen groups, all of them even if one fails."""
    parser = argparse.ArgumentParser(usage=(__doc__ or "").rpartition("usage: ")[2].strip(), add_help=False)
    parser.add_argument("--frameworks", default="")
    ours, others = parser.parse_known_args(arguments)
    names = [name.strip() for name in ours.frameworks.split(",") if name.strip()]
    found = chosen(groups(VERSIONS.read_text()), names)
    codes = [run_group(name, members, others) for name, members in by_environment(found).items()]
    return status_of(codes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
