"""What goes to the terminal, and where: data to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import TextIO

from vtsserving.exceptions import InvalidArgument, StorageError

_RED = "31"
_YELLOW = "33"


class ReaderLeft(Exception):
    """Who read our output went away, as `head` does; not an OSError, which typer would answer itself."""


class Console:
    """The two streams of a command."""

    @staticmethod
    def out(text: str) -> None:
        """Write a line of data.

        Raises:
            ReaderLeft: nobody reads it.
            StorageError: it goes to a file, and the disk refuses.
        """
        with _output_errors():
            sys.stdout.write(text + "\n")

    @staticmethod
    def flush() -> None:
        """Write out what is left of the data, while what goes wrong can still be told; raises as `out`."""
        with _output_errors():
            sys.stdout.flush()

    @staticmethod
    def note(text: str) -> None:
        """Write a line for people."""
        sys.stderr.write(text + "\n")

    @staticmethod
    def log(text: str) -> None:
        """Write what the command did, as a log line."""
        Console.note(f"INFO [cli] {text}")

    @staticmethod
    def warn(text: str) -> None:
        """Write a warning."""
        Console.note(f"{_colored('Warning:', _YELLOW)} {text}")

    @staticmethod
    def error(text: str) -> None:
        """Write the one line that says why a command failed and what to do."""
        Console.note(f"{_colored('Error:', _RED)} {text}")


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as e:
        raise ReaderLeft from e
    except OSError as e:
        raise StorageError(f"the output cannot be written: {e.strerror}") from e


def _colored(text: str, color: str) -> str:
    return f"\x1b[{color}m{text}\x1b[0m" if colors_on(sys.stderr) else text


def colors_on(stream: TextIO) -> bool:
    """Whether a stream takes colours: a terminal, unless NO_COLOR or TERM=dumb; FORCE_COLOR wins."""
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show_warnings() -> None:
    """Let Python warnings of ours look like ours: one line, no file names."""

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        if issubclass(category, UserWarning):
            Console.warn(str(message))

    warnings.showwarning = show


def confirm(question: str, *, assume_yes: bool, details: Sequence[str] = ()) -> bool:
    """Ask before something is destroyed.

    Args:
        question: without the `[y/N]`.
        assume_yes: do not ask.
        details: what is concerned, one a line above the question.

    Returns:
        Whether to go on.

    Raises:
        InvalidArgument: there is no terminal to ask on.
    """
    if assume_yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidArgument("there is no terminal to ask on; add --yes to go on without asking")
    import typer

    for detail in details:
        Console.note(f"  {detail}")
    try:
        return bool(typer.confirm(question, default=False, err=True))
    except typer.Abort:
        Console.note("")  # the cursor still stands behind the question
        raise


def printable(text: str) -> str:
    """Stored text as a terminal may show it: what would move the cursor or change colours is spelled out."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns, aligned, two blanks apart, never cut.

    Args:
        header: the columns' titles.
        rows: as many texts each.

    Returns:
        Lines without a newline at the end.
    """
    lines = [header, *([printable(text) for text in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
