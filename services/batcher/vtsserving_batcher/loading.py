"""Asks runners to load models and to grant credits; remembers who was asked and who failed."""

from __future__ import annotations

import logging
import math
from collections.abc import Container, Sequence
from typing import Final

from cachetools import LRUCache

from vtsserving._bus.interface import Bus
from vtsserving._wire import frames, subjects
from vtsserving._wire.vocabulary import ControlOp
from vtsserving.exceptions import ModelLoadFailed, ModelLoading, NoRunner, Unavailable
from vtsserving_batcher.fleet import Fleet
from vtsserving_batcher.model_state import LoadFailure, ModelRefusal, ModelState
from vtsserving_batcher.settings import BatcherSettings

_log = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 1.0
"""A runner that was asked and is silent is asked again after this time; asking twice does no harm."""

MAX_NEEDS: Final = 4_096
"""Most models whose needs are remembered; beyond, runners are tried for those that were not asked for longest."""

REMEMBER_FAILURE_S: Final = 5.0
"""A model that could not be loaded answers with the reason for this long; then it is tried again."""

TELL_FAILURE_S: Final = 600.0
"""For this long, or until it is loaded, heartbeats say why a model could not be loaded."""


class Loading:
    """Sees to it that models get model processes.

    Attributes:
        asks: how often any runner was asked for any model.
    """

    def __init__(self, bus: Bus, id: str, fleet: Fleet, settings: BatcherSettings) -> None:
        """Ask in the name of batcher `id`.

        Args:
            bus: to ask on.
            id: of this batcher.
            fleet: whom to ask.
            settings: how long callers wait.
        """
        self._bus = bus
        self._id = id
        self._fleet = fleet
        self._load_wait_s = settings.load_wait_s
        self._runner_wait_s = settings.runner_wait_s
        self._scale_out_s = settings.scale_out_s
        self._needs: LRUCache[str, tuple[str, ...]] = LRUCache(MAX_NEEDS)
        self.asks = 0

    def learn(self, digest: str, needs: Sequence[str]) -> None:
        """Remember what a runner must have for a model."""
        self._needs[digest] = tuple(needs)

    def _needs_of(self, model: ModelState) -> tuple[str, ...]:
        needs: tuple[str, ...] = self._needs.get(model.digest, ())
        return needs

    def refusal(self, model: ModelState, now_s: float) -> ModelRefusal | None:
        """Why a model cannot be served now: no runner has what it needs, or all failed to load it a short time ago."""
        if model.processes:
            return None
        missing = self._fleet.missing(self._needs_of(model))
        if missing:
            return ModelRefusal(NoRunner.code, f"no runner can hold {model.tag}: {missing}", now_s + 1.0)
        model.failed = {id: refusal for id, refusal in model.failed.items() if refusal.until_s > now_s}
        if not model.failed or self._choose(model, model.failed) is not None:
            return None
        return next(iter(model.failed.values()))

    def _choose(self, model: ModelState, without: Container[str]) -> str | None:
        return self._fleet.choose(model.tag, self._needs_of(model), without)

    def ask(self, model: ModelState, now_s: float) -> ModelRefusal | None:
        """Ask a runner to load a model, unless one was asked just now.

        Returns:
            A refusal for everything that waits, when no runner can or none answered in time.
        """
        refusal = self.refusal(model, now_s)
        if refusal is not None:
            return refusal
        if model.wanting_s is None:
            model.wanting_s = now_s
        # What comes back from a lost runner arrived long ago, but the wait for another one begins now.
        waited_s = now_s - max(model.wanted_since_s(now_s), model.wanting_s)
        runner = self._choose(model, model.failed)
        asked = [id for id in model.asked_s if self._fleet.is_ready(id)]
        # Whoever has the model grants credits at once, as a runner that was cut off and came back; nobody else
        # is asked while one loads it.
        if asked and not (runner and self._fleet.has_loaded(runner, model.tag)):
            runner = asked[0]
        if runner is None:
            if waited_s < self._runner_wait_s:
                return None
            message = f"no runner is alive to load {model.tag}; start one"
            return ModelRefusal(NoRunner.code, message, now_s, now_s - self._runner_wait_s)
        if self._may_ask(model, runner, now_s):
            self._send(model, runner, now_s)
        if waited_s < self._load_wait_s:
            return None
        message = f"{model.tag} is still being loaded; try again"
        return ModelRefusal(ModelLoading.code, message, now_s, now_s - self._load_wait_s)

    def succeed(self, model: ModelState, now_s: float) -> None:
        """Ask for a model wherever other versions of it are, which it is about to replace."""
        for runner in self._fleet.fitting(self._needs_of(model)):
            if runner.holds_version_of(model.model):
                self._ask_further(model, runner.id, now_s)

    def spread(self, model: ModelState, now_s: float) -> None:
        """See to it that all who have a model compute it, and that others get it, too, when those cannot keep up."""
        for runner in self._fleet.fitting(self._needs_of(model)):
            if model.tag in runner.models:
                self._ask_further(model, runner.id, now_s)
        if model.idle() or not model.waiting_entries or not self._scale_out_s:
            model.saturated_s = None
        elif model.saturated_s is None:
            model.saturated_s = now_s
        elif now_s - model.saturated_s >= self._scale_out_s:
            model.saturated_s = now_s
            further = self._choose(model, {*model.runners, *model.asked_s, *model.failed})
            if further is not None:
                _log.info("scales_out", extra={"model": model.tag, "runner": further})
                self._ask_further(model, further, now_s)

    def _ask_further(self, model: ModelState, runner: str, now_s: float) -> None:
        if runner in model.runners or runner in model.failed or not self._may_ask(model, runner, now_s):
            return
        self._send(model, runner, now_s)

    def release(self, model: ModelState) -> None:
        """Tell the runners that another version took the place of a model."""
        for runner in self._fleet.runners.values():
            if model.tag in runner.models:
                self._control("release", model, runner.id)

    def ask_again(self, model: ModelState, now_s: float) -> None:
        """Ask the runners that hold credits which of them are free."""
        for runner in model.runners:
            self._send(model, runner, now_s)

    def is_stuck(self, model: ModelState, now_s: float) -> bool:
        """Whether credits are missing: a batch is in flight for longer than its call may take, or none explains it."""
        for process in model.processes.values():
            is_overdue = not process.free and not process.batches
            for batch in process.batches.values():
                is_overdue |= now_s - batch.sent_s > batch.queue.hang_us / 1e6 + 2 * ASK_AGAIN_S
            if is_overdue and self._may_ask(model, process.runner, now_s):
                return True
        return False

    def _may_ask(self, model: ModelState, runner: str, now_s: float) -> bool:
        return now_s - model.asked_s.get(runner, -math.inf) >= ASK_AGAIN_S

    def _send(self, model: ModelState, runner: str, now_s: float) -> None:
        # Noted first: on the in-process bus the runner may have answered when `publish` returns.
        model.asked_s[runner] = now_s
        self.asks += 1
        if not self._control("load", model, runner, self.asks):
            model.asked_s.pop(runner, None)

    def _control(self, op: ControlOp, model: ModelState, runner: str, ask: int = 0) -> bool:
        control = frames.Control(op, self._id, model.model, model.version, model.digest, ask)
        try:
            self._bus.publish(subjects.runner_control(runner), frames.encode(control))
        except Unavailable as error:
            fields = {"op": op, "model": model.tag, "runner": runner, "reason": error.code}
            _log.warning("control_not_sent", extra=fields)
            return False
        return True

    def granted(self, model: ModelState, runner: str) -> None:
        """A runner granted credits."""
        model.failed.pop(runner, None)
        model.asked_s.pop(runner, None)
        model.wanting_s = None
        model.failure = None

    def failed(self, model: ModelState, event: frames.Event, now_s: float) -> None:
        """A runner said that it cannot load a model."""
        model.asked_s.pop(event.runner, None)
        code = event.code or ModelLoadFailed.code
        model.failed[event.runner] = ModelRefusal(code, event.message, now_s + REMEMBER_FAILURE_S)
        model.failure = LoadFailure(event.message, now_s + TELL_FAILURE_S)
        fields = {"model": model.tag, "runner": event.runner, "code": code, "reason": event.message}
        _log.error("model_load_failed", extra=fields)

    def forget(self, model: ModelState, runner: str) -> None:
        """A runner is gone or lost the model: what it was asked does not count any more."""
        model.asked_s.pop(runner, None)
