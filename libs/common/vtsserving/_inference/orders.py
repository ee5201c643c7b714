"""Orders to load or unload a model: sent to the batcher that owns it, again and again until it reports the end.

An order may be repeated without harm, so a lost message, a lost batcher and a change of owners all have one remedy.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Final

from vtsserving._bus.interface import Bus
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._inference.batchers import Batchers
from vtsserving._inference.outbox import prepare_frame
from vtsserving._inference.pending_queue import BATCHER_WAIT_S
from vtsserving._wire import frames, subjects
from vtsserving._wire.vocabulary import OrderOp, PrepareOp
from vtsserving.exceptions import (
    BatcherLost,
    DeadlineExceeded,
    NoBatcher,
    VtsServingException,
    from_code,
)

_log = logging.getLogger(__name__)

REPEAT_S: Final = 1.0
"""An order is sent again after this time without a report."""

PAUSE_S: Final = 0.05
"""Pause before an order goes to another batcher, so that all have heard of the change."""

FIRST_NUMBER: Final = 1_000_000
"""Reply subjects of orders are numbered from here, far above those of requests."""


class OrderClient:
    """The orders of one gateway that were not reported yet."""

    def __init__(self, bus: Bus, gateway_id: str, batchers: Batchers) -> None:
        """Send orders in the name of a gateway.

        Args:
            bus: to send on.
            gateway_id: whose reply subjects the reports come to.
            batchers: who is alive.
        """
        self._bus = bus
        self._gateway_id = gateway_id
        self._batchers = batchers
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(FIRST_NUMBER)
        self._waiting: dict[str, asyncio.Future[frames.Report]] = {}

    async def send(self, op: OrderOp, entry: CatalogEntry, *, timeout_s: float) -> None:
        """Have a model loaded or unloaded; returns when it is.

        Args:
            op: what to do.
            entry: the model.
            timeout_s: longest wait, seconds. What was begun goes on after it.

        Raises:
            ModelLoadFailed: with the reason.
            ModelUnloading: it is being unloaded, and so cannot be loaded now.
            NoBatcher, NoRunner: nobody is there who could.
            DeadlineExceeded: it took longer.
        """
        started_s = self._loop.time()
        deadline_s = started_s + timeout_s
        reply = subjects.gateway_reply(self._gateway_id, next(self._numbers))
        try:
            while (now_s := self._loop.time()) < deadline_s:
                report = await self._ask(op, entry, reply, min(REPEAT_S, deadline_s - now_s))
                if report is not None and not report.code:
                    return
                if report is not None and report.code != BatcherLost.code:
                    raise from_code(
                        report.code, report.message, retry_after_s=report.retry_after_ms / 1000 or None
                    )
                if not len(self._batchers) and self._loop.time() - started_s >= BATCHER_WAIT_S:
                    raise NoBatcher("no batcher is alive; start one", retry_after_s=1.0)
        finally:
            self._waiting.pop(reply, None)
        raise DeadlineExceeded(f"{entry.tag} was not {op}ed within {timeout_s:.3g} s; it goes on")

    def notify(self, op: PrepareOp, entry: CatalogEntry) -> None:
        """Tell the batcher that owns a model how versions follow each other; see frames.Prepare. It may be lost."""
        batcher = self._batchers.owner(entry.tag)
        if batcher is None:
            return
        try:
            self._bus.publish(subjects.batcher_in(batcher), prepare_frame(op, self._gateway_id, entry))
        except VtsServingException as error:
            _log.debug("order_not_sent", extra={"op": op, "reason": error.code})

    async def _ask(self, op: OrderOp, entry: CatalogEntry, reply: str, wait_s: float) -> frames.Report | None:
        """Send the order once; None if there was no report, and it had better be sent again."""
        batcher = self._batchers.owner(entry.tag)
        if batcher is None:
            await asyncio.sleep(min(PAUSE_S, wait_s))
            return None
        future = self._waiting[reply] = self._loop.create_future()
        order = frames.Control(op, self._gateway_id, entry.name, entry.version, entry.digest, 0)
        try:
            self._bus.publish(subjects.batcher_in(batcher), frames.encode(order), reply=reply)
        except VtsServingException as error:
            _log.debug("order_not_sent", extra={"op": op, "reason": error.code})
        try:
            report: frames.Report = await asyncio.wait_for(future, wait_s)
        except asyncio.TimeoutError:
            return None
        if report.code == BatcherLost.code:
            await asyncio.sleep(min(PAUSE_S, wait_s))
        return report

    def reported(self, reply_subject: str, report: frames.Report) -> None:
        """A batcher has reported; what nobody waits for any more is dropped."""
        future = self._waiting.pop(reply_subject, None)
        if future is not None and not future.done():
            future.set_result(report)

    def batcher_gone(self, reply_subject: str) -> None:
        """Nobody listened to the order that was sent with a reply subject: its batcher is gone."""
        self.reported(reply_subject, frames.Report(BatcherLost.code, "the batcher is gone", 0))

    def rejected(self, reply_subject: str, error: VtsServingException) -> None:
        """A batcher could not read the order."""
        self.reported(reply_subject, frames.Report(error.code, error.message, 0))
