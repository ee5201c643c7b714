"""Gateways and a batcher on a virtual clock, with a record of who asked for what and what came back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from support.call_rules import every
from support.scripted_runner import Script, ScriptedRunner, Served
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._bus.interface import Message
from vtsserving._wire import frames, subjects
from vtsserving._wire.labels import EntryLabels, columns
from vtsserving._wire.rows import Packed, join_results, pack_call
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings

MODEL = ("iris", "1", "sha256:" + "0" * 64)


@dataclass
class Answer:
    """What came back for one request."""

    time_s: float
    value: Any = None
    code: str = ""
    retry_after_ms: int = 0
    message: str = ""


@dataclass
class Asked:
    """One request and its answers."""

    id: int
    gateway: Gateway
    sent_s: float
    deadline_s: float
    array: np.ndarray[Any, Any]
    group: int
    cancelled_s: float | None = None
    answers: list[Answer] = field(default_factory=list)

    @property
    def codes(self) -> list[str]:
        return [answer.code for answer in self.answers]

    @property
    def is_right(self) -> bool:
        """Whether each value that came back is that of its own rows."""
        return all(
            answer.code or (answer.value.shape == self.array.shape and (answer.value == 2 * self.array).all())
            for answer in self.answers
        )


@dataclass
class Limits:
    """What a request frame says of its method."""

    max_rows: int = 8
    max_bytes: int = 1 << 20
    max_wait_us: int = 0
    hang_us: int = 1_000_000


class Gateway:
    """Sends request frames as a gateway does."""

    def __init__(self, bus: InProcessBus, asked: list[Asked]) -> None:
        self.id = subjects.new_id()
        self.asked = asked
        self.no_responders = 0
        self._bus = bus
        self._by_id: dict[int, Asked] = {}
        self._publishes = 0

    async def start(self) -> None:
        await self._bus.subscribe(subjects.gateway_replies(self.id), self._on_reply)

    def ask(
        self,
        batcher: str,
        *requests: tuple[int, float],
        group: int = 0,
        limits: Limits | None = None,
        model: tuple[str, str, str] = MODEL,
        attempt: int = 0,
        labels: Sequence[EntryLabels | None] = (),
        sizes: tuple[int, ...] = (),
    ) -> list[Asked]:
        """Send requests of (rows, timeout in seconds) in one frame; a group has a width of its own."""
        limits = limits or Limits()
        now_s = asyncio.get_running_loop().time()
        sent = []
        for rows, timeout_s in requests:
            id = len(self.asked) + 1
            array = np.arange(rows * (group + 1), dtype="f8").reshape(rows, group + 1) + id * 1_000
            asked = Asked(id, self, now_s, now_s + timeout_s, array, group)
            self.asked.append(asked)
            self._by_id[id] = asked
            sent.append(asked)
        packed = [pack_call((asked.array,), {}, every(0)) for asked in sent]
        frame = frames.Request(
            *model,
            *("predict", limits.max_rows, limits.max_bytes, limits.max_wait_us, limits.hang_us, sizes),
            tuple(asked.id for asked in sent),
            tuple(one.rows for one in packed),
            tuple(int(timeout_s * 1e6) for _, timeout_s in requests),
            bytes([attempt] * len(sent)),
            *columns(labels or [None] * len(sent)),
            packed[0].head,
            [one.body for one in packed],
        )
        self._publishes += 1
        reply = subjects.gateway_reply(self.id, self._publishes)
        self._bus.publish(subjects.batcher_in(batcher), frames.encode(frame), reply=reply)
        return sent

    def prepare(
        self, batcher: str, op: str, model: tuple[str, str, str] = MODEL, needs: Sequence[str] = ()
    ) -> None:
        frame = frames.Prepare(op, self.id, *model, needs)
        self._bus.publish(subjects.batcher_in(batcher), frames.encode(frame))

    def cancel(self, batcher: str, *asked: Asked) -> None:
        now_s = asyncio.get_running_loop().time()
        for one in asked:
            one.cancelled_s = now_s
        frame = frames.Cancel(self.id, tuple(one.id for one in asked))
        self._bus.publish(subjects.batcher_in(batcher), frames.encode(frame))

    def _on_reply(self, message: Message) -> None:
        if not message.payload:
            self.no_responders += 1
            return
        now_s = asyncio.get_running_loop().time()
        frame = frames.decode(message.payload)
        if isinstance(frame, frames.Failure):
            for id in frame.ids:
                self._by_id[id].answers.append(
                    Answer(
                        now_s,
                        code=frame.code,
                        retry_after_ms=frame.retry_after_ms,
                        message=frame.message,
                    )
                )
        elif isinstance(frame, frames.Reply):
            for id, rows, body in zip(frame.ids, frame.rows, frame.bodies, strict=True):
                value = join_results([Packed(frame.head, rows, body)])  # type: ignore[arg-type]
                self._by_id[id].answers.append(Answer(now_s, value))


class Cluster:
    """One bus with batchers, scripted runners and gateways, all on the running (virtual) loop."""

    def __init__(self, **settings: Any) -> None:
        self.bus = InProcessBus()
        self.settings = BatcherSettings(**settings)
        self.batchers: list[BatcherApp] = []
        self.runners: list[ScriptedRunner] = []
        self.gateways: list[Gateway] = []
        self.asked: list[Asked] = []
        self.served: list[Served] = []
        self.loop = asyncio.get_running_loop()

    async def batcher(self) -> BatcherApp:
        app = BatcherApp(self.bus, self.settings)
        await app.start()
        self.batchers.append(app)
        return app

    async def runner(self, script: Script | None = None, replicas: int = 1, **more: Any) -> ScriptedRunner:
        runner = ScriptedRunner(self.bus, script or Script(), replicas=replicas, log=self.served, **more)
        await runner.start()
        self.runners.append(runner)
        return runner

    async def gateway(self) -> Gateway:
        gateway = Gateway(self.bus, self.asked)
        await gateway.start()
        self.gateways.append(gateway)
        return gateway

    @property
    def violations(self) -> list[str]:
        return [violation for runner in self.runners for violation in runner.violations]

    def depth(self) -> tuple[int, int]:
        """(waiting entries, batches in flight) of all batchers."""
        depths = [app.depth() for app in self.batchers]
        return sum(waiting for waiting, _ in depths), sum(flying for _, flying in depths)


async def one_of_each(script: Script | None = None, replicas: int = 1, **settings: Any) -> Any:
    """(cluster, gateway, batcher, runner), with the model loaded."""
    cluster = Cluster(**settings)
    runner = await cluster.runner(replicas=replicas)
    batcher = await cluster.batcher()
    gateway = await cluster.gateway()
    await asyncio.sleep(0.6)  # heartbeats
    gateway.ask(batcher.id, (1, 5.0))
    await asyncio.sleep(1.0)
    assert cluster.asked.pop().codes == [""]
    cluster.served.clear()
    runner.script = script or Script()
    return cluster, gateway, batcher, runner
