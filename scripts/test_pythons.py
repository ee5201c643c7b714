"""Run the fast tests with Debian trixie's Python 3.13, and see what else the other supported versions would install.

One Python that differs from the developer's is run for real: trixie's, in a root folder of its own under build/trixie,
made with mmdebstrap from the mirror that this machine uses. For the others the dependencies are resolved, from wheels
alone, as pip would do it there: a version for which a dependency has no wheel fails here. Needs root and Debian.

usage: scripts/test_pythons.py [what pytest takes]
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
WORK: Final = REPOSITORY / "build" / "pythons"
ROOT: Final = REPOSITORY / "build" / "trixie"
RUN: Final = "3.13"
RESOLVED: Final = ("3.10", "3.12", "3.14")
FAST: Final = "fast and not slow and not alone"
"""What `make test-fast` runs, too."""
EXTRAS: Final = "test,sklearn,pandas,image"
WITHOUT_WHEELS: Final = ("pyftpdlib>=2.0",)
"""Published as source alone, and plain Python: a wheel that is built here fits every version."""
PACKAGES: Final = ("python3", "python3-venv", "ca-certificates", "tzdata")
PIP_AS: Final = """
import sys
from pip._vendor.packaging import markers

version = sys.argv.pop(1)
here = markers.default_environment
markers.default_environment = lambda: {
    **here(),
    "python_version": version,
    "python_full_version": f"{version}.0",
    "implementation_version": f"{version}.0",
}
from pip._internal.cli.main import main

sys.exit(main(sys.argv[1:]))
"""
"""pip's --python-version picks wheels of a version, but takes `python_version < "3.11"` for this interpreter's."""


class Failed(Exception):
    """A step could not be done; the text says what to do."""


def run(*command: str | Path, log: Path | None = None) -> None:
    """Run a command; what it writes goes to a log, whose end is shown when it fails.

    Raises:
        Failed: with the end of the log.
    """
    words = [str(word) for word in command]
    if log is None:
        code = subprocess.run(words, cwd=REPOSITORY, check=False).returncode
    else:
        with log.open("wb") as written:
            code = subprocess.run(
                words, cwd=REPOSITORY, stdout=written, stderr=written, check=False
            ).returncode
    if code:
        text = "" if log is None else log.read_text(errors="replace")[-3_000:] + f"\nthe whole log is {log}; "
        raise Failed(f"{text}{words[0]} ended with {code}: {' '.join(words)[:300]}")


def pip_as(version: str, *arguments: str | Path) -> None:
    """Run pip as if it were another Python's, with the extras of the tests, wheels only."""
    wheels = (
        "--only-binary=:all:",
        "--python-version",
        version,
        "--no-build-isolation",
        "--find-links",
        WORK / "plain",
    )
    run(
        sys.executable, "-c", PIP_AS, version, *arguments, *wheels, f".[{EXTRAS}]", log=WORK / f"pip-{version}.log"
    )  # fmt: skip


def resolve(version: str) -> int:
    """Resolve all dependencies for a version of Python without installing one; returns how many packages that are."""
    report = WORK / f"{version}.json"
    pip_as(
        version, "install", "--dry-run", "--ignore-installed", "--target", WORK / "none", "--quiet", "--report", report
    )  # fmt: skip
    names = {package["metadata"]["name"].lower() for package in json.loads(report.read_text())["install"]}
    # Ours to know: the one dependency that goes by the version shows that pip resolved for that one.
    if ("tomli" in names) is not (version == "3.10"):
        raise Failed(f"pip did not resolve for Python {version}: tomli is needed by 3.10 alone; see {report}")
    return len(names)


def make_root() -> None:
    """Unpack trixie with its Python into ROOT, unless that is there.

    Raises:
        Failed: this machine cannot do it; says what is missing.
    """
    if (ROOT / "made").exists():
        return
    if os.geteuid():
        raise Failed("a root folder of another Debian needs root: run `sudo make test-python`")
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    found = re.search(r"^URIs:\s*(\S+)", sources.read_text(), re.MULTILINE) if sources.exists() else None
    if found is None:
        raise Failed(f"no mirror of Debian in {sources}: run this on Debian 12 or later")
    if shutil.which("mmdebstrap") is None:
        install = ("apt-get", "install", "-y", "--no-install-recommends", "mmdebstrap")
        run(
            "sh",
            "-c",
            f"{' '.join(install)} || {{ apt-get update && {' '.join(install)}; }}",
            log=WORK / "apt.log",
        )
    shutil.rmtree(ROOT, ignore_errors=True)
    run(
        "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "--dpkgopt=force-unsafe-io",
        "trixie", ROOT, found.group(1), log=WORK / "mmdebstrap.log",
    )  # fmt: skip
    (ROOT / "made").touch()


def in_root(*command: str, log: Path | None = None) -> None:
    """Run a command in the root, in the folder of the source, with /proc, /sys and /dev/shm of its own."""
    mounts = 'mount -t proc proc "$0/proc" && mount -t sysfs sys "$0/sys" && mount -t tmpfs shm "$0/dev/shm"'
    script = f'{mounts} && exec chroot "$0" sh -c "$1" sh "${{@:2}}"'
    inside = 'cd /src && exec env -i HOME=/root LANG=C.UTF-8 PATH=/venv/bin:/usr/sbin:/usr/bin "$@"'
    run(
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "bash",
        "-c",
        script,
        ROOT,
        inside,
        *command,
        log=log,
    )


def copy_source() -> None:
    """Copy what git has or would add into the root, as a checkout of its own."""
    source = ROOT / "src"
    shutil.rmtree(source, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, source / name)


def install() -> None:
    """Install the source with its dependencies into an environment in the root, once per state of pyproject.toml."""
    state = hashlib.sha256((REPOSITORY / "pyproject.toml").read_bytes()).hexdigest()[:16]
    stamp = ROOT / "venv" / f"installed-{state}"
    if stamp.exists():
        return
    wheels = ROOT / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    pip_as(RUN, "download", "--quiet", "--dest", wheels, "editables")
    in_root("/usr/bin/python3", "-m", "venv", "--clear", "/venv", log=WORK / "venv.log")
    pip = (
        "/venv/bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-index",
        "--find-links",
        "/wheels",
    )
    in_root(*pip, "hatchling", "editables", log=WORK / "install.log")
    in_root(*pip, "--no-build-isolation", "--editable", f".[{EXTRAS}]", log=WORK / "install.log")
    stamp.touch()


def main(arguments: Sequence[str]) -> int:
    """Do all of it; the exit status is 0 when every version passed."""
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", WORK / "plain",
            *WITHOUT_WHEELS, log=WORK / "plain.log",
        )  # fmt: skip
        for version in RESOLVED:
            found = resolve(version)
            print(f"Python {version}: {found} packages resolved from wheels; nothing was run", flush=True)
        make_root()
        copy_source()
        install()
        in_root("/venv/bin/python", "--version")
        workers = str(len(os.sched_getaffinity(0)))
        in_root(
            "/venv/bin/python", "-m", "pytest", "-m", FAST, "-n", workers, "--dist", "loadfile", *arguments
        )
    except Failed as failed:
        print(f"test-python: {failed}", file=sys.stderr)
        return 1
    print(f"Python {RUN}: the fast tests passed on Debian trixie's")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
