from __future__ import annotations

import asyncio

import pytest

from support.batching import MODEL, Cluster, Limits, one_of_each
from support.scripted_runner import Script
from support.virtual_loop import run
from vtsserving._bus.interface import Message
from vtsserving._wire import frames, subjects
from vtsserving._wire.labels import EntryLabels

pytestmark = pytest.mark.fast


def test_what_cannot_finish_in_time_is_refused_at_once_and_told_when_to_retry() -> None:
    async def scenario() -> None:
        _, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 1.0))
        for _ in range(10):
            gateway.ask(batcher.id, (8, 60.0))
        await asyncio.sleep(9.5)
        for _ in range(5):
            gateway.ask(batcher.id, (8, 60.0))
        refused = gateway.ask(batcher.id, (8, 2.0))[0]
        assert refused.codes == ["overloaded"]
        assert refused.answers[0].retry_after_ms > 0
        patient = gateway.ask(batcher.id, (8, 60.0))[0]
        await asyncio.sleep(60)
        assert patient.codes == [""]

    run(scenario())


def test_nobody_is_refused_while_a_process_is_idle() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 1.0))
        for _ in range(10):
            gateway.ask(batcher.id, (8, 60.0))
        await asyncio.sleep(30)
        asked = gateway.ask(batcher.id, (8, 0.5))[0]
        assert asked.codes == []
        assert cluster.served[-1].batch.ids == (asked.id,)

    run(scenario())


@pytest.mark.parametrize(
    ("settings", "requests"),
    [
        pytest.param({"max_waiting_requests": 3}, [(1, 5.0)] * 4, id="requests"),
        pytest.param({"max_waiting_bytes": 100}, [(13, 5.0)], id="bytes"),
    ],
)
def test_what_does_not_fit_the_queue_is_refused_at_once(
    settings: dict[str, int], requests: list[tuple[int, float]]
) -> None:
    async def scenario() -> None:
        cluster = Cluster(**settings)
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        gateway.ask(batcher.id, *requests)
        assert all(asked.codes == ["queue_full"] for asked in cluster.asked)
        assert all(asked.answers[0].retry_after_ms > 0 for asked in cluster.asked)
        assert gateway.ask(batcher.id, (1, 5.0))[0].codes == []

    run(scenario())


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"max_waiting_requests": 3}, id="requests"),
        pytest.param({"max_waiting_bytes": 24}, id="bytes"),
    ],
)
def test_the_queue_takes_as_much_as_it_may_hold_and_no_more(settings: dict[str, int]) -> None:
    async def scenario() -> None:
        cluster = Cluster(**settings)
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        gateway.ask(batcher.id, (1, 5.0), (1, 5.0), (1, 5.0))
        gateway.ask(batcher.id, (1, 5.0))
        assert [asked.codes for asked in cluster.asked] == [[], [], [], ["queue_full"]]

    run(scenario())


def test_ever_new_kinds_of_input_do_not_fill_the_memory() -> None:
    async def scenario() -> None:
        cluster = Cluster(max_groups=3)
        batcher, gateway = await cluster.batcher(), await cluster.gateway()
        codes = [gateway.ask(batcher.id, (1, 5.0), group=group)[0].codes for group in range(4)]
        assert codes == [[], [], [], ["queue_full"]]
        await asyncio.sleep(6)
        assert gateway.ask(batcher.id, (1, 5.0), group=4)[0].codes == []

    run(scenario())


# --- what is no request -----------------------------------------------------------------------------------------------


async def refusal(payload: bytes, reply: str = "") -> tuple[int, list[frames.Frame]]:
    """(bad frames counted, what came back) after one message to a batcher's inbox."""
    cluster = Cluster()
    batcher = await cluster.batcher()
    answers: list[frames.Frame] = []

    def take(message: Message) -> None:
        answers.append(frames.decode(message.payload))

    await cluster.bus.subscribe("vts.v2.gw.>", take)
    await cluster.bus.subscribe("other.>", take)
    cluster.bus.publish(subjects.batcher_in(batcher.id), payload, reply=reply)
    await asyncio.sleep(0)
    assert cluster.depth() == (0, 0)
    return batcher.counters.bad_frames, answers


REPLY = subjects.gateway_reply("0" * 16, 7)


def request(**changes: object) -> bytes:
    good = frames.Request(
        *(*MODEL, "predict", 8, 1_000, 0, 1_000_000, (), (1,), (1,), (1_000_000,), b"\0"),
        *((), (), b"", b"h", [b"body"]),
    )
    return frames.encode(good._replace(**changes))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param(b"\x80\x04\x95pickle", "bad_frame", id="a pickle"),
        pytest.param(request()[:-1], "bad_frame", id="a truncated frame"),
        pytest.param(b"VT\x03" + request()[3:], "unsupported_version", id="a newer protocol"),
        pytest.param(b"VT\x01" + request()[3:], "unsupported_version", id="an older protocol"),
        pytest.param(
            frames.encode(frames.Heartbeat("runner", "x", "ready", 0, [], {})), "bad_frame", id="a heartbeat"
        ),
        pytest.param(request(rows=(0,)), "bad_frame", id="a batch axis without rows"),
        pytest.param(request(head=b""), "bad_frame", id="rows without a batch axis"),
    ],
)
def test_a_message_that_is_no_request_is_counted_and_refused_where_it_says(payload: bytes, code: str) -> None:
    counted, answers = run(refusal(payload, REPLY))
    assert counted == 1
    (answer,) = answers
    assert isinstance(answer, frames.Failure)
    assert (answer.code, answer.ids) == (code, (0,))


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param("", id="none"),
        pytest.param("other.subject", id="not a gateway's"),
        pytest.param("vts.v2.gw.XYZ.reply.1", id="no gateway's id"),
        pytest.param("vts.v2.bat.0000000000000000.in", id="a batcher's"),
    ],
)
def test_nothing_is_ever_answered_to_what_is_no_gateway(reply: str) -> None:
    for payload in (request(), b"nonsense"):
        counted, answers = run(refusal(payload, reply))
        assert (counted, answers) == (1, [])


def test_a_request_without_a_batch_axis_is_taken() -> None:
    async def scenario() -> None:
        cluster = Cluster()
        batcher = await cluster.batcher()
        cluster.bus.publish(subjects.batcher_in(batcher.id), request(rows=(0,), head=b""), reply=REPLY)
        assert cluster.depth() == (1, 0)

    run(scenario())


def test_limits_of_a_method_hold_from_the_next_request_on() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        gateway.ask(batcher.id, (8, 60.0))
        gateway.ask(batcher.id, (2, 60.0), (2, 60.0), limits=Limits(max_rows=8))
        gateway.ask(batcher.id, (2, 60.0), (2, 60.0), limits=Limits(max_rows=4))
        await asyncio.sleep(1)
        assert [sum(served.batch.rows) for served in cluster.served] == [8, 4, 4]

    run(scenario())


def test_what_goes_with_a_request_goes_with_its_entry_of_a_batch() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        labels = [EntryLabels("one", b"", 0), None, EntryLabels("", b"\1" * 25, 1)]
        gateway.ask(batcher.id, (8, 60.0))
        first = gateway.ask(batcher.id, (1, 60.0), (2, 60.0), (1, 60.0), labels=labels, sizes=(4, 8))
        second = gateway.ask(batcher.id, (1, 60.0), sizes=(4, 8))
        await asyncio.sleep(1)
        whole, merged = (served.batch for served in cluster.served)
        assert (whole.request_ids, whole.traces, whole.body_kinds, whole.sizes) == ((), (), b"", ())
        assert merged.ids == tuple(asked.id for asked in [*first, *second])
        assert merged.request_ids == ("one", "", "", "")
        assert merged.traces == (b"", b"", b"\1" * 25, b"")
        assert merged.body_kinds == b"\0\0\1\0"
        assert (merged.max_rows, merged.sizes) == (Limits().max_rows, (4, 8))

    run(scenario())


def test_labels_count_as_bytes_so_that_a_batch_of_them_fits_a_message() -> None:
    async def scenario() -> None:
        cluster, gateway, batcher, _ = await one_of_each(Script(compute_s=lambda rows: 0.1))
        label = EntryLabels("x" * 128, b"\1" * 25)
        gateway.ask(batcher.id, (8, 60.0))
        limits = Limits(max_bytes=2 * (8 + label.size_bytes))
        gateway.ask(batcher.id, *[(1, 60.0)] * 4, labels=[label] * 4, limits=limits)
        await asyncio.sleep(1)
        assert [len(served.batch.ids) for served in cluster.served] == [1, 2, 2]

    run(scenario())
