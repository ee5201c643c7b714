"""When named functions of the product are called, in all threads of this process and in model processes.

Nothing of the product is changed: a profile function sees every call. Times are of the monotonic clock, which all
processes of a machine share.
"""

from __future__ import annotations

import ast
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final

_MODEL_PROCESS: Final = "vtsserving_runner.child.worker"

_SITE: Final = f"""\
import sys
if {_MODEL_PROCESS!r} in sys.orig_argv:
    sys.path.append({str(Path(__file__).parents[1])!r})
    from support.path_recorder import follow
    follow({{folder!r}})
"""

Place = tuple[str, int]
"""File, and the line at which a function begins."""


def place_of(file: Path, name: str) -> Place:
    """Where `Class.method` or `function` begins in a file.

    Raises:
        LookupError: the file does not define it.
    """
    body: list[ast.stmt] = ast.parse(file.read_text()).body
    *classes, last = name.split(".")
    for owner in classes:
        body = next((n.body for n in body if isinstance(n, ast.ClassDef) and n.name == owner), [])
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == last:
            return str(file), min([node.lineno, *(one.lineno for one in node.decorator_list)])
    raise LookupError(f"{file} does not define {name}")


class Recorder:
    """Calls of functions from `start` to `stop`; start it before the threads that are to be followed."""

    def __init__(self, places: Mapping[Place, str], folder: Path) -> None:
        """Follow functions.

        Args:
            places: where each begins, and what to call it.
            folder: an empty one; what model processes call is written there.
        """
        self._places = dict(places)
        self._folder = folder
        self._calls = folder / "calls"
        self._seen: list[tuple[int, str]] = []
        (folder / "sitecustomize.py").write_text(_SITE.format(folder=str(folder)))
        (folder / "targets").write_text("".join(f"{f}\t{n}\t{w}\n" for (f, n), w in self._places.items()))

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which model processes are followed, too."""
        return {
            "PYTHONPATH": os.pathsep.join([str(self._folder), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }

    def start(self) -> None:
        """Begin, in this thread and in those that start from now on."""
        threading.setprofile(self._on_call)
        sys.setprofile(self._on_call)

    def stop(self) -> None:
        """End it in this thread and in those that start from now on."""
        sys.setprofile(None)
        threading.setprofile(None)

    def first_calls(self, since_ns: int = 0) -> dict[str, int]:
        """Each function that was called, and when it was for the first time since then."""
        first: dict[str, int] = {}
        for at_ns, name in sorted([*self._seen, *self._elsewhere()]):
            if at_ns >= since_ns:
                first.setdefault(name, at_ns)
        return first

    def _elsewhere(self) -> Iterator[tuple[int, str]]:
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        for line in lines:
            at_ns, _, name = line.partition(" ")
            yield int(at_ns), name

    def _on_call(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            name = self._places.get((code.co_filename, code.co_firstlineno))
            if name is not None:
                self._seen.append((time.monotonic_ns(), name))


def follow(folder: str) -> None:
    """In a model process: write the calls of the functions that a recorder's folder lists into that folder."""
    places: dict[Place, str] = {}
    for line in Path(folder, "targets").read_text().splitlines():
        file, number, name = line.split("\t")
        places[file, int(number)] = name
    calls = os.open(Path(folder, "calls"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def on_call(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            name = places.get((frame.f_code.co_filename, frame.f_code.co_firstlineno))
            if name is not None:
                os.write(calls, f"{time.monotonic_ns()} {name}\n".encode())

    sys.setprofile(on_call)
