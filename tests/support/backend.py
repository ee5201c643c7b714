"""Batcher and runner in one: answers calls over the bus with plain functions, for tests of the request side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from vtsserving._bus.interface import Bus, Message, Subscription
from vtsserving._catalog.catalog import CatalogEntry, Settle
from vtsserving._model.options import ModelOptions
from vtsserving._model.signature import ModelSignature
from vtsserving._model.tag import Tag
from vtsserving._wire import frames, rows, subjects
from vtsserving._wire.labels import EntryLabels, labels_of
from vtsserving._wire.leaves import TENSOR_HOLE
from vtsserving._wire.model_reports import ModelReport
from vtsserving.exceptions import ModelFailed, ModelNotFound, VersionNotFound, VtsServingException

HEARTBEAT_S = 0.2

Function = Callable[..., Any]


def entry(
    name: str,
    version: str = "v1",
    *,
    methods: Mapping[str, ModelSignature] | None = None,
    input_specs: Mapping[str, Any] | None = None,
    options: ModelOptions | None = None,
) -> CatalogEntry:
    """A catalog entry with what a test cares about; by default one batchable `predict`."""
    return CatalogEntry(
        name,
        version,
        f"sha256:{'0' * 64}",
        methods if methods is not None else {"predict": ModelSignature(batchable=True)},
        options or ModelOptions(),
        input_specs or {},
        ordinal=1,
    )


def rows_spec(width: int, dtype: str = "float64", name: str = "X") -> dict[str, Any]:
    """The recorded spec of one argument with rows of `width` numbers."""
    return {"predict": {"args": [{"name": name, "dtype": dtype, "shape": [-1, width]}]}}


class FixedCatalog:
    """A Catalog of given entries; the last one of a name is its latest."""

    def __init__(self, *entries: CatalogEntry) -> None:
        self.entries = {entry.tag: entry for entry in entries}
        self.latest = {entry.name: entry for entry in entries}
        self.remembers = True
        self.resolving: asyncio.Event | None = None

    def _find(self, tag: str) -> CatalogEntry | None:
        parsed = Tag.parse(tag)
        if parsed.version in (None, "latest"):
            return self.latest.get(parsed.name)
        return self.entries.get(tag)

    def peek(self, tag: str) -> CatalogEntry | None:
        return self._find(tag) if self.remembers else None

    async def resolve(self, tag: str) -> CatalogEntry:
        if self.resolving is not None:
            await self.resolving.wait()
        found = self._find(tag)
        if found is None:
            name = Tag.parse(tag).name
            known = name in self.latest
            raise VersionNotFound(f"no version {tag}") if known else ModelNotFound(f"no model {name}")
        return found

    def invalidate(self, name: str | None = None) -> None:
        self.remembers = False

    def on_move(self, settle: Settle) -> None:
        self.settle = settle

    def move(self, tag: str, entry: CatalogEntry) -> None:
        self.latest[entry.name] = entry

    async def models(self, name: str | None = None) -> list[CatalogEntry]:
        return [entry for entry in reversed(self.entries.values()) if name in (None, entry.name)]


class Backend:
    """Answers calls of `functions[(model, method)]`, each request as its own batch, on the event loop.

    Attributes:
        calls: (model, method, args, kwargs) of each computed request.
        cancelled: ids that the gateway has given up.
        prepared: (operation, tag) of what the gateway said beside its requests.
        orders: (operation, tag) of its orders, and where it wants to hear how they ended.
        obeys: whether orders are carried out, and reported, at once; they are not kept in `orders` then.
        answer_with: (rows, spec, tensor) of a tensor to answer with instead, of a kind that cannot be made here.
        labels: of each request that came.
        held: requests that came while `hold` was set; answered by `release`.
    """

    def __init__(self, bus: Bus, functions: Mapping[tuple[str, str], Function]) -> None:
        self.id = subjects.new_id()
        self.runner_id = subjects.new_id()
        self.calls: list[tuple[str, str, list[Any], dict[str, Any]]] = []
        self.cancelled: list[int] = []
        self.held: list[tuple[frames.Request, str]] = []
        self.received = 0
        self.labels: list[EntryLabels | None] = []
        self.answer_with: tuple[int, bytes, bytes] | None = None
        self.hold = False
        self.loaded: list[str] = []
        self.prepared: list[tuple[str, str]] = []
        self.obeys = False
        self.orders: list[tuple[tuple[str, str], str]] = []
        self._bus = bus
        self._functions = functions
        self._subscription: Subscription | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        self._subscription = await self._bus.subscribe(subjects.batcher_in(self.id), self._on_message)
        self._beat()

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    def release(self) -> None:
        """Answer what is held, and hold nothing any more."""
        self.hold = False
        held, self.held = self.held, []
        for request, reply in held:
            self._answer(request, reply)

    def beat(self) -> None:
        """Say who is alive and what is loaded, now."""
        beat = frames.Heartbeat("batcher", self.id, "ready", 0, [], {})
        self._bus.publish(subjects.heartbeat("batcher"), frames.encode(beat))
        loaded = [ModelReport(tag, "ready", replicas=1) for tag in self.loaded]
        beat = frames.Heartbeat("runner", self.runner_id, "ready", 0, loaded, {})
        self._bus.publish(subjects.heartbeat("runner"), frames.encode(beat))

    def _beat(self) -> None:
        self.beat()
        self._timer = asyncio.get_running_loop().call_later(HEARTBEAT_S, self._beat)

    def _on_message(self, message: Message) -> None:
        frame = frames.decode(message.payload)
        if isinstance(frame, frames.Cancel):
            self.cancelled.extend(frame.ids)
        elif isinstance(frame, frames.Control) and self.obeys:
            self._obey(frame, message.reply)
        elif isinstance(frame, frames.Prepare):
            self.prepared.append((frame.op, f"{frame.model}:{frame.version}"))
        elif isinstance(frame, frames.Control):
            self.orders.append(((frame.op, f"{frame.model}:{frame.version}"), message.reply))
        elif isinstance(frame, frames.Request):
            self.received += len(frame.ids)
            self.labels.extend(labels_of(frame) or [None] * len(frame.ids))
            if self.hold:
                self.held.append((frame, message.reply))
            else:
                self._answer(frame, message.reply)

    def _obey(self, order: frames.Control, reply: str) -> None:
        """Load or unload at once, as heartbeats then say."""
        tag = f"{order.model}:{order.version}"
        self.loaded = [other for other in self.loaded if other != tag]
        if order.op == "load":
            self.loaded.append(tag)
        self.beat()
        self._bus.publish(reply, frames.encode(frames.Report("", "", 0)))

    def _answer(self, request: frames.Request, reply: str) -> None:
        for id, count, body in zip(request.ids, request.rows, request.bodies, strict=True):
            try:
                answer: frames.Frame = self._compute(request, id, count, body)
            except VtsServingException as error:
                retry_ms = int((error.retry_after_s or 0) * 1000)
                answer = frames.Failure(error.code, error.message, retry_ms, (id,))
            self._bus.publish(reply, frames.encode(answer))

    def _compute(self, request: frames.Request, id: int, count: int, body: Any) -> frames.Reply:
        if self.answer_with is not None:
            return self._canned(id, *self.answer_with)
        args, kwargs = rows.join_calls(request.head, [body], [count])
        self.calls.append((request.model, request.method, args, kwargs))
        try:
            result = self._functions[request.model, request.method](*args, **kwargs)
        except VtsServingException:
            raise
        except Exception as error:
            raise ModelFailed(f"{type(error).__name__}: {error}") from error
        if count:
            head, bodies = rows.split_result(result, [count], 0)
            return frames.Reply(self.runner_id, count, 1500, (id,), (count,), (250,), b"", head, bodies)
        packed = rows.pack_whole(result)
        return frames.Reply(self.runner_id, 1, 1500, (id,), (0,), (250,), b"", packed.head, [packed.body])

    def _canned(self, id: int, count: int, spec: bytes, tensor: bytes) -> frames.Reply:
        """The answer with a tensor given as bytes: its spec (1 dimension) and the whole extension."""
        if not count:
            return frames.Reply(self.runner_id, 1, 1500, (id,), (0,), (250,), b"", b"", [tensor])
        hole = b"\0" + spec[:3] + bytes(8)
        head = b"\xc7" + bytes([len(hole), TENSOR_HOLE]) + hole
        return frames.Reply(
            self.runner_id, count, 1500, (id,), (count,), (250,), b"", head, [tensor[3 + len(spec) :]]
        )
