"""Batch frames from the bus to a model process, if their credit is valid; refused at once if not.

The answers go from the process to `outlet`, which sends them to the gateways; nothing waits in between and nothing is
queued here beyond what credits were granted for.
"""

from __future__ import annotations

import logging

from vtsserving._bus.interface import Message
from vtsserving._wire import frames, subjects
from vtsserving.exceptions import BadFrame, ProtocolError, ShuttingDown
from vtsserving_runner.metrics import RunnerCounters
from vtsserving_runner.models.credits import STALE, Duplicate
from vtsserving_runner.models.models import Models
from vtsserving_runner.process.framing import now_us
from vtsserving_runner.process.work import Work
from vtsserving_runner.publish.publisher import ModelId, Publisher
from vtsserving_runner.publish.replies import gateway_of

_log = logging.getLogger(__name__)


class BatchIntake:
    """Handles the batches that batchers send to this runner."""

    def __init__(self, models: Models, publisher: Publisher, counters: RunnerCounters) -> None:
        """Feed the processes of `models`."""
        self._models = models
        self._publisher = publisher
        self._counters = counters
        self.draining = False

    def handle(self, message: Message) -> None:
        """Take one batch."""
        arrived_us = now_us()
        try:
            batch = frames.decode_as(frames.Batch, message.payload)
            self._check(batch)
        except ProtocolError as error:
            self._counters.bad_frames += 1
            _log.warning("bad_batch", extra={"code": error.code, "reason": error.message})
            return
        if self.draining:
            self._refuse(batch, ShuttingDown.code)
            return
        model = self._models.find(batch.digest)
        try:
            process = model.take(batch) if model is not None else None
        except Duplicate:
            self._counters.duplicates += 1
            return
        if process is None:
            self._refuse(batch, STALE)
            return
        process.submit(Work(batch, message.payload, arrived_us))

    def _check(self, batch: frames.Batch) -> None:
        """Refuse what would make this runner publish to subjects that are none of its business."""
        if not subjects.is_id(batch.batcher):
            raise BadFrame("a batch without a batcher's id")
        if any(gateway_of(subject) is None for subject in batch.gateways):
            raise BadFrame("a batch whose answers would not go to a gateway")

    def _refuse(self, batch: frames.Batch, code: str) -> None:
        self._counters.nacks[code] += 1
        model = ModelId(batch.model, batch.version, batch.digest)
        self._publisher.event(
            batch.batcher, "nack", model, epoch=batch.epoch, batch_id=batch.batch_id, code=code
        )
