"""A progress bar on a terminal; nothing elsewhere."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def byte_progress(title: str, total_bytes: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show how many bytes are done.

    Args:
        title: what is being done.
        total_bytes: how many there are, if that is known.

    Yields:
        To be called with each number of bytes done; None where nothing is shown.
    """
    if (
        not sys.stderr.isatty()
        or os.environ.get("VTSSERVING_NO_PROGRESS")
        or os.environ.get("TERM") == "dumb"
    ):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total_bytes)
        yield lambda n_bytes: progress.advance(task, n_bytes)
