from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from support.batching import Cluster
from support.calling import Caller, SilentBatcher, caller_on, entry
from support.scripted_runner import Script
from support.virtual_loop import run
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._inference.pending_queue import BATCHER_WAIT_S
from vtsserving._wire import frames, subjects
from vtsserving._wire.labels import EntryLabels
from vtsserving.exceptions import MethodNotFound, UnsupportedValue

pytestmark = pytest.mark.fast


async def stack(script: Script | None = None, batchers: int = 1) -> tuple[Cluster, Caller]:
    """A client, batchers and a runner; everybody has heard of everybody."""
    cluster = Cluster()
    await cluster.runner(script)
    for _ in range(batchers):
        await cluster.batcher()
    caller = await caller_on(cluster.bus)
    await asyncio.sleep(0.6)
    return cluster, caller


async def silence() -> tuple[SilentBatcher, Caller]:
    """A client and a batcher that takes everything and says nothing."""
    bus = InProcessBus()
    caller = await caller_on(bus)
    batcher = await SilentBatcher(bus).start()
    return batcher, caller


# --- there and back -----------------------------------------------------------------------------------------


def test_a_call_comes_back_with_its_value_and_its_times() -> None:
    async def scenario() -> None:
        _, caller = await stack(Script(compute_s=lambda rows: 0.2, load_s=0.1))
        outcome = await caller.client.call(entry(), "predict", (np.array([[1.5]]),), {}, timeout_s=5.0)
        assert outcome.value().tolist() == [[3.0]]
        assert (outcome.batch_rows, outcome.compute_us) == (1, pytest.approx(200_000, abs=2))
        assert outcome.queue_us == pytest.approx(100_000, abs=2)
        assert caller.client.in_flight == 0

    run(scenario())


def test_a_method_without_a_batch_axis_is_called_with_its_arguments_whole() -> None:
    async def scenario() -> None:
        _, caller = await stack()
        outcome = await caller.client.call(entry(), "single", (np.arange(20.0),), {}, timeout_s=5.0)
        assert outcome.value().tolist() == (2 * np.arange(20.0)).tolist()

    run(scenario())


def test_a_large_call_is_split_and_comes_back_whole_in_its_order() -> None:
    async def scenario() -> None:
        cluster, caller = await stack()
        call = caller.submit(rows=21, width=3)
        await asyncio.sleep(1)
        assert (call.codes, call.is_right) == ([""], True)
        assert call.outcomes[0].value().shape == (21, 3)
        assert sorted(sum(served.batch.rows) for served in cluster.served) == [5, 8, 8]
        assert call.outcomes[0].batch_rows == 8

    run(scenario())


def test_calls_of_one_turn_of_the_loop_leave_as_one_frame_per_group() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        for width in (1, 2, 1, 1):
            caller.submit(width=width)
        caller.submit(method="single")
        assert batcher.requests == []
        await asyncio.sleep(0)
        assert sorted(request.ids for request, _ in batcher.requests) == [(1, 3, 4), (2,), (5,)]
        caller.submit()
        await asyncio.sleep(0)
        assert batcher.ids[-1] == 6

    run(scenario())


def test_a_turn_with_many_or_large_calls_leaves_as_several_frames() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        for _ in range(600):
            caller.submit()
        await asyncio.sleep(0)
        assert [len(request.ids) for request, _ in batcher.requests] == [512, 88]
        batcher.requests.clear()
        for _ in range(3):
            caller.submit(width=300_000)
        await asyncio.sleep(0)
        assert [len(request.ids) for request, _ in batcher.requests] == [1, 1, 1]

    run(scenario())


def test_arguments_that_cannot_be_sent_and_unknown_methods_are_refused_before_anything_is_sent() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        with pytest.raises(UnsupportedValue):
            await caller.client.call(entry(), "predict", ([object()],), {}, timeout_s=5.0)
        with pytest.raises(MethodNotFound):
            await caller.client.call(entry(), "train", ([1],), {}, timeout_s=5.0)
        assert batcher.requests == []

    run(scenario())


# --- deadlines, callers that leave --------------------------------------------------------------------------


@pytest.mark.parametrize("timeout_s", [0.0, 0.001, 0.0149, 0.5, 29.999])
def test_a_call_without_an_answer_ends_at_its_deadline(timeout_s: float) -> None:
    async def scenario() -> None:
        _, caller = await silence()
        await asyncio.sleep(0.0071)
        call = caller.submit(timeout_s=timeout_s)
        await asyncio.sleep(31)
        assert call.codes == ["deadline_exceeded"]
        assert 0 <= call.settled_s[0] - call.sent_s - timeout_s <= 0.02
        assert f"{timeout_s:.3g} s" in str(call.outcomes[0].error)
        assert caller.client.in_flight == 0

    run(scenario())


@pytest.mark.parametrize(("timeout_s", "code"), [(5.0, "overloaded"), (0.1, "deadline_exceeded")])
def test_a_call_that_exceeds_its_methods_latency_is_refused_as_overload(timeout_s: float, code: str) -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        quick = entry(method_configs={"predict": {"max_latency_ms": 250}})
        call = caller.submit(timeout_s=timeout_s, model=quick)
        patient = caller.submit(timeout_s=timeout_s, model=quick, method="single")
        await asyncio.sleep(0)
        assert batcher.requests[0][0].remaining_us == (pytest.approx(min(timeout_s, 0.25) * 1e6, abs=2),)
        await asyncio.sleep(6)
        assert (call.codes, patient.codes) == ([code], ["deadline_exceeded"])
        assert call.settled_s[0] - call.sent_s == pytest.approx(min(timeout_s, 0.25), abs=0.02)

    run(scenario())


def test_what_the_batcher_drops_because_of_the_latency_is_overload_too() -> None:
    async def scenario() -> None:
        cluster, caller = await stack(Script(compute_s=lambda rows: 1.0))
        await caller.client.call(entry(), "predict", (np.zeros((1, 1)),), {}, timeout_s=9)
        quick = entry(max_latency_ms=1500)
        calls = [caller.submit(rows=8, model=quick) for _ in range(6)]
        await asyncio.sleep(9)
        assert {code for call in calls for code in call.codes} == {"", "overloaded"}
        computed = sum(sum(served.batch.rows) for served in cluster.served)
        assert computed < 1 + 6 * 8, "what is refused must not be computed"

    run(scenario())


def test_a_deadline_travels_as_the_time_that_remains() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        caller.submit(timeout_s=1.5)
        caller.submit(timeout_s=10.0**18)
        await asyncio.sleep(0)
        (request, _), *_ = batcher.requests
        assert request.remaining_us[0] == pytest.approx(1_500_000, abs=2)

    run(scenario())


def test_an_answer_that_comes_too_late_is_dropped_and_counted() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit(timeout_s=0.1)
        await asyncio.sleep(1)
        batcher.answer(*batcher.requests[0])
        assert call.codes == ["deadline_exceeded"]
        assert caller.client.late_replies == 1

    run(scenario())


def test_a_second_answer_is_dropped_and_counted() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit()
        await asyncio.sleep(0)
        batcher.answer(*batcher.requests[0])
        batcher.answer(*batcher.requests[0])
        batcher.fail(batcher.requests[0][1], "model_failed", 1)
        assert call.codes == [""]
        assert caller.client.late_replies == 2

    run(scenario())


def test_who_leaves_is_told_nothing_and_the_batchers_are() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit(rows=20)
        other = caller.submit()
        await asyncio.sleep(0)
        caller.abandon(call)
        caller.abandon(call)
        await asyncio.sleep(0)
        assert [cancel.ids for cancel in batcher.cancels] == [(1, 2, 3)]
        batcher.answer(*batcher.requests[-1])
        await asyncio.sleep(10)
        assert (call.codes, len(other.codes)) == ([], 1)

    run(scenario())


def test_who_leaves_in_the_same_turn_is_never_sent() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        caller.abandon(caller.submit())
        kept = caller.submit()
        await asyncio.sleep(0)
        assert batcher.ids == [2]
        assert kept.codes == []

    run(scenario())


def test_a_cancelled_coroutine_abandons_its_call() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        task = asyncio.ensure_future(
            caller.client.call(entry(), "predict", (np.zeros((1, 1)),), {}, timeout_s=5.0)
        )
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.1)
        assert [cancel.ids for cancel in batcher.cancels] == [(1,)]
        assert caller.client.in_flight == 0

    run(scenario())


def test_who_fails_to_take_an_answer_hurts_nobody_else() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()

        def fail(outcome: Any) -> None:
            raise ValueError("not now")

        first = caller.submit()
        assert first.ticket is not None
        first.ticket.on_done = fail
        second = caller.submit()
        await asyncio.sleep(0)
        batcher.answer(*batcher.requests[0])
        assert len(second.codes) == 1

    run(scenario())


# --- answers that are none ----------------------------------------------------------------------------------


def test_one_failing_part_fails_the_call_and_the_rest_is_cancelled() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit(rows=20)
        await asyncio.sleep(0)
        batcher.fail(batcher.requests[0][1], "model_failed", 2)
        await asyncio.sleep(0)
        assert call.codes == ["model_failed"]
        assert [cancel.ids for cancel in batcher.cancels] == [(1, 2, 3)]
        assert caller.client.in_flight == 0

    run(scenario())


@pytest.mark.parametrize("rows", [0, 1, 3, 2**31])
def test_an_answer_with_other_rows_than_the_call_is_a_bad_output(rows: int) -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit(rows=2)
        await asyncio.sleep(0)
        batcher.answer(*batcher.requests[0], rows=(rows,))
        assert call.codes == ["bad_model_output"]

    run(scenario())


def test_answers_for_nobody_are_counted() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit()
        await asyncio.sleep(0)
        batcher.answer(*batcher.requests[0], ids=(99,))
        assert (call.codes, caller.client.late_replies) == ([], 1)

    run(scenario())


def test_a_frame_that_the_batcher_cannot_read_ends_its_calls_and_no_others() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        calls = [caller.submit(width=width) for width in (1, 1, 2)]
        await asyncio.sleep(0)
        batcher.fail(batcher.requests[0][1], "unsupported_version", 0)
        assert [call.codes for call in calls] == [["unsupported_version"], ["unsupported_version"], []]

    run(scenario())


@pytest.mark.parametrize("version", [0, 2])
def test_an_answer_of_another_protocol_version_ends_the_calls_at_once(version: int) -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit()
        await asyncio.sleep(0)
        answer = frames.encode(frames.Failure("unsupported_version", "no", 0, (0,)))
        batcher.bus.publish(batcher.requests[0][1], answer[:2] + bytes([version]) + answer[3:])
        assert call.codes == ["unsupported_version"]

    run(scenario())


def test_nonsense_where_answers_go_changes_nothing() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit()
        await asyncio.sleep(0)
        for payload in (b"nonsense", frames.encode(frames.Cancel("x", (1,)))):
            batcher.bus.publish(subjects.gateway_reply(caller.client.id, 0), payload)
        batcher.answer(*batcher.requests[0])
        assert call.codes == [""]

    run(scenario())


# --- batchers that come and go ------------------------------------------------------------------------------


def test_without_a_batcher_calls_wait_for_one_for_a_while() -> None:
    async def scenario() -> None:
        bus = InProcessBus()
        caller = await caller_on(bus)
        refused = caller.submit(timeout_s=60.0)
        await asyncio.sleep(1)
        served = caller.submit(timeout_s=60.0)
        await asyncio.sleep(BATCHER_WAIT_S - 0.9)
        batcher = await SilentBatcher(bus).start()
        await asyncio.sleep(0.1)
        assert refused.codes == ["no_batcher"]
        assert batcher.ids == [2]
        assert served.codes == []

    run(scenario())


def test_who_is_not_there_any_more_costs_no_attempt() -> None:
    async def scenario() -> None:
        bus = InProcessBus()
        caller = await caller_on(bus)
        gone = await SilentBatcher(bus).start(listening=False)
        call = caller.submit()
        await asyncio.sleep(0.01)
        assert caller.client.batchers_alive == 0
        gone.beating = False
        batcher = await SilentBatcher(bus).start()
        await asyncio.sleep(0.01)
        assert [request.attempts for request, _ in batcher.requests] == [b"\0"]
        assert call.codes == []

    run(scenario())


def test_a_batcher_that_falls_silent_loses_its_calls_to_another_one_once() -> None:
    async def scenario() -> None:
        first, caller = await silence()
        call = caller.submit(timeout_s=30.0)
        await asyncio.sleep(0)
        first.beating = False
        await asyncio.sleep(1)
        second = await SilentBatcher(first.bus).start()
        await asyncio.sleep(2.0)
        assert [request.attempts for request, _ in second.requests] == [b"\1"]
        second.beating = False
        await SilentBatcher(first.bus).start()
        await asyncio.sleep(3.0)
        assert call.codes == ["batcher_lost"]

    run(scenario())


def test_what_a_batcher_gives_back_goes_to_the_next_until_one_takes_it() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit(timeout_s=30.0)
        for times in range(6):
            await asyncio.sleep(1)
            assert len(batcher.requests) == times + 1
            request, reply = batcher.requests[-1]
            assert request.attempts == b"\0"
            batcher.fail(reply, "batcher_lost" if times % 2 else "shutting_down", 1)
        await asyncio.sleep(1)
        batcher.answer(*batcher.requests[-1])
        assert call.codes == [""]

    run(scenario())


def test_what_is_given_back_for_ever_ends_with_the_reason() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit(timeout_s=300.0)
        for _ in range(200):
            await asyncio.sleep(1)
            if call.codes:
                break
            batcher.fail(batcher.requests[-1][1], "batcher_lost", 1)
        assert call.codes == ["batcher_lost"]

    run(scenario())


def test_a_call_that_was_given_back_is_not_lost_with_the_batcher_that_gave_it_back() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        call = caller.submit(timeout_s=30.0)
        await asyncio.sleep(0)
        batcher.beating = False
        await asyncio.sleep(1.96)
        other = await SilentBatcher(batcher.bus).start()
        batcher.fail(batcher.requests[0][1], "batcher_lost", 1)
        await asyncio.sleep(1)
        assert [request.attempts for request, _ in other.requests] == [b"\0"]
        assert call.codes == []

    run(scenario())


def test_a_batcher_that_drains_gets_nothing_new() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        batcher.beating = False
        batcher.say("draining")
        other = await SilentBatcher(batcher.bus).start()
        for _ in range(10):
            caller.submit()
        await asyncio.sleep(0)
        assert (batcher.ids, len(other.ids)) == ([], 10)

    run(scenario())


# --- the bus ------------------------------------------------------------------------------------------------


def test_calls_wait_for_a_bus_that_comes_back_within_a_moment() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        caller.submit()
        await asyncio.sleep(0)
        batcher.beating = False
        batcher.bus.disconnect()
        assert not caller.client.ready
        caller.submit()
        await asyncio.sleep(0.7)
        batcher.bus.reconnect()
        await asyncio.sleep(0.2)
        # The first may be lost and counts as sent, the second was never sent.
        sent = [
            (id, attempt) for r, _ in batcher.requests for id, attempt in zip(r.ids, r.attempts, strict=True)
        ]
        assert sorted(sent) == [(1, 0), (1, 1), (2, 0)]
        assert caller.client.ready

    run(scenario())


def test_while_the_bus_stays_away_calls_are_refused_within_a_second_then_at_once() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        batcher.beating = False
        batcher.bus.disconnect()
        early = caller.submit(timeout_s=30.0)
        await asyncio.sleep(0.7)
        later = caller.submit(timeout_s=30.0)
        assert (early.codes, later.codes) == ([], [])
        await asyncio.sleep(0.2)
        assert (early.codes, later.codes) == (["bus_unavailable"], [])
        at_once = caller.submit(timeout_s=30.0)
        assert at_once.codes == ["bus_unavailable"]
        await asyncio.sleep(0.7)
        assert later.codes == ["bus_unavailable"]
        batcher.bus.reconnect()
        await asyncio.sleep(1.0)
        assert batcher.ids == []

    run(scenario())


def test_a_call_whose_time_is_over_before_the_bus_is_back_ends_then() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        batcher.beating = False
        batcher.bus.disconnect()
        call = caller.submit(timeout_s=0.3)
        await asyncio.sleep(0.4)
        assert call.codes == ["deadline_exceeded"]
        batcher.bus.reconnect()
        await asyncio.sleep(0.5)
        assert batcher.ids == []

    run(scenario())


def test_a_call_that_is_too_large_for_the_bus_says_so_and_its_neighbours_are_sent() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        batcher.bus._max_payload = 10_000
        large = caller.submit(rows=8, width=1_000)
        small = caller.submit(rows=1, width=1_000)
        await asyncio.sleep(0)
        assert large.codes == ["message_too_large"]
        assert "10000" in str(large.outcomes[0].error)
        assert (small.codes, batcher.ids) == ([], [2])

    run(scenario())


# --- the end ------------------------------------------------------------------------------------------------


def test_a_draining_client_refuses_new_calls_and_finishes_the_others() -> None:
    async def scenario() -> None:
        _, caller = await stack(Script(compute_s=lambda rows: 0.5))
        calls = [caller.submit() for _ in range(20)]
        await asyncio.sleep(0)
        drained = asyncio.ensure_future(caller.client.drain())
        await asyncio.sleep(0)
        assert caller.submit().codes == ["shutting_down"]
        await drained
        assert all(call.codes == [""] for call in calls)

    run(scenario())


def test_a_closed_client_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        calls = [caller.submit(rows=20), caller.submit()]
        await asyncio.sleep(0)
        await caller.client.close()
        assert [call.codes for call in calls] == [["shutting_down"], ["shutting_down"]]
        assert caller.submit().codes == ["shutting_down"]
        await asyncio.sleep(60)
        assert len(calls[0].codes) == 1
        batcher.beating = False

    run(scenario())


def test_a_batcher_that_dies_under_load_costs_no_call_while_another_one_lives() -> None:
    async def scenario() -> None:
        cluster, caller = await stack(Script(compute_s=lambda rows: 0.05), batchers=2)
        for _ in range(40):
            caller.submit(timeout_s=20.0)
            await asyncio.sleep(0.02)
        victim = max(cluster.batchers, key=lambda app: app.counters.entries)
        await victim.close()
        for _ in range(40):
            caller.submit(timeout_s=20.0)
            await asyncio.sleep(0.02)
        await asyncio.sleep(20)
        assert all(call.codes == [""] and call.is_right for call in caller.calls)

    run(scenario())


# --- labels and kinds of bodies -----------------------------------------------------------------------------


def test_labels_of_a_call_travel_with_all_its_parts_and_cost_others_nothing() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        labels = EntryLabels("order-7", b"\1" * 25)
        caller.submit(rows=20, labels=labels)
        await asyncio.sleep(0)
        caller.submit(labels=labels)
        caller.submit()
        await asyncio.sleep(0)
        caller.submit()
        await asyncio.sleep(0)
        parts, mixed, plain = (request for request, _ in batcher.requests)
        assert (parts.request_ids, parts.traces) == (("order-7",) * 3, (b"\1" * 25,) * 3)
        assert (mixed.request_ids, mixed.traces) == (("order-7", ""), (b"\1" * 25, b""))
        assert (plain.request_ids, plain.traces, plain.body_kinds) == ((), (), b"")
        batcher.beating = False
        await caller.client.close()

    run(scenario())


def test_an_answer_with_a_body_that_cannot_be_read_ends_its_call_alone() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        calls = [caller.submit() for _ in range(3)]
        await asyncio.sleep(0)
        (request, reply) = batcher.requests[0]
        batcher.answer(request, reply, body_kinds=b"\0\1\0")
        await asyncio.sleep(0)
        assert [call.codes for call in calls] == [[""], ["unsupported_body"], [""]]
        assert caller.client.late_replies == 0
        batcher.beating = False

    run(scenario())


def test_sizes_of_batches_come_from_the_models_options() -> None:
    async def scenario() -> None:
        batcher, caller = await silence()
        caller.submit(model=entry(pad_to=(4, 8)))
        caller.submit(model=entry(pad_to=(4, 8)), method="single")
        await asyncio.sleep(0)
        sent = {request.method: request.sizes for request, _ in batcher.requests}
        assert sent == {"predict": (4, 8), "single": ()}
        batcher.beating = False
        await caller.client.close()

    run(scenario())
