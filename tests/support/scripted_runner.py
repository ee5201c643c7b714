"""A runner without processes, for tests on a virtual clock: grants credits, computes by a script, keeps a record.

It follows the protocol on its own and complains (in `violations`) where the batcher does not: a credit used twice, an
expired entry, rows that do not fit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from vtsserving._bus.interface import Bus, Message
from vtsserving._wire import frames, subjects
from vtsserving._wire.limits import REPLICA_BITS
from vtsserving._wire.model_reports import ModelReport
from vtsserving._wire.rows import join_calls, pack_whole, split_result

CREDITS = 2


@dataclass
class Served:
    """One batch that reached a runner."""

    time_s: float
    runner: str
    batch: frames.Batch
    outcome: str = "waiting"
    started_s: float = -1.0
    ended_s: float = -1.0

    @property
    def keys(self) -> list[tuple[str, int]]:
        """(gateway's subject, id) of each entry."""
        batch = self.batch
        return [(batch.gateways[g], id) for g, id in zip(batch.gateway_index, batch.ids, strict=True)]


@dataclass
class Script:
    """What happens to the next batches and loads.

    Attributes:
        compute_s: how long a batch takes, by its rows.
        fates: for the next batches: "ok", "nack", "raise", "lose" (the batch), "lose report" (of its end), "restart"
            (the process, which then answers it), "die" (the runner); "ok" when there are none left.
        load_s: how long loading takes.
        load_fails: how many loads fail first.
        answer_s: how long a report of the free credits is on its way.
    """

    compute_s: Callable[[int], float] = lambda rows: 0.01
    fates: deque[str] = field(default_factory=deque)
    load_s: float = 0.05
    load_fails: int = 0
    answer_s: float = 0.0


@dataclass
class _Process:
    """One model process: its credits and what it holds."""

    model: tuple[str, str, str]
    number: int
    owner: str = ""
    wanted_by: str = ""
    is_warm: bool = True
    epoch: int = 0
    used: dict[int, int] = field(default_factory=dict)
    line: deque[Served] = field(default_factory=deque)
    running: Served | None = None

    @property
    def free(self) -> list[int]:
        return [credit for credit in range(CREDITS) if credit not in self.used]


class ScriptedRunner:
    """A runner on a bus. Start it with `start`, end it with `die`."""

    def __init__(
        self,
        bus: Bus,
        script: Script,
        *,
        replicas: int = 1,
        log: list[Served] | None = None,
        traits: Sequence[str] = (),
        free_bytes: int = 2**30,
    ) -> None:
        self.id = subjects.new_id()
        self.script = script
        self.served: list[Served] = [] if log is None else log
        self.violations: list[str] = []
        self.released: list[str] = []
        self.alive = True
        self.draining = False
        self._bus = bus
        self._replicas = replicas
        self._traits = traits
        self._free_bytes = free_bytes
        self._loop = asyncio.get_running_loop()
        self._epochs = 0
        self._processes: dict[str, list[_Process]] = {}
        self._loading: dict[str, str] = {}

    async def start(self) -> None:
        await self._bus.subscribe(subjects.runner_control(self.id), self._on_control)
        await self._bus.subscribe(subjects.runner_batch(self.id), self._on_batch)
        self._beat()

    def die(self) -> None:
        """Be gone at once: no answer, no report, no heartbeat."""
        self.alive = False
        self._processes.clear()

    def preload(self, model: tuple[str, str, str]) -> None:
        """Have a model before anybody asks."""
        self._processes[model[2]] = [_Process(model, i) for i in range(self._replicas)]

    def idle_processes(self, digest: str) -> int:
        """Model processes of a model that compute nothing, though their owner could send something."""
        processes = self._processes.get(digest, [])
        return sum(p.running is None and not p.line and bool(p.owner) for p in processes) if self.alive else 0

    def _beat(self) -> None:
        if self.alive:
            models = [
                ModelReport(f"{p[0].model[0]}:{p[0].model[1]}", "ready", replicas=len(p))
                for p in self._processes.values()
            ]
            state = "draining" if self.draining else "ready"
            self._publish(subjects.heartbeat("runner"), frames.Traits(self.id, self._traits))
            beat = frames.Heartbeat("runner", self.id, state, self._free_bytes, models, {})
            self._publish(subjects.heartbeat("runner"), beat)
            self._loop.call_later(0.5, self._beat)

    def _publish(self, subject: str, frame: frames.Frame) -> None:
        if self.alive:
            self._bus.publish(subject, frames.encode(frame))

    def _event(self, process: _Process, event: str, owner: str, **fields: Any) -> None:
        values = dict(credits=[], batch_id=0, compute_us=0, code="", message="", ask=0) | fields
        epoch = values.pop("epoch", process.epoch)
        self._publish(
            subjects.batcher_event(owner),
            frames.Event(event, self.id, *process.model, epoch, **values),
        )

    # --- loading ---------------------------------------------------------------------------------------------------

    def _on_control(self, message: Message) -> None:
        control = frames.decode_as(frames.Control, message.payload)
        if not self.alive:
            return
        if control.op == "release":
            self.released.append(f"{control.model}:{control.version}")
            return
        if control.digest in self._processes:
            for process in self._processes[control.digest]:
                process.wanted_by = control.sender
                if process.is_warm:
                    afresh = process.owner != control.sender
                    self._grant(process, control.sender, afresh=afresh, ask=control.ask)
        elif control.digest in self._loading:
            self._loading[control.digest] = control.sender
        else:
            self._loading[control.digest] = control.sender
            self._loop.call_later(self.script.load_s, self._loaded, control)

    def _loaded(self, control: frames.Control) -> None:
        if not self.alive:
            return
        owner = self._loading.pop(control.digest)
        model = (control.model, control.version, control.digest)
        if self.script.load_fails:
            self.script.load_fails -= 1
            failed = _Process(model, 0)
            self._event(failed, "failed", owner, code="model_load_failed", message="no")
            return
        self._processes[control.digest] = [_Process(model, i) for i in range(self._replicas)]
        for process in self._processes[control.digest]:
            self._grant(process, owner, afresh=True)

    def _grant(self, process: _Process, owner: str, *, afresh: bool, ask: int = 0) -> None:
        if afresh:
            self._revoke(process)
            self._epochs += 1
            process.owner, process.epoch = owner, self._epochs << REPLICA_BITS | process.number
            process.used.clear()
        free, epoch = process.free, process.epoch
        if self.script.answer_s:
            send = partial(self._event, process, "credit", owner, epoch=epoch, credits=free, ask=ask)
            self._loop.call_later(self.script.answer_s, send)
        else:
            self._event(process, "credit", owner, credits=free, ask=ask)

    def _revoke(self, process: _Process) -> None:
        if process.owner:
            owner, process.owner = process.owner, ""
            self._event(process, "gone", owner)

    # --- batches -----------------------------------------------------------------------------------------------------

    def _on_batch(self, message: Message) -> None:
        batch = frames.decode_as(frames.Batch, message.payload)
        served = Served(self._loop.time(), self.id, batch)
        if not self.alive:
            # It was on its way when the runner died: for all that the batcher knows, it was computed.
            served.outcome = "lost"
            self.served.append(served)
            return
        if any(us <= 0 for us in batch.remaining_us):
            self.violations.append(f"batch {batch.batch_id} holds an expired entry")
        process = self._process_of(batch)
        fate = self.script.fates.popleft() if self.script.fates else "ok"
        if process is None or fate == "nack":
            served.outcome = "nacked"
            self.served.append(served)
            if process is not None:
                self._revoke(process)
            self._nack(batch)
            return
        if batch.credit in process.used:
            self.violations.append(f"batch {batch.batch_id} uses credit {batch.credit} twice")
        self.served.append(served)
        if fate == "lose":
            served.outcome = "lost"
            return
        if fate == "die":
            served.outcome = "lost"
            for other in [*process.line, *([process.running] if process.running else [])]:
                other.outcome = "lost"
            self.die()
            return
        process.used[batch.credit] = batch.batch_id
        served.outcome = fate
        process.line.append(served)
        self._next(process)

    def _process_of(self, batch: frames.Batch) -> _Process | None:
        number = batch.epoch & ((1 << REPLICA_BITS) - 1)
        for process in self._processes.get(batch.digest, [])[number : number + 1]:
            if process.owner == batch.batcher and process.epoch == batch.epoch:
                return process
        return None

    def _nack(self, batch: frames.Batch) -> None:
        process = _Process((batch.model, batch.version, batch.digest), 0)
        self._event(
            process, "nack", batch.batcher, epoch=batch.epoch, batch_id=batch.batch_id, code="stale_credit"
        )

    def _next(self, process: _Process) -> None:
        if process.running is not None or not process.line:
            return
        served = process.running = process.line.popleft()
        served.started_s = self._loop.time()
        self._loop.call_later(self.script.compute_s(sum(served.batch.rows)), self._end, process, served)

    def _end(self, process: _Process, served: Served) -> None:
        if not self.alive:
            return
        process.running = None
        served.ended_s = self._loop.time()
        batch = served.batch
        if served.outcome == "restart":
            # The process crashed: its credits are void, and the batch is answered in a fresh one.
            process.is_warm = False
            process.wanted_by = process.owner
            self._revoke(process)
            self._answer(served)
            self._report(process, served, valid=False)
            while process.line:
                rejected = process.line.popleft()
                rejected.outcome = "nacked"
                self._nack(rejected.batch)
            self._loop.call_later(self.script.load_s, self._respawned, process)
        else:
            self._answer(served)
            valid = process.epoch == batch.epoch and process.owner == batch.batcher
            if valid:
                process.used.pop(batch.credit, None)
            if served.outcome != "lose report":
                self._report(process, served, valid=valid)
        self._next(process)

    def _respawned(self, process: _Process) -> None:
        process.is_warm = True
        if self.alive and process.wanted_by:
            self._grant(process, process.wanted_by, afresh=True)

    def _report(self, process: _Process, served: Served, *, valid: bool) -> None:
        batch = served.batch
        took_us = int((served.ended_s - served.started_s) * 1e6)
        self._event(
            process,
            "done",
            batch.batcher,
            epoch=batch.epoch,
            credits=[batch.credit] if valid else [],
            batch_id=batch.batch_id,
            compute_us=took_us,
        )

    def _answer(self, served: Served) -> None:
        batch = served.batch
        waited_us = int((served.started_s - served.time_s) * 1e6)
        late = [i for i, us in enumerate(batch.remaining_us) if us <= waited_us]
        self._fail(served, late, "deadline_exceeded")
        live = [i for i in range(len(batch.ids)) if i not in late]
        if not live:
            return
        if served.outcome == "raise":
            self._fail(served, live, "model_failed")
            return
        took_us = int((served.ended_s - served.started_s) * 1e6)
        head, bodies = compute(batch, live)
        for gateway, subject in enumerate(batch.gateways):
            mine = [k for k, i in enumerate(live) if batch.gateway_index[i] == gateway]
            if mine:
                self._publish(
                    subject,
                    frames.Reply(
                        self.id,
                        sum(batch.rows[i] for i in live),
                        took_us,
                        tuple(batch.ids[live[k]] for k in mine),
                        tuple(batch.rows[live[k]] for k in mine),
                        tuple(batch.queued_us[live[k]] for k in mine),
                        b"",
                        head,
                        [bodies[k] for k in mine],
                    ),
                )

    def _fail(self, served: Served, entries: list[int], code: str) -> None:
        batch = served.batch
        for gateway, subject in enumerate(batch.gateways):
            ids = tuple(batch.ids[i] for i in entries if batch.gateway_index[i] == gateway)
            if ids:
                self._publish(subject, frames.Failure(code, "no", 0, ids))


def compute(batch: frames.Batch, live: list[int]) -> tuple[bytes, list[Any]]:
    """The model: twice each row, and nothing else."""
    bodies, rows = [batch.bodies[i] for i in live], [batch.rows[i] for i in live]
    (array,), _ = join_calls(batch.head, bodies, rows)  # type: ignore[arg-type]
    if not batch.head:
        return b"", [pack_whole(np.asarray(array) * 2).body]
    return split_result(np.asarray(array) * 2, rows, 0)
