"""Where figures come from: the commit and the machine, for the tables that quote them."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]


def commit() -> str:
    """Short id of the checked-out commit, with `+` when tracked files differ from it."""
    git = ["git", "-C", str(REPOSITORY)]
    head = subprocess.run(
        [*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=False
    )
    if head.returncode != 0:
        return "unknown"
    dirty = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False).returncode
    return head.stdout.strip() + ("+" if dirty else "")


def machine() -> str:
    """CPU model, usable cores, memory and Python, in one line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        model = names[0] if names else model
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}"


def s3_server() -> str:
    """Which S3 server VTSSERVING_TEST_S3 names, in the words of VTSSERVING_TEST_S3_NAME; empty for SeaweedFS."""
    if not os.environ.get("VTSSERVING_TEST_S3"):
        return ""
    return os.environ.get("VTSSERVING_TEST_S3_NAME") or "a server of its own"
