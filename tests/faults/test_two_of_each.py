"""Two gateways, batchers and runners on a nats-server: what bad requests, dead processes and odd frames cost.

What single services promise is tested beside them: memory that grows (tests/runner/models/test_replacing.py), broken
connections (test_four_processes.py), versions that follow each other (tests/e2e/test_hot_swap.py). A bus that is gone,
models that are slow and memory that is short: test_scarcity.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from support.cluster import save_model
from support.load import ALLOWANCE_S, Load, Report
from support.nats_server import MAX_PAYLOAD_BYTES
from support.proofs import Proof
from support.runner_models import (
    DROP_ROW,
    EXIT,
    GATE,
    HANG,
    HUGE_ANSWER,
    NAN,
    RAISE,
    calls_of,
    first_value,
    open_gate,
    save,
    trouble,
)
from support.running_cluster import RunningCluster, own_home, running
from support.two_of_each import LOAD_TIMEOUT_S, Caller, check, record, unroutable
from support.waiting import eventually
from support.wire_vectors import FRAMES
from vtsserving._bus.interface import Message
from vtsserving._bus.nats import NatsBus
from vtsserving._wire import frames, subjects

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]

ROLES: Final[tuple[subjects.Role, ...]] = ("batcher", "runner", "gateway")


class CannotBeLoaded:
    """Raises when it is loaded."""

    def predict(self, rows: Any) -> Any:
        return rows

    def __reduce__(self) -> tuple[Any, ...]:
        return (int, ("no number",))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """The cluster of all tests here, with models that misbehave on demand."""
    folder, home = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("home")
    with own_home(home):
        tag = save_model("linear")
        save("plain", trouble(folder), options={"timeout_s": 5.0})
        # All that comes within this time shares a batch.
        save("merging", trouble(folder), options={"timeout_s": 3.0, "max_wait_ms": 300, "max_batch_size": 32})
        save("broken", CannotBeLoaded(), check=False)
        save("first", first_value())
    with running(folder, home, tag) as cluster:
        yield cluster


def others(answers: list[Any], at: int) -> list[Any]:
    return answers[:at] + answers[at + 1 :]


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        pytest.param(RAISE, "model_failed", id="raises"),
        pytest.param(EXIT, "model_crashed", id="crashes"),
        pytest.param(HANG, "model_timeout", id="hangs"),
        pytest.param(NAN, None, id="returns NaN, which is its answer"),
    ],
)
def test_one_bad_request_in_32_fails_alone(two: RunningCluster, poison: float, code: str | None) -> None:
    async def scenario() -> list[Any]:
        async with Caller(two) as caller:
            return await caller.in_32(poison, at=13)

    answers = two.run(scenario())
    assert answers[13] == code
    assert others(answers, 13) == [float(1_000 + i) for i in range(32) if i != 13]


def test_after_a_wrong_number_of_rows_nobody_gets_the_rows_of_another(two: RunningCluster) -> None:
    async def scenario() -> list[Any]:
        async with Caller(two) as caller:
            return await caller.in_32(DROP_ROW, at=7)

    answers = two.run(scenario())
    assert answers[7] == "bad_model_output"
    # Whoever shared its batch fails with it, because nobody can say whose row is missing.
    assert all(answer in (1_000.0 + i, "bad_model_output") for i, answer in enumerate(answers))


@pytest.mark.alone
def test_what_expires_while_it_waits_is_504_in_time_and_never_computed(two: RunningCluster) -> None:
    async def scenario() -> tuple[list[Any], float]:
        async with Caller(two) as caller:
            await caller.call("plain", 1.0)
            gated = asyncio.create_task(caller.call("plain", GATE))
            await eventually(lambda: [GATE] in calls_of(two.folder))
            began_s = time.monotonic()
            codes = await asyncio.gather(
                *(caller.call("plain", 2_000.0 + i, timeout_s=0.3) for i in range(8))
            )
            took_s = time.monotonic() - began_s
            open_gate(two.folder)
            assert await gated == GATE
            assert await caller.call("plain", 3.0) == 3.0
            return codes, took_s

    codes, took_s = two.run(scenario())
    (two.folder / "gate").unlink()
    assert codes == ["deadline_exceeded"] * 8
    assert took_s < 0.3 + ALLOWANCE_S + 1.0, "the client's own time on a busy machine is a second at most"
    computed = {first for call in calls_of(two.folder) for first in call}
    assert not computed & {2_000.0 + i for i in range(8)}


def test_what_a_client_left_behind_while_it_waited_is_not_computed(two: RunningCluster) -> None:
    async def ask(first: float) -> asyncio.StreamWriter:
        body = json.dumps([[first, 1.0]])
        _, writer = await asyncio.open_connection("127.0.0.1", two.cluster.port)
        head = f"POST /v1/models/plain/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        await writer.drain()
        return writer

    async def scenario() -> None:
        async with Caller(two) as caller:
            await caller.call("plain", 1.0)
            seen = len(calls_of(two.folder))
            gated = asyncio.create_task(caller.call("plain", GATE))
            await eventually(lambda: [GATE] in calls_of(two.folder)[seen:])
            # A model process holds one batch that was sent ahead: this one.
            ahead = asyncio.create_task(caller.call("plain", 2.0))
            await caller.pass_through()
            writers = [await ask(3_000.0 + i) for i in range(16)]
            await caller.pass_through()
            for writer in writers:
                writer.close()
            await caller.pass_through()
            open_gate(two.folder)
            assert (await gated, await ahead, await caller.call("plain", 3.0)) == (GATE, 2.0, 3.0)

    two.run(scenario())
    (two.folder / "gate").unlink()
    computed = {first for call in calls_of(two.folder) for first in call}
    assert not computed & {3_000.0 + i for i in range(16)}


def test_a_model_that_cannot_be_loaded_says_why_and_harms_nobody(two: RunningCluster) -> None:
    async def scenario() -> tuple[Any, Any]:
        async with Caller(two) as caller:
            return await caller.error("broken"), await caller.call("plain", 5.0)

    error, other = two.run(scenario())
    assert error["code"] == "model_load_failed"
    assert "no number" in error["message"]
    assert other == 5.0


def test_a_row_larger_than_a_message_is_413_with_the_limit(two: RunningCluster) -> None:
    async def scenario() -> list[httpx2.Response]:
        async with Caller(two) as caller:
            refused = await caller.bytes(MAX_PAYLOAD_BYTES)
            needed_bytes = int(re.findall("has ([0-9]+) bytes", refused.json()["error"]["message"])[0])
            largest = 2 * MAX_PAYLOAD_BYTES - needed_bytes
            # The batcher's message about it is a little longer than the gateway's, which fills the limit here.
            return [await caller.bytes(largest + more) for more in (-128, 0, 1)]

    served, *refused = two.run(scenario())
    assert served.json() == [[1]]
    for answer in refused:
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "message_too_large")
        assert answer.json()["error"]["message"].endswith(f"the limit is {MAX_PAYLOAD_BYTES}")


def test_a_result_larger_than_a_message_is_said_to_be_and_nobody_waits(two: RunningCluster) -> None:
    async def scenario() -> tuple[httpx2.Response, httpx2.Response]:
        async with Caller(two) as caller:
            return await caller.bytes(10, HUGE_ANSWER), await caller.bytes(10)

    huge, small = two.run(scenario())
    assert (huge.status_code, huge.json()["error"]["code"]) == (500, "result_too_large")
    assert huge.elapsed.total_seconds() < LOAD_TIMEOUT_S / 2
    assert small.json() == [[1]]


def test_answers_to_dead_gateways_are_counted_and_disturb_no_runner(two: RunningCluster) -> None:
    supervisor, gateways, runners = two.cluster.supervisor, ("gateway", "gateway-2"), ("runner", "runner-2")

    def processes() -> list[Any]:
        return [(supervisor.pid(name), sorted(two.cluster.model_processes(name))) for name in runners]

    async def scenario() -> tuple[float, int]:
        async with Caller(two) as caller:
            await caller.call("plain", 1.0)
            before, seen = await unroutable(two), len(calls_of(two.folder))
            running, logged = processes(), [len(supervisor.log(name).splitlines()) for name in runners]
            gated = [asyncio.create_task(caller.call("plain", GATE)) for _ in range(16)]
            await eventually(lambda: len(calls_of(two.folder)) > seen)
            await caller.pass_through()
            for name in gateways:
                supervisor.kill(name)
            await asyncio.gather(*gated, return_exceptions=True)
            open_gate(two.folder)
            for name in gateways:
                await supervisor.ready(name)
        async with Caller(two) as caller:
            assert await caller.call("plain", 3.0) == 3.0
            assert processes() == running
            lines = [len(supervisor.log(name).splitlines()) for name in runners]
            return await unroutable(two) - before, sum(lines) - sum(logged)

    grown, lines = two.run(scenario())
    (two.folder / "gate").unlink()
    assert grown >= 1
    assert lines <= 16, "the runners complain about each"


def test_frames_of_other_protocol_versions_are_refused_and_harm_nobody(two: RunningCluster) -> None:
    async def scenario() -> tuple[Report, list[frames.Failure]]:
        bus = await NatsBus.connect(two.cluster.nats_url)
        ids: dict[str, set[str]] = {role: set() for role in ROLES}
        refusals: list[frames.Failure] = []

        def hear(message: Message) -> None:
            beat = frames.decode(message.payload)
            if isinstance(beat, frames.Heartbeat):
                ids[beat.role].add(beat.id)

        def refused(message: Message) -> None:
            frame = frames.decode(message.payload)
            assert isinstance(frame, frames.Failure)
            refusals.append(frame)

        ours = subjects.new_id()
        beats = [await bus.subscribe(subjects.heartbeat(role), hear) for role in ROLES]
        await bus.subscribe(subjects.gateway_replies(ours), refused)
        await eventually(lambda: all(len(found) >= 2 for found in ids.values()))
        for beat in beats:
            await beat.unsubscribe()
        targets = [subjects.heartbeat(role) for role in ROLES]
        targets += [subjects.batcher_in(id) for id in ids["batcher"]]
        targets += [subjects.batcher_event(id) for id in ids["batcher"]]
        targets += [subjects.runner_batch(id) for id in ids["runner"]]
        targets += [subjects.runner_control(id) for id in ids["runner"]]
        targets += [subjects.gateway_reply(id, 0) for id in ids["gateway"]]
        async with Load.closed(two.cluster.target(LOAD_TIMEOUT_S), clients=4) as load:
            await load.progress(20)
            for frame in FRAMES.values():
                data = bytearray(frames.encode(frame))
                for version in (data[2] - 1, data[2] + 1):
                    data[2] = version
                    for subject in targets:
                        bus.publish(subject, bytes(data), reply=subjects.gateway_reply(ours, 1))
            await bus.flush()
            await load.progress(200)
            report = await load.stop()
        await bus.close()
        return report, refusals

    report, refusals = two.run(scenario())
    assert len(report.of("right")) == len(report.answers), report
    assert {failure.code for failure in refusals} == {"unsupported_version"}


def test_messages_that_come_twice_are_answered_once(two: RunningCluster) -> None:
    async def scenario() -> tuple[Report, int]:
        bus = await NatsBus.connect(two.cluster.nats_url)
        seen: set[bytes] = set()

        def repeat(message: Message) -> None:
            data = bytes(message.payload)  # type: ignore[arg-type]
            if data not in seen:
                seen.add(data)
                bus.publish(message.subject, data, reply=message.reply)

        for subject in ("vts.v2.bat.*.in", "vts.v2.run.*.batch", "vts.v2.bat.*.event"):
            await bus.subscribe(subject, repeat)
        async with Load.closed(two.cluster.target(LOAD_TIMEOUT_S), clients=8) as load:
            await load.progress(300)
            report = await load.stop()
        await bus.close()
        return report, len(seen)

    report, repeated = two.run(scenario())
    assert repeated > 100
    assert len(report.of("right")) == len(report.answers), report


@pytest.mark.prove
@pytest.mark.parametrize("name", ["gateway", "batcher", "runner"])
def test_one_of_two_that_is_killed_costs_nobody_but_those_who_were_connected_to_it(
    two: RunningCluster, proof: Proof, name: str
) -> None:
    async def scenario() -> Report:
        supervisor = two.cluster.supervisor
        async with Load.opened(
            two.cluster.target(LOAD_TIMEOUT_S), per_s=proof.count(full=200, quick=60)
        ) as load:
            await load.progress(60)
            for number in range(proof.count(full=10, quick=2)):
                victim = f"{name}{('', '-2')[number % 2]}"
                supervisor.kill(victim)
                await supervisor.ready(victim)
                await load.progress(60)
            return await load.stop()

    report = two.run(scenario())
    record(proof, f"two of each, kill -9 of one {name}", report)
    check(report)
    assert not report.of("refused"), report
    if name != "gateway":
        assert not report.of("lost"), report


@pytest.mark.prove
@pytest.mark.parametrize("name", ["batcher", "runner"])
def test_one_of_two_that_hangs_costs_nobody_an_answer(two: RunningCluster, proof: Proof, name: str) -> None:
    async def scenario() -> Report:
        async with Load.opened(
            two.cluster.target(LOAD_TIMEOUT_S), per_s=proof.count(full=200, quick=60)
        ) as load:
            await load.progress(60)
            for victim in (name, f"{name}-2"):
                pid = two.cluster.supervisor.pid(victim)
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(proof.count(full=10, quick=3))
                os.kill(pid, signal.SIGCONT)
                await load.progress(60)
            return await load.stop()

    report = two.run(scenario())
    record(proof, f"two of each, one {name} stopped and continued", report)
    check(report)
    assert len(report.of("right")) == len(report.answers), report


@pytest.mark.alone
@pytest.mark.prove
def test_a_rolling_restart_of_everything_costs_no_request(two: RunningCluster, proof: Proof) -> None:
    async def scenario() -> Report:
        supervisor = two.cluster.supervisor
        async with Load.closed(two.cluster.target(LOAD_TIMEOUT_S), clients=8) as load:
            for _ in range(proof.count(full=3, quick=1)):
                for name in ("runner", "batcher", "gateway", "nats"):
                    for victim in (name,) if name == "nats" else (name, f"{name}-2"):
                        pid = supervisor.pid(victim)
                        supervisor.kill(victim, signal.SIGTERM)
                        await eventually(
                            lambda victim=victim, pid=pid: supervisor.running(victim) not in (None, pid),
                            within_s=60.0,
                        )
                        await supervisor.ready(victim)
                        await load.progress(40)
            return await load.stop()

    report = two.run(scenario())
    record(proof, "two of each, rolling restart of everything", report)
    check(report)
    assert len(report.of("right")) == len(report.answers), report
