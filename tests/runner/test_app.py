"""A runner as its batchers and gateways see it: loading, credits, answers, taking over, draining."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.buses import BusWorld
from support.runner_models import GATE, RAISE, calls_of, open_gate, save, trouble
from support.scripted_batcher import ScriptedBatcher
from support.waiting import eventually
from support.wire_frames import loaded
from vtsserving._local_store.model import Model
from vtsserving._local_store.store import LocalStore
from vtsserving._wire import subjects
from vtsserving.exceptions import ModelLoadFailed
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings


def row(*values: float) -> tuple[np.ndarray[Any, Any]]:
    return (np.array([values or (0.0,)], dtype=float),)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return save("trouble", trouble(tmp_path))


def test_every_caller_gets_its_own_rows(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        assert grant.credits == [0, 1]
        inputs = [np.arange(2 * n, dtype=float).reshape(n, 2) + 10 * n for n in (1, 3, 2)]
        sent = rig.batcher.send(model, grant, [(x,) for x in inputs])
        for x, answer in zip(inputs, await rig.batcher.done(sent), strict=True):
            np.testing.assert_array_equal(answer, x * 2)
        (done,) = rig.batcher.of("done")
        assert (done.epoch, done.credits, done.batch_id) == (grant.epoch, [0], sent.batch_id)
        assert done.compute_us > 0
        (reply,) = rig.batcher.replies
        assert (reply.runner, reply.batch_rows) == (rig.app.id, 6)
        assert all(queued_us >= 7 for queued_us in reply.queued_us)

    with_runner(scenario)
    assert calls_of(tmp_path) == [[10.0, 30.0, 32.0, 34.0, 20.0, 22.0]]


def test_both_credits_are_answered_in_their_order(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        first = rig.batcher.send(model, grant, [row(GATE)], credit=0)
        second = rig.batcher.send(model, grant, [row(1.0)], credit=1)
        open_gate(tmp_path)
        await rig.batcher.done(second)
        assert [e.batch_id for e in rig.batcher.of("done")] == [first.batch_id, second.batch_id]

    with_runner(scenario)


def test_answers_of_one_batch_go_to_their_gateways(with_runner, model):
    async def scenario(rig):
        other = await rig.another_batcher()
        grant = await rig.batcher.load(model)
        ours = [subjects.gateway_reply(rig.batcher.gateway, n) for n in (1, 2)]
        gateways = [ours[0], subjects.gateway_reply(other.gateway, 9), ours[1]]
        sent = rig.batcher.send(model, grant, [row(float(i)) for i in range(6)], gateways=gateways)
        await rig.batcher.done(sent)
        expected = {id: [[2.0 * i]] for i, id in enumerate(sent.ids)}
        assert {id: a.tolist() for id, a in rig.batcher.answers.items()} == {
            sent.ids[i]: expected[sent.ids[i]] for i in (0, 2, 3, 5)
        }
        assert {id: a.tolist() for id, a in other.answers.items()} == {
            sent.ids[i]: expected[sent.ids[i]] for i in (1, 4)
        }
        assert len(rig.batcher.replies) == len(other.replies) == 1

    with_runner(scenario)


@pytest.mark.parametrize("bus", ["inprocess", "nats"])
def test_an_answer_to_a_dead_gateway_is_counted_and_the_rest_is_served(bus, model, tmp_path):
    async def scenario(world):
        app = RunnerApp(await world.bus(), LocalSource(LocalStore()), RunnerSettings())
        try:
            await app.start()
            batcher = await ScriptedBatcher(await world.bus(), app.id).start()
            grant = await batcher.load(model)
            gateways = [subjects.gateway_reply(gateway, 0) for gateway in (batcher.gateway, "0" * 16)]
            sent = batcher.send(model, grant, [row(1.0), row(2.0)], gateways=gateways)
            here, nowhere = await batcher.done(sent)
            assert (here.tolist(), nowhere) == ([[2.0]], None)
            await eventually(lambda: app.counters.unrouted == 1)
            assert b"vtsserving_runner_replies_unroutable_total 1.0" in app.exposition()
        finally:
            await app.close()

    BusWorld(bus, tmp_path).run(scenario)


def test_a_batch_without_a_valid_credit_is_refused_at_once(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        running = rig.batcher.send(model, grant, [row(GATE)], credit=0)
        stale = rig.batcher.send(model, grant._replace(epoch=grant.epoch + 256), [row(1.0)], credit=1)
        in_use = rig.batcher.send(model, grant, [row(2.0)], credit=0)
        unknown = rig.batcher.send(model, grant, [row(3.0)], credit=2)
        assert [(e.batch_id, e.code) for e in rig.batcher.of("nack")] == [
            (sent.batch_id, "stale_credit") for sent in (stale, in_use, unknown)
        ]
        open_gate(tmp_path)
        await rig.batcher.done(running)
        assert set(rig.batcher.answers) == set(running.ids)

    with_runner(scenario)
    assert calls_of(tmp_path) == [[GATE]]


def test_a_batch_of_a_model_that_is_not_loaded_is_refused(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        batch = rig.batcher.frame(model, grant, [row(1.0)])
        rig.batcher.publish(batch._replace(digest="sha256:" + "0" * 64))
        assert [e.code for e in rig.batcher.of("nack")] == ["stale_credit"]

    with_runner(scenario)


def test_a_batch_that_comes_twice_is_computed_once(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        batch = rig.batcher.frame(model, grant, [row(5.0)])
        sent = rig.batcher.publish(batch)
        rig.batcher.publish(batch)
        await rig.batcher.done(sent)
        rig.batcher.publish(batch)
        after = rig.batcher.send(model, grant, [row(6.0)])
        await rig.batcher.done(after)
        assert rig.batcher.of("nack") == []
        assert rig.app.counters.duplicates == 2

    with_runner(scenario)
    assert calls_of(tmp_path) == [[5.0], [6.0]]


def test_asking_again_grants_only_what_is_free(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        running = rig.batcher.send(model, grant, [row(GATE)], credit=1)
        again = await rig.batcher.load(model)
        assert (again.epoch, again.credits) == (grant.epoch, [0])
        open_gate(tmp_path)
        await rig.batcher.done(running)

    with_runner(scenario)


def test_another_batcher_takes_over_and_the_first_ones_batch_is_answered(with_runner, model, tmp_path):
    async def scenario(rig):
        other = await rig.another_batcher()
        grant = await rig.batcher.load(model)
        running = rig.batcher.send(model, grant, [row(GATE)], credit=0)
        taken = await other.load(model)
        assert taken.epoch > grant.epoch
        assert [e.epoch for e in rig.batcher.of("gone")] == [grant.epoch]
        refused = rig.batcher.send(model, grant, [row(1.0)], credit=1)
        assert [e.batch_id for e in rig.batcher.of("nack")] == [refused.batch_id]
        theirs = other.send(model, taken, [row(2.0)])
        open_gate(tmp_path)
        assert [a.tolist() for a in await rig.batcher.done(running)] == [[[2 * GATE]]]
        assert [a.tolist() for a in await other.done(theirs)] == [[[4.0]]]
        assert [e.credits for e in rig.batcher.of("done")] == [[]]

    with_runner(scenario)


def test_an_expired_entry_is_not_computed(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        calls = [row(1.0), row(2.0), row(3.0)]
        sent = rig.batcher.send(model, grant, calls, remaining_s=[30.0, 0.0, 30.0])
        first, expired, third = await rig.batcher.done(sent)
        assert (first.tolist(), third.tolist()) == ([[2.0]], [[6.0]])
        assert expired.code == "deadline_exceeded"

    with_runner(scenario)
    assert calls_of(tmp_path) == [[1.0, 3.0]]


def test_what_expires_behind_a_running_batch_is_not_computed(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        running = rig.batcher.send(model, grant, [row(GATE)], credit=0)
        behind = rig.batcher.send(model, grant, [row(1.0), row(2.0)], credit=1, remaining_s=[0.05, 30.0])
        await asyncio.sleep(0.06)  # the deadline itself, not a way to synchronise
        open_gate(tmp_path)
        await rig.batcher.done(running)
        expired, answered = await rig.batcher.done(behind)
        assert (expired.code, answered.tolist()) == ("deadline_exceeded", [[4.0]])

    with_runner(scenario)
    assert calls_of(tmp_path) == [[GATE], [2.0]]


def test_large_answers_are_split_and_a_too_large_one_says_so(with_runner, tmp_path):
    class Grows:
        def predict(self, x: Any) -> Any:
            return np.repeat(x, int(x.max()), axis=1)

    model = save("grows", Grows())

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        sent = rig.batcher.send(model, grant, [row(300.0)] * 4)
        answers = await rig.batcher.done(sent)
        assert [a.shape for a in answers] == [(1, 300)] * 4
        assert len(rig.batcher.replies) == 4
        large = rig.batcher.send(model, grant, [row(1000.0)])
        (error,) = await rig.batcher.done(large)
        assert error.code == "result_too_large"
        assert "has 80" in error.message
        assert "4096" in error.message

    with_runner(scenario, max_payload=4096)


def test_a_method_that_the_model_lacks_is_an_error_of_its_callers(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        sent = rig.batcher.send(model, grant, [row(1.0)], method="transform")
        assert [a.code for a in await rig.batcher.done(sent)] == ["method_not_found"]

    with_runner(scenario)


@pytest.mark.parametrize("spoil", ["bytes", "gateway", "batcher", "kind"])
def test_a_frame_that_should_not_be_there_is_counted_and_dropped(with_runner, model, spoil):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        batch = rig.batcher.frame(model, grant, [row(1.0)])
        subject = subjects.runner_batch(rig.app.id)
        if spoil == "bytes":
            rig.bus.publish(subject, b"VT\x01\x02nonsense")
        elif spoil == "gateway":
            rig.batcher.publish(batch._replace(gateways=["vts.v2.store.changed"]))
        elif spoil == "batcher":
            rig.batcher.publish(batch._replace(batcher="x.>"))
        else:
            rig.bus.publish(subject, subjects.new_id().encode())
        assert rig.app.counters.bad_frames == 1
        sent = rig.batcher.send(model, grant, [row(4.0)])
        assert [a.tolist() for a in await rig.batcher.done(sent)] == [[[8.0]]]

    with_runner(scenario)


# --- loading ---------------------------------------------------------------------------------------------------------


def test_a_model_that_cannot_be_loaded_says_why_and_is_remembered(with_runner):
    class Broken:
        def __reduce__(self) -> Any:
            return (int, ("not a number",))

        def predict(self, x: Any) -> Any:
            return x

    model = save("broken", Broken(), check=False)

    async def scenario(rig):
        failed = await rig.batcher.load(model)
        assert (failed.event, failed.code) == ("failed", "model_load_failed")
        assert "not a number" in failed.message or "ValueError" in failed.message
        started = rig.app.counters.load_failures[str(model.tag)]
        again = await rig.batcher.load(model)
        assert (again.event, again.message) == ("failed", failed.message)
        assert rig.app.counters.load_failures[str(model.tag)] == started
        with pytest.raises(ModelLoadFailed):
            await rig.app.preload([str(model.tag)])

    with_runner(scenario)


def test_a_model_that_crashes_while_loading_fails_and_leaves_the_runner_alone(with_runner, model):
    class Crashes:
        def __reduce__(self) -> Any:
            return (os.abort, ())

        def predict(self, x: Any) -> Any:
            return x

    broken = save("crashes", Crashes(), check=False)

    async def scenario(rig):
        failed = await rig.batcher.load(broken)
        assert failed.event == "failed"
        assert "SIGABRT" in failed.message
        grant = await rig.batcher.load(model)
        sent = rig.batcher.send(model, grant, [row(4.0)])
        assert [a.tolist() for a in await rig.batcher.done(sent)] == [[[8.0]]]

    with_runner(scenario)


def test_a_model_with_other_content_than_asked_for_is_not_loaded(with_runner, model):
    async def scenario(rig):
        other = Model(model.tag, model.path)
        other.__dict__["digest"] = "sha256:" + "1" * 64
        failed = await rig.batcher.load(other)
        assert failed.event == "failed"
        assert "other content" in failed.message

    with_runner(scenario)


def test_a_model_that_loads_for_too_long_is_given_up(with_runner):
    def wait_for_ever() -> None:
        import time

        time.sleep(3600)

    class Slow:
        def __reduce__(self) -> Any:
            return (wait_for_ever, ())

        def predict(self, x: Any) -> Any:
            return x

    model = save("slow", Slow(), check=False)

    async def scenario(rig):
        failed = await rig.batcher.load(model)
        assert failed.event == "failed"
        assert "took too long to load" in failed.message

    with_runner(scenario, load_timeout_s=1.5)


def test_preloading_returns_when_the_model_is_warm(with_runner, model):
    async def scenario(rig):
        assert rig.app.ready
        assert loaded(rig.batcher.beats[-1]) == [str(model.tag)]
        seen = len(rig.batcher.events)
        rig.batcher.command("load", model)
        assert [e.event for e in rig.batcher.events[seen:]] == ["credit"]

    with_runner(scenario, preload=("trouble:latest",))


def test_preloading_a_broken_model_raises_the_reason(with_runner):
    class Crashes:
        def __reduce__(self) -> Any:
            return (os.abort, ())

        def predict(self, x: Any) -> Any:
            return x

    save("crashes", Crashes(), check=False)
    with pytest.raises(ModelLoadFailed, match="SIGABRT"):
        with_runner(None, preload=("crashes",))


def test_an_unloaded_model_finishes_its_batch_and_is_gone(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        running = rig.batcher.send(model, grant, [row(GATE)])
        rig.batcher.command("unload", model)
        assert [e.epoch for e in rig.batcher.of("gone")] == [grant.epoch]
        open_gate(tmp_path)
        assert [a.tolist() for a in await rig.batcher.done(running)] == [[[2 * GATE]]]
        assert loaded(rig.batcher.beats[-1]) == []
        await rig.batcher.load(model)  # and it can come back

    with_runner(scenario)


def test_replicas_have_epochs_and_processes_of_their_own(with_runner, tmp_path):
    model = save("twice", trouble(tmp_path), options={"replicas": 2})

    async def scenario(rig):
        rig.batcher.command("load", model)
        await rig.batcher.until("two grants", lambda: len(rig.batcher.of("credit")) == 2)
        one, two = sorted(rig.batcher.of("credit"), key=lambda e: e.epoch & 255)
        assert [one.epoch & 255, two.epoch & 255] == [0, 1]
        blocked = rig.batcher.send(model, one, [row(GATE)])
        free = rig.batcher.send(model, two, [row(3.0)])
        assert [a.tolist() for a in await rig.batcher.done(free)] == [[[6.0]]]
        assert len(set(rig.process_ids())) == 2
        open_gate(tmp_path)
        await rig.batcher.done(blocked)

    with_runner(scenario)


# --- life ------------------------------------------------------------------------------------------------------------


def test_heartbeats_name_what_is_loaded_and_the_free_memory(with_runner, model):
    async def scenario(rig):
        await rig.batcher.load(model)
        beat = rig.batcher.beats[-1]
        assert (beat.role, beat.id, beat.state, loaded(beat)) == (
            "runner",
            rig.app.id,
            "ready",
            [str(model.tag)],
        )
        assert beat.free_bytes > 0
        seen = len(rig.batcher.beats)
        await rig.batcher.until("two more heartbeats", lambda: len(rig.batcher.beats) >= seen + 2)

    with_runner(scenario)


def test_draining_answers_what_was_taken_and_refuses_the_rest(with_runner, model, tmp_path):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        running = rig.batcher.send(model, grant, [row(GATE)], credit=0)
        behind = rig.batcher.send(model, grant, [row(1.0)], credit=1)
        draining = asyncio.create_task(rig.app.drain())
        await rig.batcher.event("gone")
        assert rig.batcher.beats[-1].state == "draining"
        assert not rig.app.ready
        rig.batcher.send(model, grant, [row(2.0)], credit=1)
        assert [e.code for e in rig.batcher.of("nack")] == ["shutting_down"]
        late = await rig.batcher.load(model)
        assert (late.event, late.code) == ("failed", "shutting_down")
        assert not draining.done()
        open_gate(tmp_path)
        await draining
        assert [a.tolist() for a in await rig.batcher.done(running)] == [[[2 * GATE]]]
        assert [a.tolist() for a in await rig.batcher.done(behind)] == [[[2.0]]]

    with_runner(scenario)


def test_draining_ends_even_when_a_model_does_not(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        rig.batcher.send(model, grant, [row(GATE)])
        await asyncio.wait_for(rig.app.drain(), 5)

    with_runner(scenario, drain_s=0.05)


def test_no_model_process_outlives_the_runner(with_runner, model):
    pids: list[int] = []

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        rig.batcher.send(model, grant, [row(GATE)])
        pids.extend(rig.process_ids())

    with_runner(scenario)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIG_DFL)


def test_metrics_show_batches_and_processes(with_runner, model):
    async def scenario(rig):
        grant = await rig.batcher.load(model)
        await rig.batcher.done(rig.batcher.send(model, grant, [row(1.0), row(2.0)]))
        text = rig.app.exposition().decode()
        assert "vtsserving_runner_batches_total 1.0" in text
        assert "vtsserving_runner_requests_total 2.0" in text
        assert f'vtsserving_runner_process_warm{{model="{model.tag}",replica="0"}} 1.0' in text
        (rss,) = [
            line for line in text.splitlines() if line.startswith("vtsserving_runner_process_resident_bytes{")
        ]
        assert float(rss.split()[-1]) > 1e6

    with_runner(scenario)


# --- large tensors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3])
def test_large_tensors_are_right_and_a_model_may_keep_what_it_got(with_runner, count):
    class Keeps:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def predict(self, x: Any) -> Any:
            self.kept.append(x)
            return self.kept[0][: len(x)] * 1000 + x

    model = save("keeps", Keeps())

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        for number in range(1, 12):
            calls = [(np.full((1, 40_000), float(10 * number + i)),) for i in range(count)]
            answers = await rig.batcher.done(rig.batcher.send(model, grant, calls))
            for i, answer in enumerate(answers):
                assert answer.shape == (1, 40_000)
                assert (answer == (10.0 + i) * 1000 + 10.0 * number + i).all()

    with_runner(scenario)


def test_many_large_partial_answers_of_one_batch_arrive(with_runner, tmp_path):
    model = save("trouble", trouble(tmp_path))

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        calls = [(np.full((1, 20_000), RAISE if i % 2 else float(i)),) for i in range(16)]
        answers = await rig.batcher.done(rig.batcher.send(model, grant, calls))
        for i, answer in enumerate(answers):
            if i % 2:
                assert answer.code == "model_failed"
            else:
                assert (answer == 2.0 * i).all()

    with_runner(scenario)
