"""An event loop whose time jumps: what would wait for minutes is over at once, and always in the same order."""

from __future__ import annotations

import asyncio
import gc
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class NothingToWaitFor(Exception):
    """Everything waits and nothing will ever happen."""


class _JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for a while, says that the while is over."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise NothingToWaitFor
            self.now_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time starts at 1,000 s and passes only where everybody waits; for tests without sockets or threads."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a fresh loop; whatever it leaves behind is cancelled."""
    loop = VirtualLoop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    # What tests before left to the collector may make tasks when it is finalized, as s3fs does: not in this loop.
    gc.disable()
    try:
        result = loop.run_until_complete(scenario)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        gc.enable()
        loop.close()
    assert not errors, errors
    return result
