"""A progress bar on a terminal; nothing elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any


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
    """Shows the files of a push or a pull as one bar; called from several threads at once."""

    def __init__(self, bar: Any, title: str) -> None:
        self._bar = bar
        self._title = title
        self._task: Any = None

    def begin(self, files: Mapping[str, int]) -> None:
        """Path and bytes of each file that will travel."""
        self._task = self._bar.add_task(self._title, total=sum(files.values()))

    def advance(self, path: str, n_bytes: int) -> None:
        """Bytes of a file are done; negative when they must travel again."""
        self._bar.advance(self._task, n_bytes)


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


def _wanted() -> bool:
    """Whether there is a terminal that takes a bar."""
    silenced = os.environ.get("VTSSERVING_NO_PROGRESS") or os.environ.get("TERM") == "dumb"
    return sys.stderr.isatty() and not silenced


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
