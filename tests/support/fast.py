"""Holds tests marked `fast` to what the mark says: they start no process and open no port.

What they wait for is their own code alone, so that all of them together take seconds and run anywhere. A test of such a
file that needs a process of its own is `slow`, and is not held to it. The checker of saved models is no test's own: one
for all tests of a process, it belongs to every save.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import pytest

REJECTED: Final = frozenset({"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "socket.bind"})
"""Names of audit events; an address that is a path belongs to a folder of the test, and is no port."""
CHECKER: Final = "vtsserving._saving.checker_process"
_running: Final[list[str]] = []
_installed: Final[list[bool]] = []


class NotFast(Exception):
    """A test marked `fast` does what takes its time, or needs a machine to itself."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Reject what a fast test may not do, in the test and in all its fixtures."""
    if item.get_closest_marker("fast") is None or any(map(item.get_closest_marker, ("slow", "alone"))):
        return (yield)
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_reject)  # for as long as this process lives: Python has no way to remove one
    _running.append(item.nodeid)
    try:
        return (yield)
    finally:
        _running.clear()


def _reject(event: str, arguments: tuple[Any, ...]) -> None:
    if not _running or event not in REJECTED:
        return
    if event == "socket.bind" and isinstance(arguments[1], str | bytes):
        return
    if event == "subprocess.Popen" and CHECKER in arguments[1]:
        return
    raise NotFast(f"{_running[0]} is marked `fast` and causes {event}: take the mark away, or the cause")
