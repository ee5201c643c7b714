"""Orders of gateways to load or unload a model, and what heartbeats say of models that are not simply loaded.

An order is repeated by its gateway until it hears how it ended, so nothing here outlives a lost message. Unloading
serves what came before it; what comes while it goes on, and for a moment after, is refused, so that the requests of
that moment do not bring back what an operator has just sent away. Later ones load the model as ever.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from typing import Final

from vtsserving._bus.interface import Bus
from vtsserving._wire import frames, subjects
from vtsserving._wire.model_reports import ModelReport
from vtsserving.exceptions import BadFrame, BatcherLost, ModelUnloading, Unavailable
from vtsserving_batcher.answers import Answers
from vtsserving_batcher.dispatch import Dispatcher
from vtsserving_batcher.fleet import Fleet
from vtsserving_batcher.model_state import ModelRefusal, ModelState, Unloading, unloading

_log = logging.getLogger(__name__)

HOLD_S: Final = 1.0
"""For this long after it was unloaded, requests do not load a model again."""

RESEND_S: Final = 1.0
"""A runner that was told to unload and is silent is told again after this time."""


class OrderHandler:
    """Sees to orders; everything runs on the event loop, without tasks."""

    def __init__(
        self,
        bus: Bus,
        id: str,
        fleet: Fleet,
        dispatcher: Dispatcher,
        answers: Answers,
        beat: Callable[[], None],
    ) -> None:
        """Take orders for batcher `id`.

        Args:
            bus: to tell runners on.
            id: of this batcher.
            fleet: who is alive, and has loaded what.
            dispatcher: owns the models.
            answers: tells gateways how their orders ended.
            beat: sends a heartbeat, for when there is something new to say.
        """
        self._bus = bus
        self._id = id
        self._fleet = fleet
        self._dispatcher = dispatcher
        self._answers = answers
        self._beat = beat
        self._last_states: list[ModelReport] = []
        self._now_s = asyncio.get_running_loop().time

    def take(self, order: frames.Control, reply: str) -> None:
        """Take one order; a Report goes to `reply` when it has ended.

        Raises:
            BadFrame: it is none of a gateway.
        """
        if not subjects.is_gateway_reply(reply):
            raise BadFrame("an order without a gateway's reply subject")
        model = self._dispatcher.model_for(order)
        if not self._dispatcher.owns(model):
            self._answers.report(reply, BatcherLost.code, f"another batcher serves {model.tag} now")
        elif order.op == "load":
            self._load(model, reply)
        elif order.op == "unload":
            self._unload(model, reply)
        self.announce_changes()

    def _load(self, model: ModelState, reply: str) -> None:
        if model.unloading_state is not None and model.unloading_state.over_s is not None:
            model.unloading_state = None
        if model.unloading_state is not None:
            self._answers.report(reply, ModelUnloading.code, unloading(model), 1.0)
        elif model.processes:
            self._answers.report(reply)
        else:
            now_s = self._now_s()
            model.callers.setdefault(reply, now_s)
            self._dispatcher.request_capacity(model, now_s)

    def _unload(self, model: ModelState, reply: str) -> None:
        if model.unloading_state is None:
            _log.info("unload_ordered", extra={"model": model.tag})
            model.unloading_state = Unloading()
        model.unloading_state.callers.add(reply)
        self._advance(model)

    def unloaded(self, event: frames.Event) -> None:
        """A runner has ended its processes of a model."""
        for model in list(self._dispatcher.models):
            if model.digest == event.digest and model.unloading_state is not None:
                model.unloading_state.ended.add(event.runner)
                for key in [key for key in model.processes if key[0] == event.runner]:
                    del model.processes[key]
                model.asked_s.pop(event.runner, None)
                self._advance(model)

    def sweep(self) -> None:
        """Go on with what leaves; for every now and then."""
        for model in list(self._dispatcher.models):
            if model.unloading_state is not None:
                self._advance(model)
        self.announce_changes()

    def _advance(self, model: ModelState) -> None:
        """One step: serve what waits, tell the runners, report."""
        unloading_state, now_s = model.unloading_state, self._now_s()
        assert unloading_state is not None
        if unloading_state.over_s is None:
            if not model.processes:
                refusal = ModelRefusal(ModelUnloading.code, unloading(model), now_s)
                self._dispatcher.refuse_waiting(model, refusal)
            if model.waiting_entries or any(process.batches for process in model.processes.values()):
                return
            for runner in self._holders(model) - unloading_state.ended:
                self._send_unload(model, unloading_state, runner, now_s)
            if not self._holders(model) <= unloading_state.ended:
                return
            _log.info("unloaded", extra={"model": model.tag})
            unloading_state.over_s = now_s
        while unloading_state.callers:
            self._answers.report(unloading_state.callers.pop())
        if now_s - unloading_state.over_s > HOLD_S:
            model.unloading_state = None

    def _holders(self, model: ModelState) -> set[str]:
        """Runners that have the model, or were asked to load it; of those that are alive."""
        loaded = {id for id, runner in self._fleet.runners.items() if model.tag in runner.models}
        known = {process.runner for process in model.processes.values()} | model.asked_s.keys()
        return loaded | {id for id in known if id in self._fleet.runners}

    def _send_unload(self, model: ModelState, unloading_state: Unloading, runner: str, now_s: float) -> None:
        if now_s - unloading_state.last_sent_s.get(runner, -math.inf) < RESEND_S:
            return
        # Noted first: on the in-process bus the runner may have answered when `publish` returns.
        unloading_state.last_sent_s[runner] = now_s
        control = frames.Control("unload", self._id, model.model, model.version, model.digest, 0)
        try:
            self._bus.publish(subjects.runner_control(runner), frames.encode(control))
        except Unavailable as error:
            fields = {"op": "unload", "model": model.tag, "runner": runner, "reason": error.code}
            _log.warning("control_not_sent", extra=fields)
            del unloading_state.last_sent_s[runner]

    # --- heartbeats --------------------------------------------------------------------------------------------------

    def reports(self) -> list[ModelReport]:
        """What this batcher's heartbeat says of models: first those that are not simply loaded."""
        self._last_states = list(self._states())
        said = {report.tag for report in self._last_states}
        busy = [model for model in self._dispatcher.models if model.processes and model.tag not in said]
        return [
            *self._last_states,
            *(ModelReport(model.tag, "ready", counters=model.counters()) for model in busy),
        ]

    def announce_changes(self) -> None:
        """Send a heartbeat if the last one would say something else now."""
        if list(self._states()) != self._last_states:
            self._beat()

    def _states(self) -> Iterator[ModelReport]:
        for model in self._dispatcher.models:
            if model.unloading_state is not None and model.unloading_state.over_s is None:
                yield ModelReport(model.tag, "unloading")
            elif not model.processes and model.is_wanted:
                yield ModelReport(model.tag, "loading")
            elif not model.processes and model.failure is not None:
                yield ModelReport(model.tag, "failed", model.failure.message)
