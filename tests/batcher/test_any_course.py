"""Whatever arrives, expires, is cancelled, fails or dies, in any order: the batcher keeps its promises."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, seed, settings

from support import batching_plans
from support.batching_plans import FATES, LOSSES, Plan, carry_out, check
from support.proofs import Proof
from support.virtual_loop import run

pytestmark = pytest.mark.fast


@given(batching_plans.plans(fates=("ok",)))
def test_without_trouble_every_request_is_answered_once_with_its_own_rows(plan: Plan) -> None:
    plan.load_fails = 0
    course = run(carry_out(plan))
    check(course)
    for asked in course.cluster.asked:
        if asked.cancelled_s is None:
            assert asked.codes[0] in ("", "deadline_exceeded", "overloaded")
            if asked.codes == ["deadline_exceeded"]:
                longest_s = plan.fixed_s + plan.per_row_s * 10
                assert asked.answers[0].time_s <= asked.deadline_s + 0.11 + 2 * longest_s


@given(batching_plans.plans())
def test_with_nacks_restarts_and_failing_models_every_request_is_answered_once(plan: Plan) -> None:
    check(run(carry_out(plan)))


@given(batching_plans.plans(fates=(*FATES, *LOSSES)))
def test_with_lost_runners_batches_and_reports_every_request_is_answered(plan: Plan) -> None:
    check(run(carry_out(plan)))


@pytest.mark.prove
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_courses(proof: Proof) -> None:
    total: Counter[str] = Counter()

    @seed(proof.seed)
    @settings(
        max_examples=proof.count(full=1_000, quick=100),
        derandomize=False,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(batching_plans.plans(fates=(*FATES, *LOSSES)))
    def courses(plan: Plan) -> None:
        total.update(check(run(carry_out(plan))))
        total["courses"] += 1

    courses()
    proof.record(
        "batcher, any course", **{name.replace(" ", "_"): count for name, count in sorted(total.items())}
    )
