"""Batches as a model process gets them, and what its executor answers to each of their entries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtsserving._wire import frames, subjects
from vtsserving._wire.rows import Packed, join_results
from vtsserving_runner.child.executor import BatchExecutor
from vtsserving_runner.process.framing import now_us

LATER_US = 10**9
"""Until the deadlines of entries."""


def batch_of(
    calls: Sequence[Packed], *, method: str = "predict", max_rows: int = 64, **more: Any
) -> frames.Batch:
    """The batch of some calls with one head, as it comes out of a frame.

    Args:
        calls: at least one.
        method: that they call.
        max_rows: of the method's batches.
        more: other fields of the frame.
    """
    assert len({call.head for call in calls}) == 1
    count = len(calls)
    made = frames.Batch(
        *(7, "0" * 16, 1, 0, "m", "v", "sha256:" + "0" * 64, method, 10**6, max_rows, ()),
        [subjects.gateway_reply("0" * 16, 0)],
        bytes(count),
        tuple(range(count)),
        tuple(call.rows for call in calls),
        (LATER_US,) * count,
        (0,) * count,
        bytes(count),
        *((), (), b""),
        calls[0].head,
        [call.body for call in calls],
    )._replace(**more)
    decoded = frames.decode(bytearray(frames.encode(made)))
    assert isinstance(decoded, frames.Batch)
    return decoded


def answers_of(executor: BatchExecutor, batch: frames.Batch) -> list[Any]:
    """Per entry, its value or its fault; checks that each has exactly one answer and that the last says so."""
    found: dict[int, Any] = {}
    parts = list(executor.run(batch, now_us()))
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    for part in parts:
        decoded = frames.decode(frames.encode(part))
        assert not found.keys() & set(decoded.index)
        if isinstance(decoded, frames.Fault):
            found.update(dict.fromkeys(decoded.index, decoded))
        else:
            assert isinstance(decoded, frames.Result), decoded
            for i, count, body in zip(decoded.index, decoded.rows, decoded.bodies, strict=True):
                found[i] = join_results([Packed(decoded.head, count, body)])
    assert sorted(found) == list(range(len(batch.ids)))
    return [found[i] for i in sorted(found)]
