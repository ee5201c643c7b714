"""A batcher and a gateway in a test's hand: sends what it is told, keeps what comes back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from support.call_rules import every
from vtsserving._bus.interface import Bus, Message
from vtsserving._catalog.catalog import NO_ROW_LIMIT
from vtsserving._local_store.model import Model
from vtsserving._model.signature import ModelSignature
from vtsserving._wire import frames, rows, subjects

WAIT_S = 20.0


@dataclass
class Error:
    """How a request ended that has no result."""

    code: str
    message: str


@dataclass
class Sent:
    """A batch that was sent, and the ids of its entries in their order."""

    batch_id: int
    ids: list[int]


@dataclass
class ScriptedBatcher:
    """Plays batcher and gateways against one runner."""

    bus: Bus
    runner: str
    id: str = field(default_factory=subjects.new_id)
    gateway: str = field(default_factory=subjects.new_id)
    events: list[frames.Event] = field(default_factory=list)
    beats: list[frames.Heartbeat] = field(default_factory=list)
    traits: list[str] = field(default_factory=list)
    answers: dict[int, Any] = field(default_factory=dict)
    replies: list[frames.Reply] = field(default_factory=list)
    answered_twice: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()

    async def start(self) -> ScriptedBatcher:
        await self.bus.subscribe(subjects.batcher_event(self.id), self._on_event)
        await self.bus.subscribe(subjects.gateway_replies(self.gateway), self._on_reply)
        await self.bus.subscribe(subjects.heartbeat("runner"), self._on_beat)
        return self

    # --- out ---------------------------------------------------------------------------------------------------------

    def command(self, op: str, model: Model) -> None:
        tag, ask = model.tag, next(self._ids)
        control = frames.Control(op, self.id, tag.name, str(tag.version), model.digest, ask)
        self.bus.publish(subjects.runner_control(self.runner), frames.encode(control))

    async def load(self, model: Model) -> frames.Event:
        """Ask for a model; returns the first grant that follows."""
        seen = len(self.events)
        self.command("load", model)
        return await self.event("credit", "failed", after=seen)

    def frame(
        self,
        model: Model,
        grant: frames.Event,
        calls: Sequence[tuple[Any, ...]],
        *,
        method: str = "predict",
        credit: int = 0,
        remaining_s: float | Sequence[float] = 30.0,
        hang_s: float = 30.0,
        gateways: Sequence[str] | None = None,
        signature: ModelSignature | None = None,
        batch_id: int | None = None,
    ) -> frames.Batch:
        """A batch of calls that share a head."""
        signature = signature or model.info.signatures.get(method) or ModelSignature(batchable=True)
        axis = signature.batch_dim[0] if signature.batchable else None
        packed = [rows.pack_call(arguments, {}, every(axis)) for arguments in calls]
        assert len({p.head for p in packed}) == 1
        count = len(packed)
        remaining = [remaining_s] * count if isinstance(remaining_s, int | float) else list(remaining_s)
        replies = list(gateways or [subjects.gateway_reply(self.gateway, 0)])
        return frames.Batch(
            batch_id or next(self._ids),
            self.id,
            grant.epoch,
            credit,
            model.tag.name,
            str(model.tag.version),
            model.digest,
            method,
            int(hang_s * 1e6),
            NO_ROW_LIMIT if signature.batchable else 0,
            (),
            replies,
            bytes(i % len(replies) for i in range(count)),
            tuple(next(self._ids) for _ in range(count)),
            tuple(p.rows for p in packed),
            tuple(max(0, int(s * 1e6)) for s in remaining),
            (7,) * count,
            bytes(count),
            *((), (), b""),
            packed[0].head,
            [p.body for p in packed],
        )

    def publish(self, batch: frames.Batch) -> Sent:
        self.bus.publish(subjects.runner_batch(self.runner), frames.encode(batch))
        return Sent(batch.batch_id, list(batch.ids))

    def send(self, model: Model, grant: frames.Event, calls: Sequence[tuple[Any, ...]], **more: Any) -> Sent:
        return self.publish(self.frame(model, grant, calls, **more))

    # --- back --------------------------------------------------------------------------------------------------------

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait for a condition on what came back."""

        async def wait() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), WAIT_S)
        except asyncio.TimeoutError:
            raise AssertionError(f"no {what}; events {self.events}, answers {self.answers}") from None

    async def event(self, *names: str, after: int = 0) -> frames.Event:
        """The first event of one of these names after the first `after` events."""
        await self.until(" or ".join(names), lambda: any(e.event in names for e in self.events[after:]))
        return next(e for e in self.events[after:] if e.event in names)

    async def done(self, sent: Sent) -> list[Any]:
        """The answers of a batch, in the order of its entries, when the runner says that it is done."""
        await self.until(
            f"done of {sent.batch_id}",
            lambda: any(e.batch_id == sent.batch_id and e.event in ("done", "nack") for e in self.events),
        )
        return [self.answers.get(id) for id in sent.ids]

    def of(self, name: str) -> list[frames.Event]:
        """All events of one name."""
        return [event for event in self.events if event.event == name]

    def _on_event(self, message: Message) -> None:
        self.events.append(frames.decode_as(frames.Event, message.payload))
        self._changed.set()

    def _on_beat(self, message: Message) -> None:
        beat = frames.decode(message.payload)
        if isinstance(beat, frames.Traits):
            self.traits = list(beat.traits)
            return
        assert isinstance(beat, frames.Heartbeat)
        self.beats.append(beat)
        self._changed.set()

    def _on_reply(self, message: Message) -> None:
        frame = frames.decode(message.payload)
        if isinstance(frame, frames.Failure):
            for id in frame.ids:
                self._settle(id, Error(frame.code, frame.message))
        elif isinstance(frame, frames.Reply):
            self.replies.append(frame)
            for id, count, body in zip(frame.ids, frame.rows, frame.bodies, strict=True):
                self._settle(id, rows.join_results([rows.Packed(frame.head, count, body)]))
        self._changed.set()

    def _settle(self, id: int, answer: Any) -> None:
        if id in self.answers:
            self.answered_twice.append(id)
        self.answers[id] = answer
