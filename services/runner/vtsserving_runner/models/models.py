"""The models of this runner: loading on command, taking over, unloading, and remembering what failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from cachetools import TTLCache

from vtsserving import _clock
from vtsserving._bus.interface import Message
from vtsserving._wire import frames, subjects
from vtsserving._wire.model_reports import ModelReport
from vtsserving.exceptions import (
    BadFrame,
    ModelLoadFailed,
    ProtocolError,
    ShuttingDown,
    Unavailable,
    VtsServingException,
)
from vtsserving_runner.metrics import ProcessFigures, RunnerCounters
from vtsserving_runner.models import eviction
from vtsserving_runner.models.credits import epochs
from vtsserving_runner.models.eviction import Resident
from vtsserving_runner.models.launch_plan import LaunchPlanner
from vtsserving_runner.models.loaded_model import LoadedModel
from vtsserving_runner.models.source import ModelSource
from vtsserving_runner.process.usage import Allowance
from vtsserving_runner.publish.publisher import ModelId, Publisher
from vtsserving_runner.settings import RunnerSettings

_log = logging.getLogger(__name__)

REMEMBER_FAILURE_S: Final = 5.0
"""How long a model that could not be loaded is answered with the reason, before it is tried again."""

MAX_FAILURES: Final = 1_024

FIRST_GUESS_BYTES: Final = 128 * 1024 * 1024
"""What a model is taken to need before it was loaded once; then it is measured."""


class Models:
    """All models of one runner, by digest."""

    def __init__(
        self,
        source: ModelSource,
        publisher: Publisher,
        counters: RunnerCounters,
        settings: RunnerSettings,
        on_change: Callable[[], None],
    ) -> None:
        """Start without models.

        Args:
            source: where their files come from.
            publisher: where their events and answers go.
            counters: what is counted.
            settings: limits.
            on_change: called when the set of warm models changed.
        """
        self._source = source
        self._launch_planner = LaunchPlanner(source, settings)
        self._publisher = publisher
        self._counters = counters
        self._settings = settings
        self._on_change = on_change
        self._epochs = epochs()
        self._loop = asyncio.get_running_loop()
        self._models: dict[str, LoadedModel] = {}
        self._leaving: set[LoadedModel] = set()
        self._told: dict[str, set[str]] = {}
        self._kept: set[str] = set()
        self._superseded: set[str] = set()
        self._sizes: dict[str, int] = {}
        self._allowance = Allowance(settings.recycle_growth_bytes, settings.recycle_batches)
        self._failures: TTLCache[str, VtsServingException] = TTLCache(
            MAX_FAILURES, REMEMBER_FAILURE_S, timer=self._loop.time
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self.draining = False

    def find(self, digest: str) -> LoadedModel | None:
        """The model with this digest, warm or not."""
        return self._models.get(digest)

    def reports(self) -> list[ModelReport]:
        """What this runner's heartbeat says of its models."""
        return [model.report() for model in self._models.values()]

    def figures(self) -> Iterable[ProcessFigures]:
        """All processes, for the metrics."""
        return [figures for model in self._models.values() for figures in model.figures()]

    # --- commands ----------------------------------------------------------------------------------------------------

    def handle(self, message: Message) -> None:
        """Take one command of a batcher."""
        try:
            control = frames.decode_as(frames.Control, message.payload)
            if not subjects.is_id(control.sender):
                raise BadFrame("a command without a batcher's id")
        except ProtocolError as error:
            self._counters.bad_frames += 1
            _log.warning("bad_command", extra={"code": error.code, "reason": error.message})
            return
        id = ModelId(control.model, control.version, control.digest)
        if control.op == "load":
            self.load(id, control.sender, control.ask)
        elif control.op == "unload":
            self._leave(id, control.sender)
        elif control.op == "release":
            self.release(id)

    def load(self, id: ModelId, batcher: str, ask: int) -> None:
        """Serve a model for `batcher`: `credit` events follow when it is warm, or one `failed` event.

        Args:
            id: of the model.
            batcher: id of the batcher.
            ask: number of its question.
        """
        if self.draining:
            self._report_failed(id, batcher, ShuttingDown("the runner is draining"))
            return
        failure = self._recent_failure(id.digest)
        if failure is not None:
            self._report_failed(id, batcher, failure)
            return
        self._hosted(id).give_to(batcher, ask)

    def unload(self, digest: str) -> None:
        """Void a model's credits, finish what was taken, end its processes."""
        model = self._models.pop(digest, None)
        if model is not None:
            self._leaving.add(model)
            self._superseded.discard(digest)
            # First that it is not here any more: whoever hears that its credits are void shall not ask here again.
            self._on_change()
            model.revoke()
            self._run(self._retire(model))

    def _leave(self, id: ModelId, batcher: str) -> None:
        """Unload a model because a batcher says so; an `unloaded` event follows when its processes have ended."""
        self.unload(id.digest)
        if any(model.id == id for model in self._leaving):
            self._told.setdefault(id.digest, set()).add(batcher)
        else:
            self._publisher.event(batcher, "unloaded", id)

    def release(self, id: ModelId) -> None:
        """Another version took a model's place: it leaves when nobody has called it for a while, preloaded or not."""
        if id.digest not in self._models:
            return
        self._superseded.add(id.digest)
        others = (digest for digest, model in self._models.items() if model.id.name == id.name)
        heirs = [digest for digest in others if digest not in self._superseded]
        if id.digest in self._kept and heirs:
            self._kept.remove(id.digest)
            self._kept.add(heirs[-1])

    def reconnected(self) -> None:
        """The bus was gone: batches and events may be lost, so the batchers had better ask which credits are free."""
        for model in self._models.values():
            if model.owner:
                self._publisher.event(model.owner, "reconnected", model.id)

    async def preload(self, id: ModelId) -> None:
        """Load a model before anybody asks, and keep it: it leaves on command only.

        Raises:
            ModelLoadFailed: with the reason.
            StoreUnavailable: its files cannot be had now.
        """
        failure = self._recent_failure(id.digest)
        if failure is not None:
            raise failure
        self._kept.add(id.digest)
        await asyncio.shield(self._hosted(id).loaded)

    # --- life --------------------------------------------------------------------------------------------------------

    def _hosted(self, id: ModelId) -> LoadedModel:
        model = self._models.get(id.digest)
        if model is None:
            model = self._models[id.digest] = LoadedModel(
                id, self._publisher, self._counters, lambda: next(self._epochs), self._changed
            )
            self._run(self._start(model))
        return model

    async def _start(self, model: LoadedModel) -> None:
        try:
            launches = await asyncio.to_thread(self._launch_planner.launches, model.id)
        except Unavailable as error:
            model.fail(error)  # the store is down, which is no fault of the model
        except VtsServingException as error:
            model.fail(ModelLoadFailed.of(model.id, error.message))
        except Exception as error:  # a source may fail in ways of its own; the batcher must hear of it
            _log.exception("fetch_failed", extra={"model": str(model.id)})
            model.fail(ModelLoadFailed(f"{model.id}: {type(error).__name__}: {error}"))
        else:
            if self._models.get(model.id.digest) is model:
                self._make_room(self._sizes.get(model.id.digest, FIRST_GUESS_BYTES))
                model.start(launches, self._settings.load_timeout_s)

    def _changed(self, model: LoadedModel, error: VtsServingException | None) -> None:
        """A model became warm, ceased to be, or failed."""
        if error is not None and self._models.get(model.id.digest) is model:
            del self._models[model.id.digest]
            self._remember_failure(model.id, error)
            if model.owner:
                self._report_failed(model.id, model.owner, error)
            self._leaving.add(model)
            model.revoke()
            self._run(self._retire(model))
        self._on_change()

    async def _retire(self, model: LoadedModel) -> None:
        """Finish what was taken, then end the processes."""
        await model.idle()
        await model.stop()
        self._leaving.discard(model)
        for batcher in self._told.pop(model.id.digest, ()):
            self._publisher.event(batcher, "unloaded", model.id)
        self._release(model.id.digest)
        _log.info("unloaded", extra={"model": str(model.id)})

    def _release(self, digest: str) -> None:
        """Let go of the files of a model that is gone, and of those that its class used, unless others use them."""
        if digest in self._models:
            return
        needed = {digest, *self._launch_planner.needs(digest)}
        self._launch_planner.forget(digest)
        used = set(self._models).union(*map(self._launch_planner.needs, self._models))
        for unused in sorted(needed - used):
            self._source.release(unused)

    # --- memory ------------------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Replace processes that leak, unload what nobody asks for and what is too much; for every now and then."""
        for model in self._models.values():
            if model.warm:
                self._sizes[model.id.digest] = model.rss_bytes
                model.replace_exceeding(self._allowance)
        for digest in self._idle():
            _log.info("idle", extra={"model": str(self._models[digest].id)})
            self.unload(digest)
        self._make_room(0)

    def _idle(self) -> set[str]:
        residents, now_s, settings = self._residents(), _clock.monotonic_s(), self._settings
        superseded = [resident for resident in residents if resident.key in self._superseded]
        return {
            *eviction.idle(residents, now_s, settings.idle_unload_s),
            *eviction.idle(superseded, now_s, settings.superseded_unload_s),
        }

    def _make_room(self, needed_bytes: int) -> None:
        limit_bytes = self._settings.memory_limit_bytes
        for digest in eviction.surplus(self._residents(), limit_bytes, needed_bytes):
            _log.info("makes_room", extra={"model": str(self._models[digest].id)})
            self.unload(digest)

    def _residents(self) -> list[Resident]:
        return [
            Resident(
                model.id.digest,
                model.used_s,
                model.rss_bytes,
                model.warm and not model.busy and model.id.digest not in self._kept,
            )
            for model in self._models.values()
        ]

    @property
    def rss_bytes(self) -> int:
        """Memory of all models, in bytes."""
        return sum(model.rss_bytes for model in self._models.values())

    # --- end ---------------------------------------------------------------------------------------------------------

    async def finish(self) -> None:
        """Void all credits and wait until everything that was taken is answered."""
        self.draining = True
        for model in self._models.values():
            model.revoke()
        await asyncio.gather(*(model.idle() for model in (*self._models.values(), *self._leaving)))

    async def close(self) -> None:
        """End all processes at once."""
        self.draining = True
        models = [*self._models.values(), *self._leaving]
        self._models.clear()
        for model in models:
            if not model.loaded.done():
                model.fail(ShuttingDown("the runner is shutting down"))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(model.stop() for model in models))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- failures ----------------------------------------------------------------------------------------------------

    def _recent_failure(self, digest: str) -> VtsServingException | None:
        failure: VtsServingException | None = self._failures.get(digest)
        return failure

    def _remember_failure(self, id: ModelId, error: VtsServingException) -> None:
        self._counters.load_failures[str(id)] += 1
        _log.error("model_load_failed", extra={"model": str(id), "code": error.code, "reason": error.message})
        self._failures[id.digest] = error

    def _report_failed(self, id: ModelId, batcher: str, error: VtsServingException) -> None:
        self._publisher.event(batcher, "failed", id, code=error.code, message=error.message)
