"""One batch while the runner holds it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from vtsserving._bus.interface import Payload
from vtsserving._wire import frames


@dataclass(eq=False, slots=True)
class Work:
    """A batch, the bytes it came as, and which of its entries wait for an answer.

    Attributes:
        batch: decoded.
        payload: the frame as it came; its bytes go to the model process as they are.
        arrived_us: when, on the clock of `framing.now_us`.
        answered: positions of entries that are answered; empty until the first partial answer.
        singles: positions that run alone because the batch crashed a process; None for a batch that runs whole.
        started_us: when its computation began, on the same clock; 0 before that.
        compute_us: what its computation took so far.
    """

    batch: frames.Batch
    payload: Payload
    arrived_us: int
    answered: set[int] = field(default_factory=set)
    singles: deque[int] | None = None
    started_us: int = 0
    compute_us: int = 0

    def unanswered(self) -> list[int]:
        """Positions that wait for an answer."""
        return [i for i in range(len(self.batch.ids)) if i not in self.answered]

    def message(self) -> bytes:
        """The frame for the model process: the batch, or the single entry whose turn it is."""
        if self.singles is None:
            return bytes(self.payload)
        i = self.singles[0]
        batch = self.batch
        return frames.encode(
            batch._replace(
                gateways=[batch.gateways[batch.gateway_index[i]]],
                gateway_index=b"\0",
                ids=batch.ids[i : i + 1],
                rows=batch.rows[i : i + 1],
                remaining_us=batch.remaining_us[i : i + 1],
                queued_us=batch.queued_us[i : i + 1],
                attempts=batch.attempts[i : i + 1],
                request_ids=batch.request_ids[i : i + 1],
                traces=batch.traces[i : i + 1],
                body_kinds=batch.body_kinds[i : i + 1],
                bodies=batch.bodies[i : i + 1],
            )
        )

    def place(self, answer: frames.Result | frames.Fault) -> frames.Result | frames.Fault:
        """The answer with positions of the whole batch, where it came for a single."""
        return answer if self.singles is None else answer._replace(index=(self.singles[0],))

    def note(self, answered: Iterable[int]) -> None:
        """Remember that entries were answered."""
        self.answered.update(answered)

    @property
    def waited_us(self) -> int:
        """How long it waited in the runner before its computation began."""
        return max(0, self.started_us - self.arrived_us)

    def fault(self, index: Iterable[int], code: str, message: str) -> frames.Fault:
        """An error for some of the entries."""
        return frames.Fault(self.batch.batch_id, self.compute_us, True, code, message, tuple(index))
