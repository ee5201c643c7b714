"""Which python files have changed: by looking at them now and then, which works on every file system."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

POLL_S: Final = 0.25
MAX_FILES: Final = 5_000
MAX_FOLDERS: Final = 2_000
"""Of more than these, the rest is not watched."""

_SKIPPED: Final = frozenset(("__pycache__", "node_modules", "site-packages"))

Snapshot = Mapping[Path, tuple[int, int]]


def snapshot(folder: Path) -> Snapshot:
    """The python files below a folder, with their times of change and sizes.

    Args:
        folder: hidden folders inside of it, virtual environments and caches are left out.
    """
    found: dict[Path, tuple[int, int]] = {}
    for path in _python_files(folder):
        try:
            status = path.stat()
        except OSError:
            continue  # removed meanwhile
        found[path] = (status.st_mtime_ns, status.st_size)
        if len(found) >= MAX_FILES:
            break
    return found


def _python_files(folder: Path) -> Iterator[Path]:
    for parent, inner, files in islice(os.walk(folder), MAX_FOLDERS):
        if "pyvenv.cfg" in files:
            inner.clear()
            continue
        inner[:] = [name for name in inner if name not in _SKIPPED and not name.startswith(".")]
        yield from (Path(parent, name) for name in files if name.endswith(".py"))


async def next_change(folder: Path, known: Snapshot) -> list[Path]:
    """Wait until files differ from a snapshot, and have settled.

    Args:
        folder: as for `snapshot`.
        known: the state to compare with.

    Returns:
        What was changed, added or removed.
    """
    before = known
    while True:
        await asyncio.sleep(POLL_S)
        now = await asyncio.to_thread(snapshot, folder)
        # Editors and checkouts write several files; they are done when nothing moves between two looks.
        if now == before and now != known:
            return sorted(path for path in {*known, *now} if known.get(path) != now.get(path))
        before = now


def syntax_error(paths: Sequence[Path]) -> str:
    """What Python says of the first of some files that it cannot read as source; empty if it can read all."""
    for path in paths:
        try:
            compile(path.read_bytes(), str(path), "exec")
        except (SyntaxError, ValueError) as error:
            return "".join(traceback.format_exception_only(error)).rstrip()
        except OSError:
            continue
    return ""
