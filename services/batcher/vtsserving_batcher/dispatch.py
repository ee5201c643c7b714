"""Credits, one runner per batch, the in-flight table, and what happens when a runner is lost.

A batch leaves only with a credit of a model process. It stays in the in-flight table until the runner says that it is
done; if the runner dies first, its entries go to the front of their queue once more, never a third time.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Iterable
from typing import Final

from vtsserving._bus.interface import Bus
from vtsserving._wire import frames, subjects
from vtsserving.exceptions import (
    BatcherLost,
    DeadlineExceeded,
    MessageTooLarge,
    ModelUnloading,
    RunnerLost,
    Unavailable,
    from_code,
)
from vtsserving_batcher.answers import Answers
from vtsserving_batcher.fleet import Fleet
from vtsserving_batcher.framing import frame_of, room_bytes, within_one_frame
from vtsserving_batcher.loading import Loading
from vtsserving_batcher.metrics import BatcherCounters
from vtsserving_batcher.model_state import InFlight, ModelRefusal, ModelState, Process, unloading
from vtsserving_batcher.policy import Take, decide
from vtsserving_batcher.queue import Entry, Queue

_log = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 2
"""How often an entry is dispatched at most; the second time after its runner was lost."""

ORPHAN_S: Final = 5.0
"""A batch of a process that is gone is forgotten this long after the last of its deadlines: its report was lost."""


class Dispatcher:
    """Owns the models' queues and credits; everything runs on the event loop, without tasks."""

    def __init__(
        self, bus: Bus, id: str, fleet: Fleet, loading: Loading, answers: Answers, counters: BatcherCounters
    ) -> None:
        """Create a dispatcher without models.

        Args:
            bus: to send batches on.
            id: of this batcher.
            fleet: who is alive.
            loading: asks runners to load models.
            answers: ends entries with errors.
            counters: what is counted.
        """
        self._bus = bus
        self._id = id
        self._fleet = fleet
        self._loading = loading
        self._answers = answers
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._models: dict[str, ModelState] = {}
        self._in_flight: dict[int, InFlight] = {}
        self._batch_ids = itertools.count(1)
        self.draining = False

    @property
    def models(self) -> Iterable[ModelState]:
        """All models that were asked for."""
        return self._models.values()

    def depth(self) -> tuple[int, int]:
        """(entries that wait, batches in flight)."""
        return sum(model.waiting_entries for model in self._models.values()), len(self._in_flight)

    def model_for(self, request: frames.Request | frames.Control | frames.Prepare) -> ModelState:
        """The model that a frame of a gateway names, made when it is the first."""
        return self._model(request.model, request.version, request.digest)

    def _model(self, name: str, version: str, digest: str) -> ModelState:
        model = self._models.get(digest)
        if model is None:
            model = self._models[digest] = ModelState(name, version, digest)
        return model

    def room_bytes(self, head: bytes) -> int:
        """Bytes of bodies that one batch may hold beside a head, on this bus."""
        return room_bytes(self._bus.max_payload, head)

    def check_servable(self, model: ModelState) -> None:
        """Raise what new requests for a model are refused with, if they must be."""
        refusal = self._loading.refusal(model, self._loop.time())
        if model.unloading_state is not None:
            raise ModelUnloading(unloading(model), retry_after_s=1.0)
        if refusal is not None:
            raise from_code(refusal.code, refusal.message, retry_after_s=refusal.until_s - self._loop.time())
        if not model.processes and not self.owns(model):
            raise BatcherLost(f"another batcher serves {model.tag} now")

    def owns(self, model: ModelState) -> bool:
        """Whether this batcher is the one that sees to a model."""
        return self._fleet.owns(model.tag, draining=self.draining)

    # --- out -----------------------------------------------------------------------------------------------------

    def dispatch(self, model: ModelState) -> None:
        """Send what the policy allows, until nothing waits or no process has a free credit."""
        now_s = self._loop.time()
        waits: list[float] = []
        while (process := model.free_process()) is not None:
            if not self._send_next(model, process, now_s, waits):
                break
        else:
            if not model.processes and model.is_wanted:
                self.request_capacity(model, now_s)
        if waits:
            self._wake_at(model, min(waits))

    def _send_next(self, model: ModelState, process: Process, now_s: float, waits: list[float]) -> bool:
        """Send one batch of the next queue whose turn it is; False when none may be sent now."""
        for _ in range(len(model.ready_queues)):
            queue = model.ready_queues[0]
            model.ready_queues.rotate(-1)
            if not len(queue):
                model.ready_queues.remove(queue)
                continue
            decision = decide(queue.queued(), now_s, queue.limits, process.running_rows)
            if isinstance(decision, Take):
                return self._send(model, process, queue, decision.entries, now_s)
            if decision.time_s is not None:
                waits.append(decision.time_s)
        return False

    def _send(self, model: ModelState, process: Process, queue: Queue, count: int, now_s: float) -> bool:
        """Send the front of a queue as one batch; False when the bus does not take it now."""
        entries = self._alive(queue.take(count), now_s)
        fitting = within_one_frame(entries)
        if fitting < len(entries):
            self.put_back(model, queue, entries[fitting:])
            entries = entries[:fitting]
        if not entries:
            return True
        batch = InFlight(
            next(self._batch_ids),
            model,
            process,
            queue,
            entries,
            sum(entry.rows for entry in entries),
            process.free.pop(),
            now_s,
            self._loading.asks,
        )
        # Entered first: on the in-process bus the runner may have answered when `publish` returns.
        process.batches[batch.batch_id] = self._in_flight[batch.batch_id] = batch
        try:
            self._bus.publish(
                subjects.runner_batch(process.runner), frames.message(frame_of(batch, self._id, now_s))
            )
        except MessageTooLarge as error:
            self._take_back(batch)
            self._answers.fail(entries, error.code, error.message)
            return True
        except Unavailable:
            # The bus is down: the entries wait for it, or for their deadlines.
            self._take_back(batch)
            self.put_back(model, queue, entries)
            return False
        self._counters.count_batch(batch.rows)
        return True

    def _alive(self, entries: list[Entry], now_s: float) -> list[Entry]:
        """Those somebody waits for; the others end here."""
        dead = [entry for entry in entries if entry.is_dead(now_s)]
        if not dead:
            return entries
        self.expire(dead)
        return [entry for entry in entries if not entry.is_dead(now_s)]

    def _take_back(self, batch: InFlight) -> None:
        """Undo the entry of a batch that was not sent."""
        del self._in_flight[batch.batch_id], batch.process.batches[batch.batch_id]
        batch.process.free.append(batch.credit)

    def _wake_at(self, model: ModelState, time_s: float) -> None:
        """Look at the model again at a time, for a queue that may wait for company."""
        if model.wake_s is not None and model.wake_s <= time_s:
            return
        model.wake_s = time_s

        def wake() -> None:
            if model.wake_s == time_s:
                model.wake_s = None
                self.dispatch(model)

        self._loop.call_at(time_s, wake)

    def put_back(self, model: ModelState, queue: Queue, entries: list[Entry]) -> None:
        """Return entries that were taken and not computed to the front of their queue."""
        current = model.queues.setdefault((queue.method, queue.head), queue)
        current.put_back(entries)
        model.enqueue_ready(current)

    def expire(self, dead: Iterable[Entry]) -> None:
        """End entries that nobody waits for any more."""
        self._answers.fail(dead, DeadlineExceeded.code, "the deadline passed before the model could start")

    def request_capacity(self, model: ModelState, now_s: float) -> None:
        """See to it that some runner grants credits for a model, or that its callers learn why none can."""
        if not self.owns(model):
            self._hand_back(model)
            return
        if model.unloading_state is not None:
            # What was lost with its process while the model leaves does not bring it back.
            refusal: ModelRefusal | None = ModelRefusal(ModelUnloading.code, unloading(model), now_s)
        else:
            refusal = self._loading.ask(model, now_s)
        if refusal is not None:
            self.refuse_waiting(model, refusal)

    def refuse_waiting(self, model: ModelState, refusal: ModelRefusal) -> None:
        """End what waits for a model, if it came early enough, with one error."""
        for queue in list(model.ready_queues):
            refused = queue.drop(lambda entry: entry.arrived_s <= refusal.arrived_by_s)
            self._answers.fail(refused, refusal.code, refusal.message, 1.0)
        for reply in [reply for reply, since_s in model.callers.items() if since_s <= refusal.arrived_by_s]:
            del model.callers[reply]
            self._answers.report(reply, refusal.code, refusal.message, 1.0)

    def _hand_back(self, model: ModelState) -> None:
        # Its gateway sends on what it gets back as never computed; of what a lost runner held, nobody knows that.
        for queue in list(model.ready_queues):
            lost = queue.drop(lambda entry: entry.was_lost)
            self._answers.fail(lost, RunnerLost.code, "the runner was lost while it held the request", 1.0)
        self.refuse_waiting(
            model, ModelRefusal(BatcherLost.code, f"another batcher serves {model.tag} now", 0.0)
        )

    # --- back ----------------------------------------------------------------------------------------------------

    def granted(self, event: frames.Event) -> None:
        """A runner says which credits of a model process are free."""
        model = self._model(event.model, event.version, event.digest)
        self._loading.granted(model, event.runner)
        while model.callers:
            self._answers.report(model.callers.popitem()[0])
        for old in [p for p in model.processes.values() if p.is_replaced_by(event)]:
            del model.processes[old.runner, old.epoch]
        process = model.processes.get((event.runner, event.epoch)) or self._known(model, event)
        # A batch that left before we asked and whose credit is free now was lost, or its report was.
        for batch in [b for b in process.batches.values() if b.was_lost(event)]:
            self._redispatch(batch, "the batch was lost on its way")
        busy = {batch.credit for batch in process.batches.values()}
        process.free = [credit for credit in event.credits if credit not in busy]
        self.dispatch(model)

    def _known(self, model: ModelState, event: frames.Event) -> Process:
        """Take a process up, again perhaps, with the batches that it holds."""
        process = model.processes[event.runner, event.epoch] = Process(event.runner, event.epoch)
        for batch in self._in_flight.values():
            if batch.process.runner == event.runner and batch.process.epoch == event.epoch:
                batch.process = process
                process.batches[batch.batch_id] = batch
        return process

    def done(self, event: frames.Event) -> None:
        """A runner has answered a whole batch; its credit may be used again."""
        batch = self._reported(event)
        if batch is None:
            return
        if batch.process.epoch == event.epoch:
            batch.process.free.append(batch.credit)
        if event.compute_us:
            batch.model.costs[batch.queue.method].learn(batch.rows, event.compute_us / 1e6)
        self.dispatch(batch.model)

    def nacked(self, event: frames.Event) -> None:
        """A runner refused a batch unread: the credits were void. Its entries wait for new ones."""
        batch = self._reported(event)
        if batch is None:
            return
        self._counters.nacked += 1
        batch.model.processes.pop((batch.process.runner, batch.process.epoch), None)
        self.put_back(batch.model, batch.queue, batch.entries)
        self.dispatch(batch.model)

    def _reported(self, event: frames.Event) -> InFlight | None:
        """Remove the batch that an event is about; None if it is not in flight, or not with that runner."""
        batch = self._in_flight.get(event.batch_id)
        if batch is None or batch.process.runner != event.runner:
            return None
        del self._in_flight[batch.batch_id]
        batch.process.batches.pop(batch.batch_id, None)
        return batch

    def gone(self, event: frames.Event) -> None:
        """A model process is gone; what it computed is answered by its runner, what waits needs another."""
        model = self._model(event.model, event.version, event.digest)
        model.processes.pop((event.runner, event.epoch), None)
        self._loading.forget(model, event.runner)
        self.dispatch(model)

    def load_failed(self, event: frames.Event) -> None:
        """A runner cannot load a model; another one may."""
        model = self._model(event.model, event.version, event.digest)
        self._loading.failed(model, event, self._loop.time())
        self.dispatch(model)

    def runner_lost(self, runner: str) -> None:
        """A runner is dead: its batches go to another one, once."""
        for model in self._models.values():
            for key in [key for key in model.processes if key[0] == runner]:
                del model.processes[key]
            self._loading.forget(model, runner)
        for batch in [batch for batch in self._in_flight.values() if batch.process.runner == runner]:
            self._redispatch(batch, "the runner was lost while it held the request")
        for model in self._models.values():
            self.dispatch(model)

    def _redispatch(self, batch: InFlight, reason: str) -> None:
        self._in_flight.pop(batch.batch_id, None)
        batch.process.batches.pop(batch.batch_id, None)
        again: list[Entry] = []
        over: list[Entry] = []
        for entry in batch.entries:
            entry.attempt += 1
            entry.was_lost = True
            (again if entry.attempt < MAX_ATTEMPTS else over).append(entry)
        self._counters.redispatched += len(again)
        self.put_back(batch.model, batch.queue, again)
        self._answers.fail(over, RunnerLost.code, reason, 1.0)

    def abandon(self, cancel: frames.Cancel) -> None:
        """Forget entries whose callers left; what is computed already is, but never again."""
        gateway, ids = subjects.gateway_reply(cancel.gateway, 0), set(cancel.ids)

        def is_left(entry: Entry) -> bool:
            return entry.id in ids and entry.gateway == gateway

        for model in self._models.values():
            for queue in model.ready_queues:
                self._counters.ended["abandoned"] += len(queue.drop(is_left))
        for batch in self._in_flight.values():
            for entry in filter(is_left, batch.entries):
                entry.abandoned = True

    # --- time ----------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Drop what expired, ask again for credits that did not come, give up on what takes too long."""
        now_s = self._loop.time()
        for model in self._models.values():
            for queue in list(model.ready_queues):
                self.expire(queue.drop(lambda entry: entry.is_dead(now_s)))
            if not model.processes and model.is_wanted:
                self.request_capacity(model, now_s)
            elif self._loading.is_stuck(model, now_s):
                self._loading.ask_again(model, now_s)
            if model.processes and model.unloading_state is None and self.owns(model):
                self._loading.spread(model, now_s)
            model.forget_empty_queues()
        self._forget_idle(now_s)

    def _forget_idle(self, now_s: float) -> None:
        """Drop what nobody asks about any more, so that memory does not grow with all that ever happened."""
        for batch in [batch for batch in self._in_flight.values() if batch.is_orphan(now_s - ORPHAN_S)]:
            del self._in_flight[batch.batch_id]
            self._answers.fail(
                batch.entries, DeadlineExceeded.code, "nothing was heard of the batch that held the request"
            )
        used = {batch.model.digest for batch in self._in_flight.values()}
        idle = [digest for digest, model in self._models.items() if model.is_forgettable(now_s)]
        for digest in idle:
            if digest not in used:
                del self._models[digest]

    def reconnected(self) -> None:
        """The bus was gone: events may be lost, so every runner is asked which credits are free."""
        now_s = self._loop.time()
        for model in self._models.values():
            model.void_credits()
            self._loading.ask_again(model, now_s)

    @property
    def busy(self) -> bool:
        """Whether anything waits or is in flight."""
        return bool(self._in_flight) or any(model.waiting_entries for model in self._models.values())
