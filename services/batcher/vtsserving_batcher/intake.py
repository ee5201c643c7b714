"""Frames to entries, without decoding tensors; what cannot be served in time is refused at once."""

from __future__ import annotations

import asyncio
import logging

from vtsserving._bus.interface import Message
from vtsserving._wire import frames, subjects
from vtsserving._wire.kinds import WHOLE_FRAME
from vtsserving._wire.labels import labels_of
from vtsserving.exceptions import BadFrame, Overloaded, ProtocolError, QueueFull, VtsServingException
from vtsserving_batcher.answers import Answers
from vtsserving_batcher.dispatch import Dispatcher
from vtsserving_batcher.metrics import BatcherCounters
from vtsserving_batcher.model_state import ModelState
from vtsserving_batcher.orders import OrderHandler
from vtsserving_batcher.policy import finish_s
from vtsserving_batcher.prepare_handler import PrepareHandler
from vtsserving_batcher.queue import Entry, Queue
from vtsserving_batcher.settings import BatcherSettings

_log = logging.getLogger(__name__)


class RequestIntake:
    """Handles what gateways send to this batcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        orders: OrderHandler,
        prepares: PrepareHandler,
        answers: Answers,
        counters: BatcherCounters,
        settings: BatcherSettings,
    ) -> None:
        """Feed `dispatcher` within the bounds of `settings`; the rest goes to `orders` and `wishes`."""
        self._dispatcher = dispatcher
        self._orders = orders
        self._prepares = prepares
        self._answers = answers
        self._counters = counters
        self._settings = settings
        self._now_s = asyncio.get_running_loop().time

    def handle(self, message: Message) -> None:
        """Take one message from the batcher's inbox."""
        try:
            frame = frames.decode(message.payload)
            if isinstance(frame, frames.Cancel):
                self._dispatcher.abandon(frame)
            elif isinstance(frame, frames.Request):
                self._take(frame, message.reply)
            elif isinstance(frame, frames.Control):
                self._orders.take(frame, message.reply)
            elif isinstance(frame, frames.Prepare):
                self._prepares.take(frame)
            else:
                raise BadFrame(f"a batcher takes no {type(frame).__name__}")
        except ProtocolError as error:
            self._counters.bad_frames += 1
            _log.warning("bad_frame", extra={"code": error.code, "reason": error.message})
            if subjects.is_gateway_reply(message.reply):
                # Its ids cannot be read: the gateway knows by the reply subject what it sent.
                self._answers.refuse(message.reply, [WHOLE_FRAME], error.code, error.message)

    def _take(self, request: frames.Request, reply: str) -> None:
        gateway = subjects.gateway_answers(reply)
        if gateway is None:
            raise BadFrame("a request without a gateway's reply subject")
        if 0 in request.rows if request.head else any(request.rows):
            raise BadFrame("rows without a batch axis, or a batch axis without rows")
        model = self._dispatcher.model_for(request)
        try:
            queue = self._admit(model, request)
        except VtsServingException as error:
            self._answers.refuse(gateway, list(request.ids), error.code, error.message, error.retry_after_s)
            self._counters.ended[error.code] += len(request.ids)
            return
        now_s = self._now_s()
        columns = zip(
            request.ids, request.rows, request.bodies, request.remaining_us, request.attempts, strict=True
        )
        labels = labels_of(request)
        for i, (id, rows, body, remaining_us, attempt) in enumerate(columns):
            label = labels[i] if labels else None
            queue.add(Entry(gateway, id, rows, body, now_s + remaining_us / 1e6, now_s, attempt, label))  # type: ignore[arg-type]
        self._counters.entries += len(request.ids)
        model.enqueue_ready(queue)
        self._dispatcher.dispatch(model)

    def _admit(self, model: ModelState, request: frames.Request) -> Queue:
        """The queue for a request; raises what the caller is refused with."""
        self._dispatcher.check_servable(model)
        settings, count = self._settings, len(request.ids)
        size_bytes = sum(map(len, request.bodies))
        if (
            model.waiting_entries + count > settings.max_waiting_requests
            or model.waiting_bytes + size_bytes > settings.max_waiting_bytes
        ):
            raise QueueFull(
                f"{model.waiting_entries} requests wait for {model.tag} already; try again later",
                retry_after_s=1.0,
            )
        if len(model.queues) >= settings.max_groups:
            model.forget_empty_queues()
            if len(model.queues) >= settings.max_groups:
                raise QueueFull(
                    f"{settings.max_groups} different kinds of input wait for {model.tag} already",
                    retry_after_s=1.0,
                )
        queue = model.queue_for(request, self._dispatcher.room_bytes(request.head))
        self._check_deadline(model, queue, request)
        return queue

    def _check_deadline(self, model: ModelState, queue: Queue, request: frames.Request) -> None:
        """Refuse what is predicted to miss its deadline; never while a process is idle or costs are unknown."""
        if not model.processes or model.idle():
            return
        expected_s = finish_s(
            model.running_rows + sum(other.rows for other in model.ready_queues),
            model.waiting_entries,
            sum(request.rows),
            queue.limits,
            model.costs[request.method],
            len(model.processes),
        )
        # The frame's requests were made in the same instant; the most patient decides, the others expire in the queue.
        remaining_s = max(request.remaining_us) / 1e6
        if expected_s > remaining_s:
            raise Overloaded(
                f"{model.tag} is overloaded: the answer would take {expected_s:.2f} s and the request has "
                f"{remaining_s:.2f} s left",
                retry_after_s=expected_s - remaining_s,
            )
