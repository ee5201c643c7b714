"""What a model did wrong: an error for the caller, and lines of the log that do not flood it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from vtsserving import _clock
from vtsserving._contract.refused_texts import hint
from vtsserving._wire.frames import Batch
from vtsserving.exceptions import ModelFailed, VtsServingException

_log = logging.getLogger(__name__)

MAX_TOLD_PER_S: Final = 10
"""Most tracebacks in the log per second; bad requests come by the thousand."""

MAX_TOLD_IDS: Final = 16
"""Most request ids in one line of the log."""

_MAX_REASON_CHARS: Final = 500


def as_failure(error: BaseException, batch: Batch, position: int) -> VtsServingException:
    """The error that the caller of a method gets for what it raised.

    Args:
        error: what was raised.
        batch: that was computed.
        position: of the caller's entry in the batch.
    """
    if isinstance(error, VtsServingException):
        return error
    tell("model_raised", batch, [position], error)
    return ModelFailed(reason(error) + hint(error))


_told: deque[float] = deque(maxlen=MAX_TOLD_PER_S)


def tell(event: str, batch: Batch, index: Sequence[int], error: BaseException) -> None:
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


def reason(error: BaseException) -> str:
    """Type and message, which callers may see; the traceback stays in the log."""
    try:
        text = str(error)
    except Exception:  # a __str__ that raises is the model's code too
        text = ""
    return f"{type(error).__name__}: {text}"[:_MAX_REASON_CHARS] if text else type(error).__name__
