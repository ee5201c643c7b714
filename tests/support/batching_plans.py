"""Random plans for a batcher on a virtual clock, how they are carried out, and what must hold afterwards."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from support.batching import Asked, Cluster, Limits
from support.scripted_runner import Script
from vtsserving._bus.interface import Message
from vtsserving._wire import subjects
from vtsserving_batcher.app import BatcherApp

FATES = ("ok", "ok", "ok", "nack", "raise", "restart")
LOSSES = ("lose", "lose report", "die")


@dataclass
class Arrival:
    """One request frame, `gap_s` after the one before; some of its requests are cancelled later."""

    gap_s: float
    gateway: int
    group: int
    requests: list[tuple[int, float]]
    cancelled: list[int] = field(default_factory=list)
    cancelled_after_s: float = 0.0


@dataclass
class Plan:
    """Everything that happens in one example."""

    limits: Limits
    arrivals: list[Arrival]
    fixed_s: float
    per_row_s: float
    fates: list[str]
    replicas: int
    load_fails: int
    spare_runner_after_s: float

    @property
    def has_losses(self) -> bool:
        return any(fate in LOSSES for fate in self.fates)


def plans(fates: tuple[str, ...] = FATES, max_wait_us: tuple[int, ...] = (0, 20_000)) -> Any:
    """Plans whose batches meet these fates."""
    arrivals = st.builds(
        Arrival,
        st.sampled_from([0.0, 0.0, 0.001, 0.02, 0.3]),
        st.integers(0, 2),
        st.integers(0, 1),
        st.lists(
            st.tuples(st.integers(1, 10), st.sampled_from([0.0, 0.05, 0.5, 5.0, 60.0])),
            min_size=1,
            max_size=4,
        ),
        st.lists(st.integers(0, 3), max_size=2),
        st.sampled_from([0.0, 0.01, 0.2]),
    )
    limits = st.builds(
        Limits,
        st.integers(1, 12),
        st.sampled_from([50, 200, 1 << 20]),
        st.sampled_from(max_wait_us),
        st.just(2_000_000),
    )
    return st.builds(
        Plan,
        limits,
        st.lists(arrivals, min_size=1, max_size=15),
        st.sampled_from([0.001, 0.05, 0.4]),
        st.sampled_from([0.0, 0.01]),
        st.lists(st.sampled_from(fates), max_size=8),
        st.integers(1, 3),
        st.sampled_from([0, 0, 0, 1]),
        st.sampled_from([0.0, 1.0]),
    )


@dataclass
class Course:
    """What happened."""

    plan: Plan
    cluster: Cluster
    idle_waits: list[str] = field(default_factory=list)


async def carry_out(plan: Plan) -> Course:
    """Run a plan until everything should be over."""
    cluster = Cluster()
    script = Script(
        compute_s=lambda rows: plan.fixed_s + plan.per_row_s * rows,
        fates=deque(plan.fates),
        load_fails=plan.load_fails,
    )
    await cluster.runner(script, plan.replicas)
    batcher = await cluster.batcher()
    gateways = [await cluster.gateway() for _ in range(3)]
    course = Course(plan, cluster)
    await _watch(course, batcher)
    if plan.has_losses:
        cluster.loop.call_later(plan.spare_runner_after_s, _start_spare, cluster)
    for arrival in plan.arrivals:
        if arrival.gap_s:
            await asyncio.sleep(arrival.gap_s)
        gateway = gateways[arrival.gateway]
        asked = gateway.ask(batcher.id, *arrival.requests, group=arrival.group, limits=plan.limits)
        left = [asked[i] for i in dict.fromkeys(arrival.cancelled) if i < len(asked)]
        if left:
            cluster.loop.call_later(
                arrival.cancelled_after_s, lambda g=gateway, a=left: g.cancel(batcher.id, *a)
            )
    over_s = cluster.loop.time() + 90.0
    while not _is_over(cluster) and cluster.loop.time() < over_s:
        await asyncio.sleep(0.1)
    return course


def _is_over(cluster: Cluster) -> bool:
    unanswered = any(not asked.answers and asked.cancelled_s is None for asked in cluster.asked)
    return cluster.depth() == (0, 0) and not unanswered


def _start_spare(cluster: Cluster) -> None:
    task = asyncio.ensure_future(cluster.runner())
    cluster.spare = task  # type: ignore[attr-defined]  # kept, or it might be collected


async def _watch(course: Course, batcher: BatcherApp) -> None:
    """After whatever the batcher hears, look for somebody who waits while a process is idle."""

    def look(_: Message) -> None:
        for model in batcher._dispatcher.models:
            idle = [process for process in model.processes.values() if process.free and not process.batches]
            if idle and model.waiting_entries and not course.plan.limits.max_wait_us:
                course.idle_waits.append(f"{model.waiting_entries} wait at {course.cluster.loop.time()}")

    # Subscribed after the batcher itself, so each message was handled when it comes here.
    await course.cluster.bus.subscribe(subjects.batcher_in(batcher.id), look)
    await course.cluster.bus.subscribe(subjects.batcher_event(batcher.id), look)


def check(course: Course) -> dict[str, int]:
    """Assert all that must hold of any course; returns what it was made of."""
    plan, cluster = course.plan, course.cluster
    assert cluster.violations == []
    assert course.idle_waits == []
    assert cluster.depth() == (0, 0)
    for asked in cluster.asked:
        _check_answers(asked, plan)
    _check_batches(course)
    counts = Counter(answer.code or "answered" for asked in cluster.asked for answer in asked.answers)
    counts["requests"] = len(cluster.asked)
    counts["batches"] = len(cluster.served)
    return dict(counts)


def _check_answers(asked: Asked, plan: Plan) -> None:
    assert asked.is_right, asked
    if asked.cancelled_s is None:
        assert asked.answers, asked
    # More than one answer needs a report that was lost: then it is computed again, and at last given up. The gateway
    # takes the first one.
    assert len(asked.answers) <= (3 if plan.has_losses else 1), asked


def _check_batches(course: Course) -> None:
    plan, cluster = course.plan, course.cluster
    computed: Counter[int] = Counter()
    first: dict[int, list[int]] = {}
    for served in cluster.served:
        batch = served.batch
        one_group = {cluster.asked[id - 1].group for id in batch.ids}
        assert len(one_group) == 1
        if len(batch.ids) > 1:
            assert sum(batch.rows) <= plan.limits.max_rows
            assert sum(map(len, batch.bodies)) <= plan.limits.max_bytes
        assert list(batch.ids) == sorted(batch.ids)
        assert max(batch.attempts) <= 1
        for id, attempt in zip(batch.ids, batch.attempts, strict=True):
            assert attempt <= computed[id]
            computed[id] += served.outcome != "nacked"
        seen = first.setdefault(one_group.pop(), [])
        seen.extend(id for id in batch.ids if id not in seen)
    assert max(computed.values(), default=0) <= 2
    for order in first.values():
        assert order == sorted(order), "not first in, first out"
