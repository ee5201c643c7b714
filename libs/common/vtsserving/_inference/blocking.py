"""Calls from threads that wait: packed and decoded there, sent from the event loop, many at a time."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from vtsserving._catalog.catalog import CatalogEntry, Method
from vtsserving._inference.client import InferenceClient
from vtsserving._inference.request import Outcome
from vtsserving._inference.runner_calls import packed_call
from vtsserving._wire.labels import EntryLabels
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import DeadlineExceeded

SLACK_S: Final = 1.0
"""How much longer than the deadline a thread waits: the deadline's own error comes from the event loop."""


class _Call:
    """One call; its lock is released when the outcome is there."""

    __slots__ = ("deadline_s", "entry", "error", "labels", "lock", "method", "outcome", "packed")

    def __init__(
        self,
        entry: CatalogEntry,
        method: Method,
        packed: Packed,
        deadline_s: float,
        labels: EntryLabels | None,
    ) -> None:
        self.entry = entry
        self.method = method
        self.packed = packed
        self.deadline_s = deadline_s
        self.labels = labels
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.lock = threading.Lock()
        self.lock.acquire()

    def done(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.lock.release()

    def failed(self, error: Exception) -> None:
        self.error = error
        self.lock.release()


class BlockingCalls:
    """Calls of one client. Create it inside of its running event loop."""

    def __init__(self, client: InferenceClient, before: Callable[[], None]) -> None:
        """Prepare.

        Args:
            client: started.
            before: called on the loop before calls are sent.
        """
        self._client = client
        self._before = before
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Call] = deque()
        self._is_waking = False

    def call(
        self,
        entry: CatalogEntry,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        timeout_s: float,
        labels: EntryLabels | None = None,
    ) -> Any:
        """Call a method and wait, in a thread that is not the loop's.

        Raises:
            DeadlineExceeded: the time is over.
            VtsServingException: of all kinds, as InferenceClient.call and Outcome.value.
        """
        described, packed = packed_call(entry, method, args, kwargs)
        call = _Call(entry, described, packed, self._loop.time() + timeout_s, labels)
        self._waiting.append(call)
        # One wake-up for all that come until the loop gets to it; the flag falls before it looks.
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_soon_threadsafe(self._send)
        if not call.lock.acquire(timeout=timeout_s + SLACK_S):
            raise DeadlineExceeded(f"no answer within {timeout_s:.3g} s")
        if call.error is not None:
            raise call.error
        assert call.outcome is not None
        return call.outcome.value()

    def _send(self) -> None:
        self._is_waking = False
        self._before()
        now_s = self._loop.time()
        while self._waiting:
            call = self._waiting.popleft()
            timeout_s = max(call.deadline_s - now_s, 0.001)
            try:
                self._client.submit(
                    call.entry,
                    call.method,
                    call.packed,
                    timeout_s=timeout_s,
                    on_done=call.done,
                    labels=call.labels,
                )
            except Exception as error:
                call.failed(error)
