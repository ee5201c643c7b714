"""What an entry of a frame may carry beside its rows: a request id, a trace, and the kind of its body.

Most entries have none of them, so a frame in which nobody has one carries empty columns, and a queue holds None.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

from vtsserving._wire.kinds import Request


class EntryLabels(NamedTuple):
    """The labels of one entry.

    Attributes:
        request_id: the client's own, at most 128 UTF-8 bytes; empty if it sent none.
        trace: 25 bytes, see limits.TRACE_BYTES; empty if the client sent none.
        body_kind: see bodies.
    """

    request_id: str = ""
    trace: bytes = b""
    body_kind: int = 0

    @property
    def size_bytes(self) -> int:
        """About what the labels take in the header of a frame."""
        return len(self.request_id) + len(self.trace)


class Columns(NamedTuple):
    """The labels of all entries of a frame; a column that is empty holds for all."""

    request_ids: tuple[str, ...] = ()
    traces: tuple[bytes, ...] = ()
    body_kinds: bytes = b""


NO_LABELS: Final = Columns()


def columns(labels: Sequence[EntryLabels | None]) -> Columns:
    """The columns of a frame for the labels of its entries; None for an entry without any."""
    if not any(labels):
        return NO_LABELS
    given = [label or EntryLabels() for label in labels]
    request_ids = tuple([label.request_id for label in given])
    traces = tuple([label.trace for label in given])
    kinds = bytes([label.body_kind for label in given])
    return Columns(
        request_ids if any(request_ids) else (), traces if any(traces) else (), kinds if any(kinds) else b""
    )


def labels_of(frame: Request) -> list[EntryLabels | None]:
    """The labels of a frame's entries, in their order; empty when no entry has any."""
    if not (frame.request_ids or frame.traces or frame.body_kinds):
        return []
    each = zip_longest(frame.request_ids, frame.traces, frame.body_kinds)
    return [
        EntryLabels(request_id or "", trace or b"", kind or 0) if request_id or trace or kind else None
        for request_id, trace, kind in each
    ]
