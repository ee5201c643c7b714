"""The console script: runs the app and turns every ending into an exit code and at most one line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vtsserving._runtime import config_files
from vtsserving_cli.completion import join_words
from vtsserving_cli.console import Console, ReaderLeft, show_warnings

EXIT_UNEXPECTED: Final = 1
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141

settings_from_files: dict[str, Path] = {}
"""Variable -> the file it was taken from."""

_VERSION_FLAGS: Final = (["--version"], ["-V"])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    Args:
        argv: the arguments after the program's name; sys.argv's if None.

    Raises:
        SystemExit: always, with the code of docs/errors.md.
    """
    code = run(list(sys.argv[1:] if argv is None else argv))
    if code == EXIT_INTERRUPTED:
        # An interrupt inside an `exec` of text (so dataclasses are made while modules load) counts as unhandled for
        # CPython although it was caught: `python -m` would end by the signal, not with this code.
        # The next `exec` resets that.
        exec("")
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name.

    Returns:
        The exit code.
    """
    if argv in _VERSION_FLAGS:
        from vtsserving.version import __version__

        print(f"vtsserving {__version__}")
        return 0
    argv, debug = _take_flag(argv, "--debug")
    argv, no_color = _take_flag(argv, "--no-color")
    if no_color:
        os.environ["NO_COLOR"] = "1"
    try:
        show_warnings()
        settings_from_files.update(config_files.apply())
        join_words(os.environ)
        code = _run_app(argv)
        Console.flush()
        return code
    except (BrokenPipeError, ReaderLeft):
        # The reader left (`| head`); what is still buffered must not raise again when the interpreter exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        Console.error("interrupted")
        return EXIT_INTERRUPTED
    except Exception as e:
        if debug or os.environ.get("VTSSERVING_DEBUG", "") not in {"", "0"}:
            raise
        return _tell(e)


def _run_app(argv: list[str]) -> int:
    import typer

    from vtsserving_cli.app import build

    try:
        code = build(argv)(args=argv, prog_name="vtsserving", standalone_mode=False)
    except typer.Exit as e:
        code = e.exit_code
    except typer.Abort:
        Console.error("interrupted")
        return EXIT_INTERRUPTED
    except Exception as e:
        if not hasattr(e, "format_message"):
            raise
        return _tell_usage(e)
    if code == EXIT_INTERRUPTED:  # typer's own answer to Ctrl-C
        Console.error("interrupted")
    return code if isinstance(code, int) else 0


def _tell_usage(error: Any) -> int:
    """A usage error: its cause, and where the help is."""
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        Console.note(error.format_message())
        return int(error.exit_code)
    command = context.command_path if context is not None else "vtsserving"
    # "No such command 'gte'. Did you mean 'get'?" has a question mark already.
    Console.error(f"{message.rstrip('.')}{' See' if message.endswith('?') else '; see'} {command} --help")
    return int(error.exit_code)


def _tell(error: Exception) -> int:
    from vtsserving.exceptions import VtsServingException

    if isinstance(error, VtsServingException):
        Console.error(" ".join(error.message.split()))
        return error.exit_code
    if isinstance(error, OSError) and error.filename:
        Console.error(f"{error.filename}: {error.strerror}")
        return 9
    text = " ".join(str(error).split())[:500]
    Console.error(f"unexpected {type(error).__name__}: {text}; run it again with --debug for the traceback")
    return EXIT_UNEXPECTED


def _take_flag(argv: list[str], flag: str) -> tuple[list[str], bool]:
    """Take a flag that may stand anywhere before `--`."""
    end = argv.index("--") if "--" in argv else len(argv)
    before = [argument for argument in argv[:end] if argument != flag]
    return before + argv[end:], len(before) < end


if __name__ == "__main__":
    main()
