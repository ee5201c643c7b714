from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from support.batching import MODEL, Cluster, Limits, one_of_each
from support.scripted_runner import Script
from support.virtual_loop import run
from vtsserving._wire import frames, subjects

pytestmark = pytest.mark.fast


def fates(*names: str) -> Script:
    return Script(fates=deque(names))


def test_requests_of_one_moment_become_one_batch() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each()
        gateway.ask(batcher.id, (1, 5.0), (2, 5.0), (3, 5.0))
        await asyncio.sleep(1)
        assert [served.batch.rows for served in cluster.served] == [(1, 2, 3)]
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)
        assert cluster.depth() == (0, 0)

    run(scenario())


def test_a_free_process_gets_what_waits_at_once() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each()
        gateway.ask(batcher.id, (1, 5.0))
        assert cluster.served[0].time_s == cluster.asked[0].sent_s

    run(scenario())


def test_while_the_process_computes_the_next_batch_grows() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        gateway.ask(batcher.id, (4, 5.0))
        for _ in range(3):
            await asyncio.sleep(0.01)
            gateway.ask(batcher.id, (1, 5.0))
        await asyncio.sleep(1)
        assert [served.batch.rows for served in cluster.served] == [(4,), (1, 1, 1)]

    run(scenario())


def test_a_batch_as_large_as_the_one_that_runs_is_prefetched() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        gateway.ask(batcher.id, (2, 5.0))
        gateway.ask(batcher.id, (2, 5.0))
        gateway.ask(batcher.id, (2, 5.0))
        assert len(cluster.served) == 2
        await asyncio.sleep(0.05)
        assert len(cluster.served) == 2
        await asyncio.sleep(0.06)
        assert len(cluster.served) == 3

    run(scenario())


def test_requests_wait_for_company_only_as_long_as_they_may() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each()
        limits = Limits(max_wait_us=50_000)
        first = gateway.ask(batcher.id, (1, 5.0), limits=limits)[0]
        await asyncio.sleep(0.03)
        gateway.ask(batcher.id, (1, 5.0), limits=limits)
        await asyncio.sleep(0.03)
        assert [served.batch.rows for served in cluster.served] == [(1, 1)]
        assert cluster.served[0].time_s == pytest.approx(first.sent_s + 0.05)

    run(scenario())


def test_a_full_batch_does_not_wait_for_company() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each()
        gateway.ask(batcher.id, (4, 5.0), (4, 5.0), limits=Limits(max_rows=8, max_wait_us=50_000))
        assert [served.batch.rows for served in cluster.served] == [(4, 4)]

    run(scenario())


def test_calls_without_a_batch_axis_are_never_merged() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each()
        gateway.ask(batcher.id, (1, 5.0), (1, 5.0), limits=Limits(max_rows=0))
        await asyncio.sleep(1)
        assert [served.batch.rows for served in cluster.served] == [(1,), (1,)]

    run(scenario())


def test_groups_take_turns() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        for _ in range(6):
            gateway.ask(batcher.id, (8, 50.0), group=0)
        for _ in range(3):
            gateway.ask(batcher.id, (8, 50.0), group=1)
        await asyncio.sleep(5)
        widths = [len(served.batch.bodies[0]) // 64 for served in cluster.served]
        assert widths == [1, 1, 1, 2, 1, 2, 1, 2, 1]

    run(scenario())


def test_answers_of_many_publishes_travel_together() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        limits = Limits(max_rows=1_000)
        gateway.ask(batcher.id, (500, 5.0), limits=limits)
        for _ in range(200):
            gateway.ask(batcher.id, (1, 5.0), limits=limits)
        await asyncio.sleep(1)
        assert len(cluster.served[1].batch.ids) == 200
        assert cluster.served[1].batch.gateways == [subjects.gateway_reply(gateway.id, 0)]

    run(scenario())


def test_a_batch_lists_no_more_gateways_than_its_frame_may() -> None:
    async def scenario() -> None:
        cluster, first, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        limits = Limits(max_rows=1_000)
        first.ask(batcher.id, (500, 5.0), limits=limits)
        for _ in range(100):
            (await cluster.gateway()).ask(batcher.id, (1, 5.0), limits=limits)
        await asyncio.sleep(1)
        assert [len(served.batch.gateways) for served in cluster.served] == [1, 64, 36]
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)

    run(scenario())


def test_a_batch_has_no_more_entries_than_its_frame_may() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        limits = Limits(max_rows=1 << 30)
        gateway.ask(batcher.id, (500, 50.0), limits=limits)
        for _ in range(12):
            gateway.ask(batcher.id, *[(1, 50.0)] * 512, limits=limits)
        await asyncio.sleep(5)
        assert max(len(served.batch.ids) for served in cluster.served) == 4_096
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)

    run(scenario())


def test_a_batch_fits_the_message_of_a_small_bus() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        cluster.bus._max_payload = 10_000
        limits = Limits(max_rows=10_000)
        for _ in range(10):
            gateway.ask(batcher.id, (500, 50.0), limits=limits)
        await asyncio.sleep(5)
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)

    run(scenario())


# --- what ends before it is computed ------------------------------------------------------------------------


def test_what_expired_while_it_waited_is_answered_and_not_computed() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.5))
        gateway.ask(batcher.id, (8, 5.0))
        gateway.ask(batcher.id, (8, 5.0))
        late = gateway.ask(batcher.id, (1, 0.2))[0]
        await asyncio.sleep(2)
        assert late.codes == ["deadline_exceeded"]
        assert late.answers[0].time_s <= late.deadline_s + 0.11
        assert not any(late.id in served.batch.ids for served in cluster.served)

    run(scenario())


def test_a_request_that_comes_expired_is_answered_at_once() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each()
        late = gateway.ask(batcher.id, (1, 0.0))[0]
        assert late.codes == ["deadline_exceeded"]
        assert cluster.served == []

    run(scenario())


def test_what_was_cancelled_while_it_waited_is_neither_computed_nor_answered() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.5))
        gateway.ask(batcher.id, (8, 5.0))
        gateway.ask(batcher.id, (8, 5.0))
        left = gateway.ask(batcher.id, (1, 5.0))[0]
        other = (await cluster.gateway()).ask(batcher.id, (1, 5.0))[0]
        gateway.cancel(batcher.id, left)
        await asyncio.sleep(2)
        assert (left.codes, other.codes) == ([], [""])
        assert batcher.counters.ended["abandoned"] == 1

    run(scenario())


def test_one_gateway_cannot_cancel_what_another_asked() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.5))
        gateway.ask(batcher.id, (8, 5.0))
        gateway.ask(batcher.id, (8, 5.0))
        mine = gateway.ask(batcher.id, (1, 5.0))[0]
        (await cluster.gateway()).cancel(batcher.id, mine)
        await asyncio.sleep(2)
        assert mine.codes == [""]

    run(scenario())


def test_what_was_cancelled_while_it_was_computed_is_not_computed_again() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, runner = await one_of_each(Script(compute_s=lambda rows: 1.0))
        left = gateway.ask(batcher.id, (1, 30.0))[0]
        gateway.cancel(batcher.id, left)
        runner.die()
        await cluster.runner()
        await asyncio.sleep(5)
        assert left.codes == []
        assert len(cluster.served) == 1

    run(scenario())


# --- trouble ------------------------------------------------------------------------------------------------


def test_a_nack_is_no_attempt_and_keeps_the_order() -> None:
    async def scenario() -> None:
        script = Script(compute_s=lambda rows: 0.1, fates=deque(["nack"] * 5))
        cluster, gateway, batcher, _ = await one_of_each(script)
        for rows in (3, 3, 3):
            gateway.ask(batcher.id, (rows, 5.0), limits=Limits(max_rows=3))
        await asyncio.sleep(5)
        computed = [served for served in cluster.served if served.outcome == "ok"]
        assert [served.batch.ids for served in computed] == [(1,), (2,), (3,)]
        assert all(served.batch.attempts == b"\0" for served in cluster.served)
        assert batcher.counters.nacked == 5
        assert cluster.violations == []

    run(scenario())


@pytest.mark.parametrize("count", [1, 2])
def test_what_a_lost_runner_held_goes_to_another_one_in_its_order(count: int) -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, runner = await one_of_each(Script(compute_s=lambda rows: 1.0))
        for _ in range(4):
            gateway.ask(batcher.id, (8, 30.0))
        assert len(cluster.served) == 2
        runner.die()
        second = await cluster.runner()
        await asyncio.sleep(5)
        again = [served for served in cluster.served if served.runner == second.id]
        assert [served.batch.ids for served in again] == [(1,), (2,), (3,), (4,)]
        assert [served.batch.attempts for served in again] == [b"\1", b"\1", b"\0", b"\0"]
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)

    run(scenario())


def test_what_was_lost_twice_ends_with_the_reason() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(fates("die"))
        asked = gateway.ask(batcher.id, (1, 30.0))[0]
        await cluster.runner(fates("die"))
        await cluster.runner(fates("die"))
        await asyncio.sleep(10)
        assert asked.codes == ["runner_lost"]
        assert len(cluster.served) == 2

    run(scenario())


def test_a_batch_that_got_lost_is_sent_once_more() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(fates("lose"))
        asked = gateway.ask(batcher.id, (1, 30.0))[0]
        await asyncio.sleep(5)
        assert asked.codes == [""]
        assert [served.batch.attempts for served in cluster.served] == [b"\0", b"\1"]
        assert cluster.violations == []

    run(scenario())


def test_what_was_sent_to_a_runner_off_the_bus_is_sent_again_when_it_is_back() -> None:
    async def scenario() -> None:
        _, gateway, batcher, runner = await one_of_each()
        first = gateway.ask(batcher.id, (1, 30.0))[0]
        await asyncio.sleep(0.2)
        assert first.codes == [""]
        runner.alive = False
        batcher._dispatcher.reconnected()  # asks for free credits, unheard
        await asyncio.sleep(0.01)
        asked = gateway.ask(batcher.id, (1, 30.0))[0]
        await asyncio.sleep(0.01)
        runner.alive = True
        (process,) = next(iter(runner._processes.values()))
        runner._event(process, "reconnected", batcher.id)
        await asyncio.sleep(0.2)
        assert asked.codes == [""]

    run(scenario())


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_lost_report_does_not_cost_a_credit_for_ever(replicas: int) -> None:
    async def scenario() -> None:
        script = fates(*["lose report"] * 2 * replicas)
        cluster, gateway, batcher, _ = await one_of_each(script, replicas)
        for _ in range(2 * replicas):
            gateway.ask(batcher.id, (8, 0.5))
        await asyncio.sleep(1)
        later = [gateway.ask(batcher.id, (8, 30.0))[0] for _ in range(2 * replicas)]
        await asyncio.sleep(20)
        assert [asked.codes for asked in later] == [[""]] * 2 * replicas
        assert cluster.violations == []
        assert cluster.depth() == (0, 0)

    run(scenario())


def test_a_credit_in_use_is_not_used_again_because_a_report_of_free_ones_crossed_its_batch() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, runner = await one_of_each(Script(compute_s=lambda rows: 1.0))
        gateway.ask(batcher.id, (8, 30.0))
        (process,) = next(iter(runner._processes.values()))
        runner._event(process, "credit", batcher.id, credits=[0, 1])
        gateway.ask(batcher.id, (8, 30.0))
        gateway.ask(batcher.id, (8, 30.0))
        assert {served.batch.credit for served in cluster.served} == {0, 1}
        await asyncio.sleep(5)
        assert len(cluster.served) == 3
        assert [asked.codes for asked in cluster.asked] == [[""]] * 3
        assert cluster.violations == []

    run(scenario())


def test_answers_to_several_questions_about_free_credits_may_cross_a_batch() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, runner = await one_of_each(Script(compute_s=lambda rows: 1.0))
        await asyncio.sleep(1)
        runner.script.answer_s = 0.010
        for _ in range(5):  # each was asked before the answer to the one before it came
            batcher._dispatcher.reconnected()
            gateway.ask(batcher.id, (1, 30.0))
            await asyncio.sleep(0.004)
        await asyncio.sleep(10)
        assert [asked.codes for asked in cluster.asked] == [[""]] * 5
        assert not any(any(served.batch.attempts) for served in cluster.served)
        assert cluster.violations == []

    run(scenario())


def test_a_report_of_another_runner_changes_nothing() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, runner = await one_of_each(Script(compute_s=lambda rows: 1.0))
        gateway.ask(batcher.id, (1, 30.0))
        batch = cluster.served[0].batch
        for event in ("done", "nack"):
            forged = frames.Event(
                event,
                "f" * 16,
                batch.model,
                batch.version,
                batch.digest,
                batch.epoch,
                [0],
                batch.batch_id,
                1,
                "",
                "",
                0,
            )
            cluster.bus.publish(subjects.batcher_event(batcher.id), frames.encode(forged))
        assert cluster.depth() == (0, 1)
        runner.die()
        await cluster.runner()
        await asyncio.sleep(5)
        assert cluster.asked[0].codes == [""]

    run(scenario())


def test_a_process_that_is_restarted_costs_nobody_an_answer() -> None:
    async def scenario() -> None:
        script = Script(compute_s=lambda rows: 0.1, fates=deque(["restart"]))
        cluster, gateway, batcher, _ = await one_of_each(script)
        for _ in range(5):
            gateway.ask(batcher.id, (8, 30.0))
        await asyncio.sleep(5)
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)
        assert cluster.violations == []

    run(scenario())


def test_replicas_share_the_load_and_a_restart_of_one_leaves_the_others() -> None:
    async def scenario() -> None:
        script = Script(compute_s=lambda rows: 0.1, fates=deque(["ok", "ok", "restart"]))
        cluster, gateway, batcher, _ = await one_of_each(script, replicas=3)
        for _ in range(12):
            gateway.ask(batcher.id, (8, 30.0))
        assert len(cluster.served) == 6
        await asyncio.sleep(5)
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)
        assert cluster.violations == []

    run(scenario())


def test_while_the_bus_is_down_entries_wait_and_afterwards_they_are_sent() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.2))
        gateway.ask(batcher.id, (8, 30.0))
        waiting = gateway.ask(batcher.id, (1, 30.0))[0]
        cluster.bus.disconnect()
        batcher._dispatcher.dispatch(next(iter(batcher._dispatcher.models)))
        cluster.bus.reconnect()
        await asyncio.sleep(5)
        assert waiting.codes == [""]
        assert cluster.violations == []

    run(scenario())


# --- loading ------------------------------------------------------------------------------------------------


def test_requests_wait_for_the_model_to_be_loaded() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        await cluster.runner(Script(load_s=10.0))
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        patient, hasty = gateway.ask(batcher.id, (1, 20.0), (1, 2.0))
        await asyncio.sleep(15)
        assert (patient.codes, hasty.codes) == ([""], ["deadline_exceeded"])

    run(scenario())


def test_each_request_waits_its_own_time_for_a_model_that_takes_long() -> None:
    async def scenario() -> None:
        cluster = Cluster(load_wait_s=5.0)
        await cluster.runner(Script(load_s=100.0))
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        first = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(3)
        second = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(20)
        for asked in (first, second):
            assert asked.codes == ["model_loading"]
            assert asked.answers[0].time_s - asked.sent_s == pytest.approx(5.0, abs=0.2)
            assert asked.answers[0].retry_after_ms > 0

    run(scenario())


def test_without_a_runner_requests_wait_for_one_for_a_while() -> None:
    async def scenario() -> None:
        cluster = Cluster(runner_wait_s=2.0)
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        refused = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(1.5)
        served = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(1)
        await cluster.runner()
        await asyncio.sleep(1)
        assert (refused.codes, served.codes) == (["no_runner"], [""])

    run(scenario())


def test_who_loses_a_runner_waits_for_the_next_as_long_as_a_new_request() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, runner = await one_of_each(
            Script(compute_s=lambda rows: 60.0), runner_wait_s=2.0
        )
        asked = gateway.ask(batcher.id, (1, 60.0), limits=Limits(hang_us=60_000_000))[0]
        await asyncio.sleep(5)
        runner.die()
        await asyncio.sleep(3)
        await cluster.runner()
        await asyncio.sleep(2)
        assert asked.codes == [""]

    run(scenario())


def test_a_model_that_fails_to_load_answers_at_once_with_the_reason_and_is_tried_again() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        await cluster.runner(Script(load_fails=1))
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        first = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(1)
        second = gateway.ask(batcher.id, (1, 60.0))[0]
        assert (first.codes, second.codes) == (["model_load_failed"], ["model_load_failed"])
        await asyncio.sleep(5)
        third = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(1)
        assert third.codes == [""]

    run(scenario())


def test_another_runner_may_load_what_one_cannot() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        for fails in (10, 0, 10):
            await cluster.runner(Script(load_fails=fails))
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        asked = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(2)
        assert asked.codes == [""]

    run(scenario())


def test_a_runner_that_has_the_model_is_asked_although_another_one_loads_it() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        await cluster.runner(Script(load_s=20.0))
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        asked = gateway.ask(batcher.id, (1, 60.0))[0]
        await asyncio.sleep(1)
        warm = await cluster.runner()
        load = frames.Control("load", subjects.new_id(), *MODEL, 1)
        cluster.bus.publish(subjects.runner_control(warm.id), frames.encode(load))
        await asyncio.sleep(3)
        assert asked.codes == [""]
        assert [served.runner for served in cluster.served] == [warm.id]

    run(scenario())


# --- several batchers ---------------------------------------------------------------------------------------


def owned_tag(batchers: list[Any], owner: Any) -> tuple[str, str, str]:
    """A model that one of the batchers owns."""
    from vtsserving._inference.rendezvous import rendezvous_hash as owner_of

    ids = [batcher.id for batcher in batchers]
    for number in range(1_000):
        if owner_of(f"iris:{number}", ids) == owner.id:
            return "iris", str(number), f"sha256:{number:064x}"
    raise AssertionError("no tag for this batcher")


def test_a_batcher_that_does_not_own_a_model_hands_its_requests_back() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        await cluster.runner()
        one, other, gateway = await cluster.batcher(), await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        model = owned_tag([one, other], other)
        asked = gateway.ask(one.id, (1, 5.0), model=model)[0]
        assert asked.codes == ["batcher_lost"]
        assert gateway.ask(other.id, (1, 5.0), model=model)[0].codes == []
        await asyncio.sleep(1)
        assert cluster.asked[-1].codes == [""]

    run(scenario())


def test_a_new_owner_takes_the_credits_over_and_the_old_one_hands_back_what_waits() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        await cluster.runner(Script(compute_s=lambda rows: 2.0))
        one, gateway = await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        other = await cluster.batcher()
        model = owned_tag([one, other], other)
        one._fleet.batchers.clear()  # as if it did not hear of the other one yet
        for _ in range(4):
            gateway.ask(one.id, (8, 30.0), model=model)
        await asyncio.sleep(0.6)
        gateway.ask(other.id, (8, 30.0), model=model)
        assert [asked.codes for asked in cluster.asked] == [[], [], ["batcher_lost"], ["batcher_lost"], []]
        await asyncio.sleep(9)
        assert [asked.codes for asked in cluster.asked] == [
            [""],
            [""],
            ["batcher_lost"],
            ["batcher_lost"],
            [""],
        ]
        assert cluster.violations == []
        assert cluster.depth() == (0, 0)

    run(scenario())


def test_what_a_lost_runner_held_is_not_handed_back_as_if_it_was_never_computed() -> None:
    async def scenario() -> None:
        cluster = Cluster(runner_wait_s=30.0)
        runner = await cluster.runner(Script(compute_s=lambda rows: 2.0))
        one, gateway = await cluster.batcher(), await cluster.gateway()
        await asyncio.sleep(0.6)
        other = await cluster.batcher()
        model = owned_tag([one, other], other)
        one._fleet.batchers.clear()  # as if it did not hear of the other one yet
        held, waiting = (
            gateway.ask(one.id, (8, 30.0), model=model, limits=Limits(max_rows=8))[0] for _ in "ab"
        )
        gateway.ask(one.id, (8, 30.0), model=model)
        await asyncio.sleep(0.2)
        runner.die()
        await asyncio.sleep(3)
        assert [held.codes, waiting.codes] == [["runner_lost"], ["runner_lost"]]
        assert cluster.asked[2].codes == ["batcher_lost"]

    run(scenario())


def test_two_batchers_that_both_believe_to_own_a_model_answer_all_requests() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        await cluster.runner(Script(compute_s=lambda rows: 0.1))
        one, other, gateway = await cluster.batcher(), await cluster.batcher(), await cluster.gateway()
        for batcher in (one, other):
            batcher._fleet.owns = lambda tag, draining: True
        await asyncio.sleep(0.6)
        for _ in range(10):
            gateway.ask(one.id, (8, 60.0))
            gateway.ask(other.id, (8, 60.0))
        await asyncio.sleep(60)
        assert all(asked.codes == [""] and asked.is_right for asked in cluster.asked)
        assert cluster.violations == []
        assert cluster.depth() == (0, 0)

    run(scenario())


def test_a_draining_batcher_finishes_what_it_has() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.2))
        for _ in range(5):
            gateway.ask(batcher.id, (8, 30.0))
        await batcher.drain()
        assert all(asked.codes == [""] for asked in cluster.asked)
        gateway.ask(batcher.id, (8, 30.0))
        assert gateway.no_responders == 1

    run(scenario())


# --- memory -------------------------------------------------------------------------------------------------


def test_a_model_that_nobody_asks_for_any_more_is_forgotten() -> None:
    async def scenario() -> None:
        _, _, batcher, runner = await one_of_each()
        assert len(list(batcher._dispatcher.models)) == 1
        runner.die()
        await asyncio.sleep(3)
        assert list(batcher._dispatcher.models) == []

    run(scenario())


def test_a_batch_whose_process_is_gone_without_a_word_is_answered_and_forgotten() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, runner = await one_of_each(Script(compute_s=lambda rows: 1_000.0))
        gateway.ask(batcher.id, (1, 1.0))
        batch = cluster.served[0].batch
        gone = frames.Event("gone", runner.id, *batch[4:7], batch.epoch, [], 0, 0, "", "", 0)
        cluster.bus.publish(subjects.batcher_event(batcher.id), frames.encode(gone))
        await asyncio.sleep(3)
        assert cluster.depth() == (0, 1)
        await asyncio.sleep(4)
        assert cluster.depth() == (0, 0)
        assert cluster.asked[0].codes == ["deadline_exceeded"]

    run(scenario())
