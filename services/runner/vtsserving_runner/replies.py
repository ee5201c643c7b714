"""Answers of a model process to reply frames, one per gateway: pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from vtsserving.exceptions import ResultTooLarge
from vtsserving.wire import frames, subjects
from vtsserving_runner.work import Work

Answer = frames.Result | frames.Fault
Addressed = tuple[str, bytes]


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
        answer: a result or an error for some of its entries.
        max_payload: largest frame, bytes.

    Yields:
        (subject, frame).
    """
    batch = work.batch
    if len(batch.gateways) == 1:
        yield from _to_one(runner_id, work, answer, range(len(answer.index)), batch.gateways[0], max_payload)
        return
    groups: dict[str | None, tuple[str, list[int]]] = {}
    for position, entry in enumerate(answer.index):
        subject = batch.gateways[batch.gateway_index[entry]]
        groups.setdefault(gateway_of(subject), (subject, []))[1].append(position)
    for subject, positions in groups.values():
        yield from _to_one(runner_id, work, answer, positions, subject, max_payload)


def _to_one(
    runner_id: str, work: Work, answer: Answer, positions: Sequence[int], subject: str, max_payload: int
) -> Iterator[Addressed]:
    ids = tuple([work.batch.ids[answer.index[p]] for p in positions])
    if isinstance(answer, frames.Fault):
        yield subject, frames.encode(frames.Failure(answer.code, answer.message, 0, ids))
        return
    bodies = [answer.bodies[p] for p in positions]
    size_bytes = len(answer.head) + sum(map(len, bodies))
    if size_bytes < max_payload:
        frame = frames.encode(_reply(runner_id, work, answer, positions, ids, bodies))
        if len(frame) <= max_payload:
            yield subject, frame
            return
    if len(positions) == 1:
        message = f"the result has {size_bytes} bytes; a message may have {max_payload}"
        yield subject, frames.encode(frames.Failure(ResultTooLarge.code, message, 0, ids))
        return
    middle = len(positions) // 2
    yield from _to_one(runner_id, work, answer, positions[:middle], subject, max_payload)
    yield from _to_one(runner_id, work, answer, positions[middle:], subject, max_payload)


def _reply(
    runner_id: str,
    work: Work,
    answer: frames.Result,
    positions: Sequence[int],
    ids: tuple[int, ...],
    bodies: Sequence[frames.Buffer],
) -> frames.Reply:
    waited_us = work.waited_us
    queued_us = work.batch.queued_us
    return frames.Reply(
        runner_id,
        sum(answer.rows) or len(answer.index),
        answer.compute_us,
        ids,
        tuple([answer.rows[p] for p in positions]),
        tuple([min(queued_us[answer.index[p]] + waited_us, 0xFFFF_FFFF) for p in positions]),
        answer.head,
        bodies,
    )
