"""The request side of inference: ids, deadlines, splitting, per-tick coalescing, settling once, re-joining.

Requests that are submitted in one turn of the event loop and may share a batch leave as one frame. Every request is
settled exactly once: by its answers, by an error, or by its deadline, whichever comes first; what comes later is
dropped. If the batcher that holds a request is gone, the request goes to another one, once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from vtsserving._bus.interface import NO_RESPONDERS, Bus, Message, Subscription
from vtsserving._catalog.catalog import CatalogEntry, Method
from vtsserving._inference.batchers import Batchers
from vtsserving._inference.heartbeats import send_gateway_beat
from vtsserving._inference.large_calls import MODEL_ERRORS, LargeCalls
from vtsserving._inference.orders import OrderClient
from vtsserving._inference.outbox import Outbox
from vtsserving._inference.pending_queue import BATCHER_WAIT_S, BUS_WAIT_S, PendingQueue, bus_away, no_batcher
from vtsserving._inference.request import Outcome, Part, Ticket, resolver
from vtsserving._inference.retries import MAX_BOUNCES, RETRY_DELAY_S, bounce_delay_s
from vtsserving._inference.runner_calls import packed_call
from vtsserving._inference.timer_wheel import TimerWheel
from vtsserving._wire import bodies, frames, subjects
from vtsserving._wire.kinds import WHOLE_FRAME
from vtsserving._wire.labels import EntryLabels
from vtsserving._wire.limits import HEARTBEAT_S
from vtsserving._wire.rows import Packed
from vtsserving.exceptions import (
    BatcherLost,
    BusUnavailable,
    DeadlineExceeded,
    MessageTooLarge,
    ProtocolError,
    ShuttingDown,
    VtsServingException,
    from_code,
)

_log = logging.getLogger(__name__)


class InferenceClient:
    """Sends calls over a bus and settles them. Create it inside of a running event loop."""

    def __init__(self, bus: Bus) -> None:
        """Prepare; `start` must run before the first call.

        Args:
            bus: connected; whoever made it closes it.
        """
        self.id = subjects.new_id()
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self._parts: dict[int, Part] = {}
        self._next_id = 1
        self._batchers = Batchers()
        self._waiting_for_batcher = PendingQueue(
            BATCHER_WAIT_S, lambda part: self._settle(part.ticket, no_batcher())
        )
        self._waiting_for_bus = PendingQueue(BUS_WAIT_S, lambda part: self._settle(part.ticket, bus_away()))
        self._offline_at_s = self._loop.time()
        self._outbox = Outbox(bus, self.id, self._batchers, self._unsendable, self._no_batcher)
        self.orders = OrderClient(bus, self.id, self._batchers)
        self._large_calls = LargeCalls()
        self._timer_wheel: TimerWheel[Ticket] = TimerWheel(self._loop, self._expired)
        self._subscriptions: list[Subscription] = []
        self._timers: list[asyncio.TimerHandle] = []
        self._left: list[int] = []
        self._closing = False
        self.late_replies = 0
        self.retries = 0

    @property
    def batchers_alive(self) -> int:
        """Batchers that take requests now."""
        return len(self._batchers)

    @property
    def ready(self) -> bool:
        """Whether a call can be sent now."""
        return self._bus.connected and self.batchers_alive > 0 and not self._closing

    @property
    def in_flight(self) -> int:
        """Parts of requests that are not settled."""
        return len(self._parts)

    async def start(self) -> None:
        """Listen for answers and for batchers."""
        self._bus.on_state(self._on_bus_state)
        self._subscriptions = [
            await self._bus.subscribe(subjects.gateway_replies(self.id), self._on_reply),
            await self._bus.subscribe(subjects.heartbeat("batcher"), self._on_heartbeat),
        ]
        self._tick()

    async def drain(self) -> None:
        """Refuse new calls; return when all others are settled, which their deadlines guarantee."""
        self._closing = True
        while self._parts:  # noqa: ASYNC110 - an event would have to be set on the path of every request
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Settle what is left with ShuttingDown and stop listening."""
        self._closing = True
        for part in list(self._parts.values()):
            self._settle(part.ticket, ShuttingDown("the gateway is shutting down; try again"))
        for timer in self._timers:
            timer.cancel()
        self._timer_wheel.close()
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        self._subscriptions.clear()

    # --- in ------------------------------------------------------------------------------------------------------

    def submit(
        self,
        entry: CatalogEntry,
        method: Method,
        packed: Packed,
        *,
        timeout_s: float,
        on_done: Callable[[Outcome], None],
        labels: EntryLabels | None = None,
    ) -> Ticket:
        """Send one call.

        Args:
            entry: the model.
            method: of `entry.method(name)`.
            packed: the arguments, of `pack_call(args, kwargs, method.rule)`.
            timeout_s: seconds until the call must be answered.
            on_done: called exactly once, on the loop; before this returns only if the call is refused.
            labels: the request id and the trace that the call belongs to.

        Returns:
            For `abandon`.
        """
        now_s = self._loop.time()
        ticket = Ticket(entry, method, on_done, now_s, timeout_s, labels)
        if self._closing:
            self._settle(ticket, ShuttingDown("the gateway is shutting down; try again", retry_after_s=1.0))
            return ticket
        if not self._bus.connected and now_s - self._offline_at_s > BUS_WAIT_S:
            self._settle(ticket, bus_away())
            return ticket
        if packed.rows <= method.max_rows or not packed.head:
            self._add(ticket, packed)
        else:
            for piece in self._large_calls.first(ticket, packed):
                self._add(ticket, piece)
        self._timer_wheel.add(ticket, ticket.deadline_s)
        return ticket

    def _add(self, ticket: Ticket, packed: Packed) -> None:
        part = Part(self._next_id, ticket, packed)
        self._next_id += 1
        ticket.parts.append(part)
        self._parts[part.id] = part
        self._outbox.add(part)

    async def call(
        self,
        entry: CatalogEntry,
        method: str,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        timeout_s: float,
        labels: EntryLabels | None = None,
    ) -> Outcome:
        """Send one call and wait for its outcome; cancelling abandons it.

        Raises:
            InvalidArgument: of its many kinds, when the arguments cannot be sent.
            MethodNotFound: the model has no such method.
        """
        described, packed = packed_call(entry, method, args, kwargs)
        future: asyncio.Future[Outcome] = self._loop.create_future()
        done = resolver(future)
        ticket = self.submit(entry, described, packed, timeout_s=timeout_s, on_done=done, labels=labels)
        try:
            return await future
        finally:
            self.abandon(ticket)

    def abandon(self, ticket: Ticket) -> None:
        """The caller left: nothing is delivered any more, and what waits is not computed. Harmless when settled."""
        if ticket.on_done is None:
            return
        ticket.on_done = None
        self._cancel(ticket)
        self._forget(ticket)

    def _cancel(self, ticket: Ticket) -> None:
        """Have the batchers drop what is left of a call, at the end of this turn of the loop."""
        ids = [part.id for part in ticket.parts if part.id in self._parts]
        if ids and not self._left:
            self._loop.call_soon(self._send_cancels)
        self._left.extend(ids)

    # --- back ----------------------------------------------------------------------------------------------------

    def _on_reply(self, message: Message) -> None:
        if message.payload == NO_RESPONDERS:
            self._batcher_gone(message.subject)
            return
        try:
            frame = frames.decode(message.payload)
        except ProtocolError as error:
            _log.warning("bad_frame", extra={"code": error.code, "reason": error.message})
            # If it was sent where only refusals of a whole frame go, that is what it is.
            self._refused(message.subject, error)
            return
        if isinstance(frame, frames.Reply):
            self._answered(frame)
        elif isinstance(frame, frames.Failure):
            if frame.ids == (WHOLE_FRAME,):
                self._refused(message.subject, from_code(frame.code, frame.message))
            else:
                self._failed(frame)
        elif isinstance(frame, frames.Report):
            self.orders.reported(message.subject, frame)

    def _answered(self, reply: frames.Reply) -> None:
        parts = self._parts
        if reply.body_kinds:
            reply, refused = bodies.readable(reply)
            self._failed(refused)
        columns = zip(reply.ids, reply.rows, reply.queued_us, reply.bodies, strict=True)
        for id, count, queued_us, body in columns:
            part = parts.get(id)
            if part is None:
                self.late_replies += 1
                continue
            if count != part.packed.rows:
                self._settle(part.ticket, part.wrong_rows(count))
                continue
            del parts[id]
            ticket = part.take(Packed(reply.head, count, body), reply, queued_us)  # type: ignore[arg-type]
            if ticket.waiting:
                continue
            more = ticket.whole and self._large_calls.after(ticket)
            for piece in more or ():
                self._add(ticket, piece)
            if not more:
                self._settle(ticket, None)

    def _refused(self, reply_subject: str, error: VtsServingException) -> None:
        """A batcher could not read a frame of ours."""
        if (publish := self._outbox.publish_of(reply_subject)) is None:
            self.orders.rejected(reply_subject, error)
            return
        for id in publish.ids:
            if (part := self._parts.get(id)) is not None:
                self._settle(part.ticket, error)

    def _failed(self, failure: frames.Failure) -> None:
        retry_after_s = failure.retry_after_ms / 1000 or None
        for id in failure.ids:
            part = self._parts.get(id)
            if part is None:
                self.late_replies += 1
            elif failure.code in (BatcherLost.code, ShuttingDown.code) and part.bounces < MAX_BOUNCES:
                self._bounced(part)
            elif failure.code in MODEL_ERRORS and (whole := self._large_calls.refused(part.ticket)):
                self._parts.pop(id)
                part.ticket.waiting = 0
                self._add(part.ticket, *whole)
            elif failure.code == DeadlineExceeded.code and part.ticket.sheds:
                self._expired(part.ticket)
            else:
                self._settle(
                    part.ticket, from_code(failure.code, failure.message, retry_after_s=retry_after_s)
                )

    def _settle(self, ticket: Ticket, error: VtsServingException | None) -> None:
        """End a call, once; everything else about it is dropped."""
        on_done, ticket.on_done = ticket.on_done, None
        if on_done is None:
            return
        if ticket.waiting and len(ticket.parts) > 1:
            self._cancel(ticket)
        self._forget(ticket)
        outcome = Outcome(ticket, error)
        ticket.parts.clear()  # they point at it: each request would leave work for the garbage collector
        try:
            on_done(outcome)
        except Exception:
            _log.exception("caller_failed_on_answer")

    def _forget(self, ticket: Ticket) -> None:
        self._timer_wheel.discard(ticket, ticket.deadline_s)
        if ticket.waiting:
            for part in ticket.parts:
                self._parts.pop(part.id, None)

    def _expired(self, ticket: Ticket) -> None:
        self._settle(ticket, ticket.late())

    def _retry_later(self, part: Part) -> None:
        part.attempt += 1
        part.batcher = ""  # until it is sent again no loss of a batcher concerns it
        self.retries += 1
        self._loop.call_later(RETRY_DELAY_S, self._send_again, part)

    def _send_again(self, part: Part) -> None:
        if part.id in self._parts:
            self._outbox.add(part)

    def _send_lost(self, batchers: Container[str]) -> None:
        """A connection to some batchers was broken: what they hold may be lost, be it the request or its answer."""
        for part in [p for p in self._parts.values() if p.batcher in batchers and p.may_retry]:
            self._retry_later(part)

    def _bounced(self, part: Part) -> None:
        """A batcher handed a part back untouched, which is no attempt: try again, at growing intervals."""
        part.batcher = ""
        delay_s = bounce_delay_s(part.bounces)
        part.bounces += 1
        self.retries += 1
        self._loop.call_later(delay_s, self._send_again, part)

    def _batcher_gone(self, reply_subject: str) -> None:
        """Nobody listened when these parts were published, so they were not taken: send them elsewhere."""
        if (publish := self._outbox.publish_of(reply_subject)) is None:
            self.orders.batcher_gone(reply_subject)
            return
        self._batchers.remove(publish.batcher)
        for id in publish.ids:
            if (part := self._parts.get(id)) is not None:
                # Not counted as an attempt: the message reached no batcher.
                self._send_again(part)

    def _no_batcher(self, parts: Sequence[Part]) -> None:
        """No batcher is known, be it that none is alive or that nobody can be heard."""
        (self._waiting_for_batcher if self._bus.connected else self._waiting_for_bus).add(parts)

    def _unsendable(self, parts: Sequence[Part], error: VtsServingException) -> None:
        if isinstance(error, BusUnavailable):
            # Nothing was sent: it waits a moment for the bus to come back, and no loss of a batcher concerns it.
            for part in parts:
                part.batcher = ""
            self._waiting_for_bus.add(parts)
            return
        for part in parts:
            if isinstance(error, MessageTooLarge):
                error.args = (f"the request is too large for the bus: {error.message}",)
            self._settle(part.ticket, error)

    def _send_cancels(self) -> None:
        left, self._left = self._left, []
        self._outbox.cancel(left)

    def _on_heartbeat(self, message: Message) -> None:
        try:
            beat = frames.decode_as(frames.Heartbeat, message.payload)
        except ProtocolError:
            return
        if beat.role != "batcher" or not subjects.is_id(beat.id):
            return
        is_new = self._batchers.heartbeat(beat.id, beat.state != "draining", self._loop.time())
        if is_new and len(self._batchers):
            for part in self._waiting_for_batcher.take():
                self._send_again(part)
        if beat.state == "reconnected":
            self._send_lost([beat.id])

    def _on_bus_state(self, connected: bool) -> None:
        if not connected:
            self._offline_at_s = self._loop.time()
            return
        self._batchers.touch_all(self._loop.time())
        self._beat()
        self._send_lost({part.batcher for part in self._parts.values() if part.batcher})
        for part in self._waiting_for_bus.take():
            self._send_again(part)

    def _tick(self) -> None:
        """Every half second: say that we are here, and look who is not."""
        self._timers = [self._loop.call_later(HEARTBEAT_S, self._tick)]
        if not self._bus.connected:
            return
        self._beat()
        dead = self._batchers.evict_stale(self._loop.time())
        if dead:
            for part in [part for part in self._parts.values() if part.batcher in dead]:
                if part.may_retry:
                    self._retry_later(part)
                else:
                    self._settle(part.ticket, part.lost())

    def _beat(self) -> None:
        sent, waiting = self._next_id - 1, len(self._parts)
        send_gateway_beat(self._bus, self.id, self._closing, sent, waiting, self.retries)
