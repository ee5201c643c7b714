"""Calls through the request-side client on a virtual clock, and batchers that misbehave."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from support.batching import MODEL
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._bus.interface import Message, Subscription
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._inference.client import InferenceClient
from vtsserving._inference.request import Outcome, Ticket
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature
from vtsserving._wire import frames, subjects
from vtsserving._wire.labels import EntryLabels
from vtsserving._wire.rows import pack_call, split_result


def entry(max_rows: int = 8, version: str = MODEL[1], digest: str = MODEL[2], **options: Any) -> CatalogEntry:
    """A model as a catalog describes it; its `predict` is batched, its `single` is not."""
    signatures = {"predict": ModelSignature(batchable=True), "single": ModelSignature()}
    contracts = {
        "predict": MethodContract.declared("predict", {"batchable": True, "result": {"axis": 0}}),
        "single": MethodContract(),
    }
    return CatalogEntry(
        MODEL[0],
        version,
        digest,
        signatures,
        ModelOptions(max_batch_size=max_rows, timeout_s=2.0, **options),
        contract_record=write_contracts(contracts)["contract"],
    )


@dataclass
class Call:
    """One call and everything that `on_done` was told about it."""

    array: np.ndarray[Any, Any]
    sent_s: float
    timeout_s: float
    outcomes: list[Outcome] = field(default_factory=list)
    settled_s: list[float] = field(default_factory=list)
    ticket: Ticket | None = None
    abandoned: bool = False

    @property
    def codes(self) -> list[str]:
        return ["" if outcome.error is None else outcome.error.code for outcome in self.outcomes]

    @property
    def is_right(self) -> bool:
        return all(
            outcome.error is not None or bool((outcome.value() == 2 * self.array).all())
            for outcome in self.outcomes
        )


class Caller:
    """Submits calls to a client and keeps what comes of them."""

    def __init__(self, client: InferenceClient) -> None:
        self.client = client
        self.calls: list[Call] = []
        self._loop = asyncio.get_running_loop()

    def submit(
        self,
        rows: int = 1,
        timeout_s: float = 5.0,
        *,
        width: int = 1,
        model: CatalogEntry | None = None,
        method: str = "predict",
        labels: EntryLabels | None = None,
    ) -> Call:
        model = model or entry()
        described = model.method(method)
        number = len(self.calls) + 1
        array = np.arange(rows * width, dtype="f8").reshape(rows, width) + number * 1_000
        call = Call(array, self._loop.time(), timeout_s)
        self.calls.append(call)

        def done(outcome: Outcome) -> None:
            call.outcomes.append(outcome)
            call.settled_s.append(self._loop.time())

        packed = pack_call((array,), {}, described.rule)
        call.ticket = self.client.submit(
            model, described, packed, timeout_s=timeout_s, on_done=done, labels=labels
        )
        return call

    def abandon(self, call: Call) -> None:
        assert call.ticket is not None
        call.abandoned = True
        self.client.abandon(call.ticket)


async def caller_on(bus: InProcessBus) -> Caller:
    client = InferenceClient(bus)
    await client.start()
    return Caller(client)


class SilentBatcher:
    """Says that it is there, takes everything, and answers only what a test lets it answer."""

    def __init__(self, bus: InProcessBus) -> None:
        self.id = subjects.new_id()
        self.bus = bus
        self.requests: list[tuple[frames.Request, str]] = []
        self.cancels: list[frames.Cancel] = []
        self.inbox: Subscription | None = None
        self.beating = True
        self._loop = asyncio.get_running_loop()

    async def start(self, *, listening: bool = True) -> SilentBatcher:
        if listening:
            self.inbox = await self.bus.subscribe(subjects.batcher_in(self.id), self._take)
        self._beat()
        return self

    def _beat(self) -> None:
        if self.beating:
            self.say("ready")
            self._loop.call_later(0.5, self._beat)

    def say(self, state: str) -> None:
        beat = frames.Heartbeat("batcher", self.id, state, 0, [], {})
        self.bus.publish(subjects.heartbeat("batcher"), frames.encode(beat))

    def _take(self, message: Message) -> None:
        frame = frames.decode(message.payload)
        if isinstance(frame, frames.Cancel):
            self.cancels.append(frame)
        else:
            assert isinstance(frame, frames.Request)
            self.requests.append((frame, message.reply))

    @property
    def ids(self) -> list[int]:
        """Everything that came, in order."""
        return [id for request, _ in self.requests for id in request.ids]

    def answer(self, request: frames.Request, reply: str, **changes: Any) -> None:
        """Answer each entry with its own body."""
        good = frames.Reply(
            *("0" * 16, 1, 5, request.ids, request.rows, (7,) * len(request.ids), b""),
            *(_bare(request), request.bodies),
        )
        self.bus.publish(reply, frames.encode(good._replace(**changes)))

    def fail(self, reply: str, code: str, *ids: int) -> None:
        self.bus.publish(reply, frames.encode(frames.Failure(code, "no", 0, ids)))


def _bare(request: frames.Request) -> bytes:
    """The head of a result that is the first argument itself."""
    width = len(request.bodies[0]) // 8 // request.rows[0]
    return split_result(np.zeros((1, width)), [1], 0)[0]
