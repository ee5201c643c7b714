"""CPU time of process trees, from /proc: what a request costs, however busy the machine is with other things."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds, user and system, that the processes and their living descendants have used so far."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # it ended meanwhile
        # pid (name) state ppid ... utime stime: the name may hold blanks and parentheses.
        fields = text[text.rindex(")") + 2 :].split()
        pid = int(path.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = int(fields[11]) + int(fields[12])
    total = 0
    left = list(roots)
    while left:
        pid = left.pop()
        total += ticks.get(pid, 0)
        left += children.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")


def own_cpu_s(pid: int) -> float:
    """CPU seconds, user and system, that one process has used so far, its children not counted."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int) -> tuple[int, ...]:
    """Process ids of the children of a process, whichever of its threads started them."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(word) for word in path.read_text().split()]
    return tuple(sorted(found))
