"""Client processes that push and pull models, are ready at once, and may be killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import push_worker
from vtsserving._local_store.model import Model


class Clients:
    """Client processes that push and pull models and may be killed."""

    def __init__(self) -> None:
        argv = [sys.executable, str(push_worker.__file__)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._heard: list[str] = []

    def __enter__(self) -> Clients:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def begin(self, verb: str, models: list[Model], url: str, root: Path) -> list[int]:
        """Begin to push or pull all of these; returns the processes."""
        self._say("".join(f"{verb} {model.tag} {url} {root}\n" for model in models))
        return [int(self._hear("began").split()[1]) for _ in models]

    def end(self) -> set[str]:
        """Wait for all processes; returns the tags of those that succeeded."""
        self._say("\n")
        done: list[str] = []
        while (line := self._hear("done", "ended")) != "":
            done.append(line)
        return set(done)

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def _hear(self, *words: str) -> str:
        """The rest of the next line, which must begin with one of the words; other lines wait."""
        assert self._process.stdout is not None
        while True:
            line = next((line for line in self._heard if line.split()[0] in words), None)
            if line is not None:
                self._heard.remove(line)
                return line.partition(" ")[2].strip()
            line = self._process.stdout.readline()
            assert line, "the clients died"
            self._heard.append(line)
