"""What a model process takes from the machine, and when that has grown so much that it is replaced."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

MAX_MORE_THREADS: Final = 512
MAX_MORE_FILES: Final = 512
"""A process that has so many more than when it was warm leaks them."""


class Usage(NamedTuple):
    """One reading of a process.

    Attributes:
        rss_bytes: resident memory.
        threads: how many.
        files: open file descriptors.
    """

    rss_bytes: int = 0
    threads: int = 0
    files: int = 0


def usage_of(pid: int, proc: Path = Path("/proc")) -> Usage:
    """Read what a process takes; zeros when it is gone or the system does not tell.

    Args:
        pid: of the process.
        proc: where the kernel's process files are.
    """
    folder = proc / str(pid)
    try:
        fields = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        rss_bytes = int(fields["VmRSS"].split()[0]) * 1024
        return Usage(rss_bytes, int(fields["Threads"]), len(os.listdir(folder / "fd")))
    except (OSError, KeyError, ValueError):
        return Usage()


class Allowance(NamedTuple):
    """How far a process may go before it is replaced; 0 sets no limit.

    Attributes:
        growth_bytes: of resident memory since it was warm.
        batches: computed since it started.
    """

    growth_bytes: int = 0
    batches: int = 0

    def exceeded(self, warm: Usage, now: Usage, batches: int) -> str:
        """Why a process should be replaced.

        Args:
            warm: its usage when it was warm.
            now: its usage now.
            batches: how many it has computed.

        Returns:
            The reason, for the log; empty while there is none.
        """
        if self.batches and batches >= self.batches:
            return f"{batches} batches computed"
        if self.growth_bytes and now.rss_bytes - warm.rss_bytes > self.growth_bytes:
            return f"memory grew from {warm.rss_bytes:,} to {now.rss_bytes:,} bytes"
        if now.threads - warm.threads > MAX_MORE_THREADS:
            return f"threads grew from {warm.threads} to {now.threads}"
        if now.files - warm.files > MAX_MORE_FILES:
            return f"open files grew from {warm.files} to {now.files}"
        return ""
