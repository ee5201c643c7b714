"""Errors back to the gateways: one frame per reply subject, never an exception to the caller."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable

from vtsserving._bus.interface import Bus
from vtsserving._wire import frames
from vtsserving.exceptions import VtsServingException
from vtsserving_batcher.metrics import BatcherCounters
from vtsserving_batcher.queue import Entry

_log = logging.getLogger(__name__)


class Answers:
    """Tells gateways that entries ended with an error."""

    def __init__(self, bus: Bus, counters: BatcherCounters) -> None:
        """Answer over `bus` and count in `counters`."""
        self._bus = bus
        self._counters = counters

    def fail(
        self, entries: Iterable[Entry], code: str, message: str, retry_after_s: float | None = None
    ) -> None:
        """End entries with an error; those whose callers left are only counted.

        Args:
            entries: no longer queued nor in flight.
            code: of the error tree.
            message: for the caller.
            retry_after_s: advice for retryable codes, seconds.
        """
        by_gateway: dict[str, list[int]] = defaultdict(list)
        for entry in entries:
            if entry.abandoned:
                self._counters.ended["abandoned"] += 1
                continue
            by_gateway[entry.gateway].append(entry.id)
            self._counters.ended[code] += 1
        for gateway, ids in by_gateway.items():
            self.refuse(gateway, ids, code, message, retry_after_s)

    def report(
        self, reply: str, code: str = "", message: str = "", retry_after_s: float | None = None
    ) -> None:
        """Tell a gateway how its order ended; without a code, as it was told."""
        report = frames.Report(code, message, int((retry_after_s or 0) * 1000))
        try:
            self._bus.publish(reply, frames.encode(report))
        except VtsServingException as error:
            # The gateway asks again until it hears, or until its own deadline.
            _log.warning("report_lost", extra={"code": code, "reason": error.code})

    def refuse(
        self, gateway: str, ids: list[int], code: str, message: str, retry_after_s: float | None = None
    ) -> None:
        """Send one error for several requests of one gateway."""
        failure = frames.Failure(code, message, int((retry_after_s or 0) * 1000), tuple(ids))
        try:
            self._bus.publish(gateway, frames.encode(failure))
        except VtsServingException as error:
            # The gateway's own deadline answers its caller.
            _log.warning("answer_lost", extra={"code": code, "requests": len(ids), "reason": error.code})
