"""Request and reply on top of a bus: one inbox per bus, one future per question."""

from __future__ import annotations

import asyncio
from itertools import count

from vtsserving._bus.interface import Bus, Message, Subscription
from vtsserving.exceptions import DeadlineExceeded, NoResponders, VtsServingException


class Requests:
    """The questions of one bus that wait for an answer.

    Late answers, second answers and answers to nobody are dropped.
    """

    def __init__(self, bus: Bus, inbox: str) -> None:
        """Create it; nothing is subscribed before the first question.

        Args:
            bus: publishes the questions.
            inbox: subject prefix of this bus alone; answers go to `<inbox>.<n>`.
        """
        self._bus = bus
        self._inbox = inbox
        self._numbers = count()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._subscribing: asyncio.Task[Subscription] | None = None

    async def ask(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """Publish a question and wait for its first answer; see Bus.request."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        try:
            await asyncio.wait_for(self._ready(), timeout_s)
        except asyncio.TimeoutError as e:
            raise DeadlineExceeded(f"the bus did not confirm the inbox within {timeout_s:g} s") from e
        reply = f"{self._inbox}.{next(self._numbers)}"
        answer: asyncio.Future[bytes] = loop.create_future()
        self._waiting[reply] = answer
        timer = loop.call_at(deadline_s, _expire, answer, subject, timeout_s)
        try:
            self._bus.publish(subject, payload, reply=reply)
            return await answer
        finally:
            timer.cancel()
            self._waiting.pop(reply, None)

    def fail_all(self, error: VtsServingException) -> None:
        """Let every question that waits fail with `error`."""
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)

    async def _ready(self) -> None:
        """Subscribe the inbox once; a failed try is tried again by the next question."""
        last = self._subscribing
        if last is None or (last.done() and (last.cancelled() or last.exception())):
            self._subscribing = asyncio.create_task(self._bus.subscribe(self._inbox + ".*", self._settle))
            last = self._subscribing
        await asyncio.shield(last)

    def _settle(self, message: Message) -> None:
        answer = self._waiting.get(message.subject)
        if answer is None or answer.done():
            return
        if message.payload:
            answer.set_result(bytes(message.payload))
        else:
            answer.set_exception(NoResponders())


def _expire(answer: asyncio.Future[bytes], subject: str, timeout_s: float) -> None:
    if not answer.done():
        answer.set_exception(DeadlineExceeded(f"no answer on {subject} within {timeout_s:g} s"))
