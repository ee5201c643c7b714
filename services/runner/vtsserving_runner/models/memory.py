"""How much memory is left for models: of the machine and of the container."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_V2: Final = ("memory.max", "memory.current")
_V1: Final = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_RECLAIMABLE: Final = ("inactive_file", "total_inactive_file")
"""Cache that counts as used and is given back under pressure; by the name it has in cgroup v2 and v1."""


def free_bytes(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that can be taken before something has to give way.

    Args:
        proc: where the kernel's process files are.
        cgroup: where its control groups are.

    Returns:
        The smaller of what the machine and what the container has left, in bytes.
    """
    left = [left for left in (_machine_left(proc), *_container_left(cgroup)) if left is not None]
    return max(0, min(left)) if left else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _machine_left(proc: Path) -> int | None:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return None
    return None


def _container_left(cgroup: Path) -> list[int]:
    """What is left of each limit in force; a container sees its own group at the root."""
    left = []
    for folder, (limit, used) in ((cgroup, _V2), (cgroup / "memory", _V1)):
        try:
            text = (folder / limit).read_text().strip()
            if text == "max":
                continue
            current = int((folder / used).read_text())
        except (OSError, ValueError):
            continue
        left.append(int(text) - current + _reclaimable(folder))
    return left


def _reclaimable(folder: Path) -> int:
    try:
        pairs = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        values = {key: int(value) for key, value in pairs if key in _RECLAIMABLE}
    except (OSError, ValueError):
        return 0
    return max(values.values(), default=0)
