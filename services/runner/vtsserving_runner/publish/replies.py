"""Answers of a model process to reply frames, one per gateway: pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from vtsserving._bus.interface import Payload
from vtsserving._wire import frames, subjects
from vtsserving.exceptions import ResultTooLarge
from vtsserving_runner.process.work import Work

Answer = frames.Result | frames.Fault
Addressed = tuple[str, Payload]

ENTRY_BYTES: Final = 32
HEADER_BYTES: Final = 256
"""More than what a reply's header takes, per entry and beside them: most need not be encoded to see that they fit."""

MAX_U32: Final = 0xFFFF_FFFF
"""Columns of times are 32 bits wide."""


@lru_cache(maxsize=8192)
def gateway_of(reply_subject: str) -> str | None:
    """The gateway behind a reply subject, None when it is none.

    A gateway's subjects differ by the publish they belong to; answers are told apart by the ids of their entries, so
    all answers of one batch to one gateway travel together.
    """
    return reply_subject.split(".")[3] if subjects.is_gateway_reply(reply_subject) else None


def replies(runner_id: str, work: Work, answer: Answer, max_payload: int) -> Iterator[Addressed]:
    """Frames for the gateways that wait for the entries of an answer.

    Args:
        runner_id: who answers.
        work: the batch; its reply subjects were checked.
        answer: a result or an error for some of its entries, in ascending order.
        max_payload: largest frame, bytes.

    Yields:
        (subject, frame).
    """
    batch = work.batch
    groups = _by_gateway(batch, answer.index)
    if isinstance(answer, frames.Fault):
        for subject, positions in groups:
            ids = tuple([batch.ids[answer.index[p]] for p in positions])
            yield subject, frames.encode(frames.Failure(answer.code, answer.message, 0, ids))
        return
    whole = _reply(runner_id, work, answer)
    for subject, positions in groups:
        part = whole if len(positions) == len(answer.index) else _pick(whole, positions)
        yield from _sized(subject, part, max_payload)


def _by_gateway(batch: frames.Batch, index: Sequence[int]) -> Iterable[tuple[str, Sequence[int]]]:
    """(a reply subject, positions within `index`) for each gateway."""
    if len(batch.gateways) == 1:
        return ((batch.gateways[0], range(len(index))),)
    groups: dict[str | None, tuple[str, list[int]]] = {}
    for position, entry in enumerate(index):
        subject = batch.gateways[batch.gateway_index[entry]]
        groups.setdefault(gateway_of(subject), (subject, []))[1].append(position)
    return groups.values()


def _reply(runner_id: str, work: Work, answer: frames.Result) -> frames.Reply:
    """One frame with everything; the usual answer has the columns of its batch."""
    batch, waited_us = work.batch, work.waited_us
    ids, queued_us = batch.ids, batch.queued_us
    if len(answer.index) != len(ids):
        ids = tuple([ids[i] for i in answer.index])
        queued_us = tuple([queued_us[i] for i in answer.index])
    if max(queued_us) + waited_us > MAX_U32:
        waited_us = 0
    queued_us = tuple([queued + waited_us for queued in queued_us])
    rows = sum(answer.rows) or len(ids)
    return frames.Reply(
        runner_id,
        rows,
        answer.compute_us,
        ids,
        answer.rows,
        queued_us,
        answer.body_kinds,
        answer.head,
        answer.bodies,
    )


def _pick(whole: frames.Reply, positions: Sequence[int]) -> frames.Reply:
    return whole._replace(
        ids=tuple([whole.ids[p] for p in positions]),
        rows=tuple([whole.rows[p] for p in positions]),
        queued_us=tuple([whole.queued_us[p] for p in positions]),
        body_kinds=bytes([whole.body_kinds[p] for p in positions]) if whole.body_kinds else b"",
        bodies=[whole.bodies[p] for p in positions],
    )


def _sized(subject: str, reply: frames.Reply, max_payload: int) -> Iterator[Addressed]:
    """The reply in as many frames as the bus's limit asks for; what does not fit alone is an error."""
    count = len(reply.ids)
    size_bytes = len(reply.head) + sum(map(len, reply.bodies))
    if size_bytes < max_payload:
        frame = frames.message(reply)
        if size_bytes + count * ENTRY_BYTES + HEADER_BYTES <= max_payload or len(frame) <= max_payload:
            yield subject, frame
            return
    if count == 1:
        message = f"the result has {size_bytes} bytes; a message may have {max_payload}"
        yield subject, frames.encode(frames.Failure(ResultTooLarge.code, message, 0, reply.ids))
        return
    for positions in (range(count // 2), range(count // 2, count)):
        yield from _sized(subject, _pick(reply, positions), max_payload)
