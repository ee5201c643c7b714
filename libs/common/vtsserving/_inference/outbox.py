"""Per-tick coalescing: what is submitted in one turn of the event loop and may share a batch leaves as one frame."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from vtsserving._bus.interface import Bus
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._inference.batchers import Batchers
from vtsserving._inference.request import Part
from vtsserving._recent import RecentDict
from vtsserving._wire import frames, subjects
from vtsserving._wire.labels import columns
from vtsserving._wire.limits import MAX_ENTRIES
from vtsserving._wire.vocabulary import PrepareOp
from vtsserving.exceptions import MessageTooLarge, VtsServingException

_log = logging.getLogger(__name__)

PUBLISH_SLOTS: Final = 1_024
"""Reply subjects that are used in turn. `No responders` comes back within milliseconds, long before a reuse."""

FRAME_BYTES: Final = 4 * 1024 * 1024
"""Bodies that are collected in one frame; a larger one travels alone."""

MAX_FRAME_ENTRIES: Final = 512
"""Requests that are collected in one frame."""


MAX_TOLD: Final = 4_096
"""Most models of which is remembered which batcher knows their needs; it does no harm to tell them again."""

MAX_NEEDS: Final = 64
"""Most words that are told of one model."""


class Publish(NamedTuple):
    """What was sent in one frame, to be sent elsewhere if nobody listened."""

    batcher: str
    ids: tuple[int, ...]


class Outbox:
    """Collects parts until the loop's turn is over, then sends them to the batchers that own their models."""

    def __init__(
        self,
        bus: Bus,
        gateway_id: str,
        batchers: Batchers,
        unsendable: Callable[[Sequence[Part], VtsServingException], None],
        no_batcher: Callable[[Sequence[Part]], None],
    ) -> None:
        """Create an empty outbox.

        Args:
            bus: to send on.
            gateway_id: whose reply subjects the frames carry.
            batchers: who is alive.
            unsendable: called with parts that the bus refuses, and why.
            no_batcher: called with parts for which no batcher is alive.
        """
        self._bus = bus
        self._gateway_id = gateway_id
        self._batchers = batchers
        self._unsendable = unsendable
        self._no_batcher = no_batcher
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[tuple[str, str, bytes], list[Part]] = {}
        self._replies = [subjects.gateway_reply(gateway_id, 1 + slot) for slot in range(PUBLISH_SLOTS)]
        self._slots = {subject: number for number, subject in enumerate(self._replies)}
        self._published: list[Publish | None] = [None] * PUBLISH_SLOTS
        self._told: RecentDict[str, str] = RecentDict(MAX_TOLD)
        self._turn = 0

    def add(self, part: Part) -> None:
        """Send a part at the end of this turn of the loop."""
        ticket = part.ticket
        key = (ticket.entry.digest, ticket.method.name, part.packed.head)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(part)
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting[key] = [part]

    def publish_of(self, reply_subject: str) -> Publish | None:
        """What was last sent with a reply subject."""
        slot = self._slots.get(reply_subject)
        return None if slot is None else self._published[slot]

    def cancel(self, ids: Iterable[int]) -> None:
        """Tell every batcher that nobody waits for these parts; lost on the way, their deadlines do."""
        listed = list(ids)
        for start in range(0, len(listed), MAX_ENTRIES):
            frame = frames.encode(frames.Cancel(self._gateway_id, tuple(listed[start : start + MAX_ENTRIES])))
            for batcher in self._batchers.ids():
                try:
                    self._bus.publish(subjects.batcher_in(batcher), frame)
                except VtsServingException as error:
                    _log.debug("cancel_not_sent", extra={"batcher": batcher, "reason": error.code})

    def _send_needs(self, entry: CatalogEntry, batcher: str) -> None:
        self._told[entry.digest] = batcher
        try:
            self._bus.publish(subjects.batcher_in(batcher), prepare_frame("know", self._gateway_id, entry))
        except VtsServingException as error:
            _log.debug("needs_not_sent", extra={"batcher": batcher, "reason": error.code})

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, {}
        unrouted: list[Part] = []
        for added in waiting.values():
            # Whoever left in this turn of the loop need not be sent.
            parts = [part for part in added if part.ticket.on_done is not None]
            if not parts:
                continue
            batcher = self._batchers.owner(parts[0].ticket.entry.tag)
            if batcher is None:
                unrouted.extend(parts)
            else:
                entry = parts[0].ticket.entry
                if entry.needs and self._told.get(entry.digest) != batcher:
                    self._send_needs(entry, batcher)
                for group in _frame_sized(parts):
                    self._send(batcher, group)
        if unrouted:
            self._no_batcher(unrouted)

    def _send(self, batcher: str, parts: list[Part]) -> None:
        slot = self._turn = (self._turn + 1) % PUBLISH_SLOTS
        request = self._request(parts)
        self._published[slot] = Publish(batcher, request.ids)
        for part in parts:
            part.batcher = batcher
        try:
            self._bus.publish(
                subjects.batcher_in(batcher), frames.message(request), reply=self._replies[slot]
            )
        except MessageTooLarge as error:
            if len(parts) == 1:
                self._unsendable(parts, error)
            else:
                for part in parts:
                    self._send(batcher, [part])
        except VtsServingException as error:
            self._unsendable(parts, error)

    def _request(self, parts: Sequence[Part]) -> frames.Request:
        now_s = self._loop.time()
        ticket = parts[0].ticket
        entry, method = ticket.entry, ticket.method
        labels = columns([part.ticket.labels for part in parts])
        return frames.Request(
            entry.name,
            entry.version,
            entry.digest,
            method.name,
            method.max_rows,
            method.max_bytes,
            method.max_wait_us,
            method.hang_us,
            method.sizes,
            tuple([part.id for part in parts]),
            tuple([part.packed.rows for part in parts]),
            tuple([max(0, int((part.ticket.deadline_s - now_s) * 1e6)) for part in parts]),
            bytes([part.attempt for part in parts]),
            *labels,
            parts[0].packed.head,
            [part.packed.body for part in parts],
        )


def _frame_sized(parts: list[Part]) -> list[list[Part]]:
    """Parts that fit into one frame each; the usual turn is one."""
    if len(parts) <= MAX_FRAME_ENTRIES and sum(len(part.packed.body) for part in parts) <= FRAME_BYTES:
        return [parts]
    groups: dict[int, list[Part]] = defaultdict(list)
    size_bytes, group = 0, 0
    for part in parts:
        size_bytes += len(part.packed.body)
        if groups[group] and (size_bytes > FRAME_BYTES or len(groups[group]) >= MAX_FRAME_ENTRIES):
            group, size_bytes = group + 1, len(part.packed.body)
        groups[group].append(part)
    return list(groups.values())


def prepare_frame(op: PrepareOp, gateway_id: str, entry: CatalogEntry) -> bytes:
    """A Prepare frame about a model."""
    needs = entry.needs[:MAX_NEEDS]
    return frames.encode(frames.Prepare(op, gateway_id, entry.name, entry.version, entry.digest, needs))
