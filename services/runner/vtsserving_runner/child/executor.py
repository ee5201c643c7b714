"""One batch on one model object: join, call, check the rows, cut; a call that raises is bisected.

What goes wrong with one request never fails its neighbours: the halves of a batch that raised are called again, and
their halves, until what raises stands alone. Only an output with a wrong number of rows fails the whole batch, since
nobody can say whose row is missing.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from vtsserving import _clock
from vtsserving._model.signature import ModelSignature
from vtsserving._wire import rows
from vtsserving._wire.bodies import refusal, unreadable
from vtsserving._wire.frames import Batch, Fault, Result
from vtsserving.exceptions import (
    BadModelOutput,
    DeadlineExceeded,
    MethodNotFound,
    ModelFailed,
    ResultTooLarge,
    VtsServingException,
)
from vtsserving_runner.child.padding import padded, surplus_rows
from vtsserving_runner.process.framing import now_us

_log = logging.getLogger(__name__)

MAX_BODY_BYTES: Final = (1 << 32) - 1
"""Sizes of bodies are 32 bits on the wire."""

MAX_TOLD_PER_S: Final = 10
"""Most tracebacks in the log per second; bad requests come by the thousand."""

MAX_TOLD_IDS: Final = 16
"""Most request ids in one line of the log."""

_MAX_REASON_CHARS: Final = 500

Answer = Result | Fault


class BatchExecutor:
    """Runs batches on the methods of one model."""

    def __init__(
        self,
        model: object,
        signatures: Mapping[str, ModelSignature],
        alive: Callable[[], None] = lambda: None,
        pad_to: Sequence[int] = (),
    ) -> None:
        """Serve `model`.

        Args:
            model: has a method for each signature; `__call__` is the model itself.
            signatures: method name to signature.
            alive: called after each call that raised, so that whoever watches for hangs starts to count afresh.
            pad_to: numbers of rows that batches are filled up to, ascending; see padding.
        """
        self._model = model
        self._signatures = signatures
        self._alive = alive
        self._pad_to = pad_to

    def run(self, batch: Batch, arrived_us: int) -> Iterator[Answer]:
        """Compute a batch.

        Args:
            batch: its entries' bodies may be overwritten by the model.
            arrived_us: when its entries had `remaining_us` left, on the clock of `now_us`.

        Yields:
            Results and faults that together answer each entry once; the last one has `last` set.
        """
        held: Answer | None = None
        for answer in self._answers(_Work(batch, arrived_us), list(range(len(batch.ids)))):
            if held is not None:
                yield held
            held = answer
        if held is not None:
            yield held._replace(last=True)

    def _answers(self, work: _Work, index: list[int]) -> Iterator[Answer]:
        signature = self._signatures.get(work.batch.method)
        if signature is None:
            yield work.fault(index, MethodNotFound(f"the model has no method {work.batch.method!r}"))
            return
        if unread := unreadable(work.batch.body_kinds):
            yield work.fault(unread, refusal(work.batch.body_kinds))
            index = [i for i in index if i not in unread]
        # Requests without a batch axis are never merged; each is its own call.
        if not work.batch.head and len(index) > 1:
            for i in index:
                yield from self._alone_or_halves(work, [i], signature)
        elif index:
            yield from self._alone_or_halves(work, index, signature)

    def _alone_or_halves(self, work: _Work, index: list[int], signature: ModelSignature) -> Iterator[Answer]:
        late = work.expired(index)
        if late:
            yield work.fault(late, DeadlineExceeded("the deadline passed before the model could start"))
            index = [i for i in index if i not in late]
            if not index:
                return
        try:
            result = self._call(work, index)
        except BaseException as error:  # what a model raises, SystemExit included, must not end its process
            self._alive()
            if len(index) == 1:
                yield work.fault(index, _as_failure(error, work.batch, index[0]))
                return
            middle = len(index) // 2
            yield from self._alone_or_halves(work, index[:middle], signature)
            yield from self._alone_or_halves(work, index[middle:], signature)
            return
        yield self._split(work, index, result, signature)

    def _call(self, work: _Work, index: Sequence[int]) -> Any:
        batch = work.batch
        if len(index) == len(batch.ids):
            bodies, counts = batch.bodies, batch.rows
        else:
            bodies, counts = [batch.bodies[i] for i in index], tuple(batch.rows[i] for i in index)
        if len(bodies) == 1:
            # Several are joined in memory of the model's own; one is copied there, since it may keep what it gets.
            bodies = [memoryview(bytearray(bodies[0]))]
        args, kwargs = rows.join_calls(batch.head, bodies, counts)  # type: ignore[arg-type]
        args = [owned(value) for value in args]
        if kwargs:
            kwargs = {key: owned(value) for key, value in kwargs.items()}
        if self._pad_to and batch.head and (surplus := surplus_rows(sum(counts), self._pad_to)):
            axis = self._signatures[batch.method].batch_dim[0]
            args = [padded(value, surplus, axis) for value in args]
            kwargs = padded(kwargs, surplus, axis)
        return method_of(self._model, batch.method)(*args, **kwargs)

    def _split(self, work: _Work, index: Sequence[int], result: Any, signature: ModelSignature) -> Answer:
        batch = work.batch
        counts = batch.rows if len(index) == len(batch.ids) else tuple(batch.rows[i] for i in index)
        try:
            if batch.head and signature.batchable:
                surplus = surplus_rows(sum(counts), self._pad_to) if self._pad_to else 0
                parts = (*counts, surplus) if surplus else counts
                head, bodies = rows.split_result(result, parts, signature.batch_dim[1])
                del bodies[len(counts) :]
            else:
                head, _, body = rows.pack_whole(result)
                bodies = [body]
        except BadModelOutput as error:
            _tell("bad_model_output", batch, index, error)
            return work.fault(index, error)
        except Exception as error:  # nothing that a model returns may end its process
            _tell("bad_model_output", batch, index, error)
            return work.fault(index, BadModelOutput(_reason(error)))
        if max(map(len, bodies)) > MAX_BODY_BYTES:
            return work.fault(index, ResultTooLarge("a result has more than 4 GiB"))
        return Result(
            batch.batch_id, work.elapsed_us(), False, tuple(index), tuple(counts), b"", head, bodies
        )


class _Work:
    """A batch while it is computed."""

    def __init__(self, batch: Batch, arrived_us: int) -> None:
        self.batch = batch
        self._arrived_us = arrived_us
        self._started_us = now_us()

    def elapsed_us(self) -> int:
        return now_us() - self._started_us

    def expired(self, index: Sequence[int]) -> list[int]:
        """Those whose deadline has passed; looked at before each call."""
        waited_us = now_us() - self._arrived_us
        remaining_us = self.batch.remaining_us
        return [i for i in index if remaining_us[i] <= waited_us]

    def fault(self, index: Sequence[int], error: VtsServingException) -> Fault:
        return Fault(
            self.batch.batch_id, self.elapsed_us(), False, error.wire_code, error.message, tuple(index)
        )


def method_of(model: object, name: str) -> Callable[..., Any]:
    """The callable of a signature."""
    method: Callable[..., Any] = model if name == "__call__" else getattr(model, name)  # type: ignore[assignment]
    return method


def owned(value: Any) -> Any:
    """An argument as if the caller had made it here: arrays are aligned and may be written to."""
    if type(value) is np.ndarray:
        return value if value.flags.aligned and value.flags.writeable else value.copy()
    if type(value) is list:
        return [owned(item) for item in value] if any(_may_hold_arrays(item) for item in value) else value
    if type(value) is tuple:
        return tuple(owned(item) for item in value)
    if type(value) is dict:
        return {key: owned(item) for key, item in value.items()}
    return value


def _may_hold_arrays(value: Any) -> bool:
    return isinstance(value, (np.ndarray, list, tuple, dict))


def _as_failure(error: BaseException, batch: Batch, position: int) -> VtsServingException:
    if isinstance(error, VtsServingException):
        return error
    _tell("model_raised", batch, [position], error)
    return ModelFailed(_reason(error))


_told: deque[float] = deque(maxlen=MAX_TOLD_PER_S)


def _tell(event: str, batch: Batch, index: Sequence[int], error: BaseException) -> None:
    """Log what a model did wrong, with its traceback, unless callers make it happen all the time.

    The line names the requests whose clients gave them an id.
    """
    now_s = _clock.monotonic_s()
    if len(_told) == MAX_TOLD_PER_S and now_s - _told[0] < 1.0:
        return
    _told.append(now_s)
    named = [batch.request_ids[i] for i in index if batch.request_ids[i]] if batch.request_ids else []
    fields = {"request_ids": named[:MAX_TOLD_IDS]} if named else {}
    _log.warning(event, exc_info=error, extra={"method": batch.method, **fields})


def _reason(error: BaseException) -> str:
    """Type and message, which callers may see; the traceback stays in the log."""
    try:
        text = str(error)
    except Exception:  # a __str__ that raises is the model's code too
        text = ""
    return f"{type(error).__name__}: {text}"[:_MAX_REASON_CHARS] if text else type(error).__name__
