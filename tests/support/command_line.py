"""The command line, run in this process or in one of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import pytest

from support.supervisor import process_state
from vtsserving_cli.main import run

_POLL_S: Final = 0.005


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs commands in this process, where they start at once."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ended:
        """Run one command."""
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        return Ended(code, captured.out, captured.err)


def command(*arguments: str) -> list[str]:
    """The command in a process of its own."""
    return [sys.executable, "-m", "vtsserving_cli", *arguments]


def run_process(*arguments: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run one command in a process of its own, without a terminal."""
    ended = subprocess.run(
        command(*arguments),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **(env or {})},
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


class Terminal:
    """A command on a pseudo-terminal; `program` runs another one than ours."""

    def __init__(
        self, *arguments: str, env: dict[str, str] | None = None, program: Sequence[str] | None = None
    ) -> None:
        argv = command(*arguments) if program is None else [*program, *arguments]
        self._fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **(env or {})},
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.text = ""

    def wait_for(self, text: str, within_s: float = 20.0) -> None:
        """Read until the text was shown."""
        deadline_s = time.monotonic() + within_s
        while text not in self.text:
            assert time.monotonic() < deadline_s, self.text
            if not self._read(deadline_s - time.monotonic()):
                raise AssertionError(self.text)

    def wait_for_question(self, text: str, within_s: float = 20.0) -> None:
        """Read until a question was shown and the command sleeps until its answer.

        An interrupt that comes between the two is handled by CPython only once the answer is there.
        """
        self.wait_for(text, within_s)
        deadline_s = time.monotonic() + within_s
        while process_state(self.process.pid) != "S":
            assert time.monotonic() < deadline_s, self.text
            time.sleep(_POLL_S)

    def write(self, text: str) -> None:
        """Type a text."""
        os.write(self._fd, text.encode())

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        while self._read(20.0):
            pass
        try:
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self._fd)

    def _read(self, within_s: float) -> bool:
        readable, _, _ = select.select([self._fd], [], [], max(0.0, within_s))
        if not readable:
            return False
        data = b""
        with contextlib.suppress(OSError):  # the other end is closed
            data = os.read(self._fd, 65_536)
        self.text += data.decode(errors="replace")
        return bool(data)
