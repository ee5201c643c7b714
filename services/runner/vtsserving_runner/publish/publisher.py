"""What the runner says on the bus: answers to gateways, events to batchers. Never waits and never raises."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from vtsserving._bus.interface import NO_RESPONDERS, Bus, Message, Payload
from vtsserving._wire import frames, subjects
from vtsserving._wire.vocabulary import EventName
from vtsserving.exceptions import VtsServingException
from vtsserving_runner.metrics import RunnerCounters
from vtsserving_runner.process.work import Work
from vtsserving_runner.publish.replies import replies

_log = logging.getLogger(__name__)

event_subject = lru_cache(maxsize=256)(subjects.batcher_event)


class ModelId(NamedTuple):
    """One version of a model, as frames name it."""

    name: str
    version: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


class Publisher:
    """Sends what the parts of the runner have to say."""

    def __init__(self, bus: Bus, runner_id: str, counters: RunnerCounters) -> None:
        """Send on `bus` in the name of `runner_id`."""
        self.runner_id = runner_id
        self._bus = bus
        self._counters = counters
        self._unrouted = subjects.runner_unrouted(runner_id)

    def answer(self, work: Work, answer: frames.Result | frames.Fault) -> None:
        """Send answers of some entries of a batch to their gateways."""
        for subject, frame in replies(self.runner_id, work, answer, self._bus.max_payload):
            self.publish(subject, frame, reply=self._unrouted)

    def event(
        self,
        batcher: str,
        event: EventName,
        model: ModelId,
        *,
        epoch: int = 0,
        credits: Sequence[int] = (),
        batch_id: int = 0,
        compute_us: int = 0,
        code: str = "",
        message: str = "",
        ask: int = 0,
    ) -> None:
        """Send an event about a model to a batcher; see frames.Event for the fields."""
        frame = frames.Event(
            event, self.runner_id, *model, epoch, list(credits), batch_id, compute_us, code, message, ask
        )
        self.publish(event_subject(batcher), frames.message(frame))

    def unrouted(self, message: Message) -> None:
        """Count an answer whose gateway is gone; nobody waits for it any more."""
        if message.payload == NO_RESPONDERS:
            self._counters.unrouted += 1

    def publish(self, subject: str, frame: Payload, *, reply: str = "") -> None:
        """Publish one frame; a bus that does not take it is counted, since whoever waits has a deadline."""
        try:
            self._bus.publish(subject, frame, reply=reply)
        except VtsServingException as error:
            self._counters.unsent[error.code] += 1
            _log.debug("not_sent", extra={"subject": subject, "code": error.code})
