"""A progress bar on a terminal; nothing elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from vtsserving_cli.console import printable

MAX_FILE_ROWS: Final = 10
"""Files that are shown by themselves at the same time; the others only count."""

FILE_CHARS: Final = 40


@contextlib.contextmanager
def byte_progress(title: str, total_bytes: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show how many bytes are done.

    Args:
        title: what is being done.
        total_bytes: how many there are, if that is known.

    Yields:
        To be called with each number of bytes done; None where nothing is shown.
    """
    if not _wanted():
        yield None
        return
    with _bar() as bar:
        task = bar.add_task(title, total=total_bytes)
        yield lambda n_bytes: bar.advance(task, n_bytes)


class TransferBar:
    """Shows a push or a pull: a bar for all bytes, and below it one for each large file that is on its way.

    Called from several threads at once.
    """

    def __init__(self, bar: Any, title: str) -> None:
        self._bar = bar
        self._title = title
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._rows: dict[str, Any] = {}
        self._total: Any = None
        self._finished: set[str] = set()

    def begin(self, files: Mapping[str, int]) -> None:
        """Path and bytes of each file that will travel."""
        with self._lock:
            if self._total is not None:
                self._bar.remove_task(self._total)
            self._sizes, self._done, self._finished = dict(files), dict.fromkeys(files, 0), set()
            self._total = self._bar.add_task(self._description(), total=sum(files.values()))

    def advance(self, path: str, n_bytes: int) -> None:
        """Bytes of a file are done; negative when they must travel again."""
        with self._lock:
            size = self._sizes[path]
            self._done[path] = done = self._done[path] + n_bytes
            if done == size:
                self._finished.add(path)
            else:
                self._finished.discard(path)
            self._bar.update(self._total, advance=n_bytes, description=self._description())
            self._show_file(path, done, size)

    def _show_file(self, path: str, done: int, size: int) -> None:
        row = self._rows.get(path)
        if done == size:
            if row is not None:
                self._bar.remove_task(self._rows.pop(path))
        elif row is not None:
            self._bar.update(row, completed=done)
        elif len(self._rows) < MAX_FILE_ROWS:
            self._rows[path] = self._bar.add_task(f"  {short(path)}", total=size, completed=done)

    def _description(self) -> str:
        finished, count = len(self._finished), len(self._sizes)
        if finished == count:
            return f"{self._title}, checking"
        return f"{self._title}, {finished} of {count} files" if count > 1 else self._title


def short(path: str) -> str:
    """A path in at most FILE_CHARS characters that no terminal acts on; its end says most."""
    shown = printable(path)
    return shown if len(shown) <= FILE_CHARS else f"…{shown[1 - FILE_CHARS :]}"


@contextlib.contextmanager
def transfer_progress(title: str) -> Iterator[TransferBar | None]:
    """Show what a push or a pull does.

    Args:
        title: what is being done.

    Yields:
        What the transfer reports to; None where nothing is shown.
    """
    if not _wanted():
        yield None
        return
    with _bar() as bar:
        yield TransferBar(bar, title)


@contextlib.contextmanager
def row_progress(title: str) -> Iterator[Callable[[float, int, int], None] | None]:
    """Show how much of a file was scored.

    Args:
        title: what is being done.

    Yields:
        To be called with the share of the file that is done, from 0 to 1, and with the rows that are done and those of
        them that failed; None where nothing is shown.
    """
    if not _wanted():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TaskProgressColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0)

        def show(share: float, rows: int, failed: int) -> None:
            said = f"{title}, {rows:,} rows" + (f", {failed:,} failed" if failed else "")
            bar.update(task, completed=share, description=said)

        yield show


def _wanted() -> bool:
    """Whether there is a terminal that takes a bar."""
    silenced = os.environ.get("VTSSERVING_NO_PROGRESS") or os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and not silenced


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.table import Column

    def whole() -> Column:
        return Column(no_wrap=True, min_width=8)

    columns = (
        # On a narrow terminal the description gives way, not the figures.
        TextColumn(
            "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")
        ),
        BarColumn(bar_width=16),
        DownloadColumn(table_column=Column(no_wrap=True, min_width=15)),
        TransferSpeedColumn(table_column=whole()),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True, table_column=whole()),
    )
    return Progress(*columns, console=Console(stderr=True), transient=True)
