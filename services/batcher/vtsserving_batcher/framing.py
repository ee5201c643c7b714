"""Entries to batch frames: pure."""

from __future__ import annotations

from typing import Final

from vtsserving._wire import frames
from vtsserving._wire.labels import columns
from vtsserving._wire.limits import MAX_HEADER_ITEMS
from vtsserving_batcher.model_state import InFlight
from vtsserving_batcher.queue import Entry

_OVERHEAD_BYTES: Final = 192 * 1024
"""Room for the header of a batch beside head and bodies: 4,096 entries take about 150 KiB."""

_MAX_U32: Final = 0xFFFF_FFFF


def room_bytes(max_payload: int, head: bytes) -> int:
    """How many bytes of bodies fit into one message of the bus beside a head; at least 1, so that one entry is sent."""
    return max(1, max_payload - min(_OVERHEAD_BYTES, max_payload // 4) - len(head))


def within_one_frame(entries: list[Entry]) -> int:
    """How many entries from the front one frame can carry: it lists only so many gateways."""
    if len(entries) <= MAX_HEADER_ITEMS:
        return len(entries)
    gateways: set[str] = set()
    for i, entry in enumerate(entries):
        gateways.add(entry.gateway)
        if len(gateways) > MAX_HEADER_ITEMS:
            return i
    return len(entries)


def frame_of(batch: InFlight, batcher_id: str, now_s: float) -> frames.Batch:
    """The frame that sends a batch.

    Args:
        batch: of at most 64 gateways.
        batcher_id: who sends it.
        now_s: loop time; its entries are alive.
    """
    entries = batch.entries
    gateways: dict[str, int] = {}
    index = bytes([gateways.setdefault(entry.gateway, len(gateways)) for entry in entries])
    return frames.Batch(
        batch.batch_id,
        batcher_id,
        batch.process.epoch,
        batch.credit,
        batch.model.model,
        batch.model.version,
        batch.model.digest,
        batch.queue.method,
        batch.queue.hang_us,
        batch.queue.limits.max_rows,
        batch.queue.sizes,
        list(gateways),
        index,
        tuple([entry.id for entry in entries]),
        tuple([entry.rows for entry in entries]),
        tuple([int((entry.deadline_s - now_s) * 1e6) for entry in entries]),
        tuple([min(int((now_s - entry.arrived_s) * 1e6), _MAX_U32) for entry in entries]),
        bytes([entry.attempt for entry in entries]),
        *columns([entry.labels for entry in entries]),
        batch.queue.head,
        [entry.body for entry in entries],
    )
