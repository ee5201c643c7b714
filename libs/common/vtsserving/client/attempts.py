"""How often a call is made, and how long apart: only where that is safe, and never beyond its deadline."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from vtsserving import _clock
from vtsserving.client.call import CallFailure

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from vtsserving.client.call import Call

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 2.0
PATIENT_PAUSE_S: Final = 0.25
SHORTEST_S: Final = 0.001
SLACK_S: Final = 0.5
"""How much longer than the gateway the client waits at most, so that the gateway's reason arrives."""


class Deadline:
    """When an answer must be there."""

    def __init__(self, timeout_s: float) -> None:
        """Begin to count.

        Args:
            timeout_s: for everything, attempts and pauses together.
        """
        self.timeout_s = timeout_s
        self._end_s = _clock.monotonic_s() + timeout_s

    @property
    def left_s(self) -> float:
        """Seconds that are left; never 0, since a request needs a little."""
        return max(self._end_s - _clock.monotonic_s(), SHORTEST_S)

    @property
    def patience_s(self) -> float:
        """How long to wait for an answer that must come by then."""
        return self.left_s + min(SLACK_S, self.left_s / 4)


def policy(call: Call, deadline: Deadline, retries: int) -> dict[str, Any]:
    """Arguments of tenacity's Retrying and AsyncRetrying.

    Args:
        call: to be made.
        deadline: no pause goes beyond it.
        retries: most repetitions; a patient call has as many as it has time.
    """
    import tenacity

    def pause_s(state: RetryCallState) -> float:
        failure = _failure(state)
        advised_s = failure.error.retry_after_s or 0.0 if failure is not None else 0.0
        longest_s = PATIENT_PAUSE_S if call.is_patient else LONGEST_PAUSE_S
        own_s: float = min(FIRST_PAUSE_S * 2.0 ** min(state.attempt_number - 1, 16), longest_s)
        if call.is_patient:
            advised_s = 0.0
        # Those who were refused together do not come back together.
        return max(own_s * random.uniform(0.5, 1.0), advised_s * random.uniform(1.0, 1.25))

    def is_enough(state: RetryCallState) -> bool:
        is_last = state.attempt_number > retries and not call.is_patient
        return is_last or state.upcoming_sleep >= deadline.left_s

    return {
        "retry": tenacity.retry_if_exception(
            lambda error: isinstance(error, CallFailure) and error.may_repeat
        ),
        "wait": pause_s,
        "stop": is_enough,
        "reraise": True,
    }


def _failure(state: RetryCallState) -> CallFailure | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, CallFailure) else None
