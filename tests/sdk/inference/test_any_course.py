"""Whatever is called and whoever dies meanwhile: each call ends once, in time, with its rows or an error of ours."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from support.batching import Cluster
from support.calling import Call, Caller, caller_on, entry
from support.proofs import Proof
from support.scripted_runner import Script
from support.virtual_loop import run

pytestmark = pytest.mark.fast

FATES = ("ok", "ok", "ok", "ok", "nack", "raise", "restart", "lose", "lose report", "die")
ACTIONS = ("call", "call", "call", "call", "abandon", "kill batcher", "new batcher", "new runner", "outage")
ENDS = {
    "",
    "model_failed",
    "deadline_exceeded",
    "overloaded",
    "runner_lost",
    "batcher_lost",
    "no_batcher",
    "no_runner",
    "bus_unavailable",
    "queue_full",
}


@dataclass
class Step:
    """One thing that happens, `gap_s` after the one before."""

    gap_s: float
    action: str
    rows: int
    width: int
    timeout_s: float


@dataclass
class Plan:
    """Everything that happens in one example."""

    steps: list[Step]
    fates: list[str]
    compute_s: float
    replicas: int
    batchers: int


def plans(actions: tuple[str, ...] = ACTIONS, fates: tuple[str, ...] = FATES) -> Any:
    """Plans of these actions, whose batches meet these fates."""
    steps = st.builds(
        Step,
        st.sampled_from([0.0, 0.0, 0.0, 0.01, 0.3, 2.0]),
        st.sampled_from(actions),
        st.integers(1, 30),
        st.integers(1, 2),
        st.sampled_from([0.0, 0.03, 0.5, 5.0, 30.0]),
    )
    return st.builds(
        Plan,
        st.lists(steps, min_size=1, max_size=20),
        st.lists(st.sampled_from(fates), max_size=8),
        st.sampled_from([0.001, 0.05, 0.3]),
        st.integers(1, 2),
        st.integers(1, 3),
    )


@dataclass
class Course:
    """What happened."""

    cluster: Cluster
    caller: Caller
    killed: list[Any] = field(default_factory=list)


async def carry_out(plan: Plan) -> Course:
    """Run a plan until every call must be over."""
    cluster = Cluster()
    await cluster.runner(
        Script(compute_s=lambda rows: plan.compute_s, fates=deque(plan.fates)), plan.replicas
    )
    for _ in range(plan.batchers):
        await cluster.batcher()
    course = Course(cluster, await caller_on(cluster.bus))
    await asyncio.sleep(0.6)
    for step in plan.steps:
        if step.gap_s:
            await asyncio.sleep(step.gap_s)
        await _act(course, step)
    await asyncio.sleep(45.0)
    return course


async def _act(course: Course, step: Step) -> None:
    cluster, caller = course.cluster, course.caller
    if step.action == "call":
        caller.submit(step.rows, step.timeout_s, width=step.width, model=entry())
    elif step.action == "abandon" and caller.calls:
        caller.abandon(caller.calls[step.rows % len(caller.calls)])
    elif step.action == "kill batcher" and cluster.batchers:
        victim = cluster.batchers.pop(step.rows % len(cluster.batchers))
        course.killed.append(victim)
        await victim.close()
    elif step.action == "new batcher":
        await cluster.batcher()
    elif step.action == "new runner":
        await cluster.runner()
    elif step.action == "outage" and cluster.bus.connected:
        for runner in cluster.runners:
            runner.alive = False  # they could not publish; new ones come with the bus
        cluster.bus.disconnect()
        await asyncio.sleep(step.timeout_s / 10)
        cluster.bus.reconnect()
        await cluster.runner()


def check(course: Course) -> Counter[str]:
    """Assert all that must hold of any course; returns how its calls ended."""
    ends: Counter[str] = Counter()
    for call in course.caller.calls:
        _check_call(call)
        ends.update(code or "answered" for code in call.codes)
    assert course.caller.client.in_flight == 0
    violations = [v for runner in course.cluster.runners for v in runner.violations]
    assert violations == []
    computed: Counter[tuple[str, int]] = Counter()
    for served in course.cluster.served:
        if served.outcome != "nacked":
            computed.update(served.keys)
    # Twice, or once more where first a runner died and then the batcher that knew of it.
    assert max(computed.values(), default=0) <= 3
    ends["calls"] = len(course.caller.calls)
    ends["batches"] = len(course.cluster.served)
    return ends


def _check_call(call: Call) -> None:
    assert call.is_right
    assert set(call.codes) <= ENDS, call.codes
    if call.abandoned:
        assert len(call.outcomes) <= 1
        return
    assert len(call.outcomes) == 1, call
    assert call.settled_s[0] <= call.sent_s + call.timeout_s + 0.02


@given(plans(actions=("call", "call", "abandon"), fates=("ok",)))
def test_without_trouble_every_call_is_answered_with_its_own_rows(plan: Plan) -> None:
    course = run(carry_out(plan))
    ends = check(course)
    assert set(ends) <= {"answered", "deadline_exceeded", "overloaded", "calls", "batches"}


@given(plans())
def test_whoever_dies_every_call_ends_once_and_in_time(plan: Plan) -> None:
    check(run(carry_out(plan)))


@given(plans(actions=("call", "call", "call", "new batcher"), fates=("ok", "nack", "restart")))
def test_batchers_that_come_and_runners_that_restart_fail_no_call(plan: Plan) -> None:
    for step in plan.steps:
        step.timeout_s = 30.0
    plan.compute_s = 0.001
    ends = check(run(carry_out(plan)))
    assert set(ends) <= {"answered", "calls", "batches"}


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_courses(proof: Proof) -> None:
    total: Counter[str] = Counter()

    @seed(proof.seed)
    @settings(
        max_examples=proof.count(full=600, quick=50),
        derandomize=False,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(plans())
    def courses(plan: Plan) -> None:
        total.update(check(run(carry_out(plan))))
        total["courses"] += 1

    courses()
    proof.record("client, any course", **dict(sorted(total.items())))
