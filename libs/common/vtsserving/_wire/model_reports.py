"""What the heartbeats of batchers say of models that are not simply loaded, one line each."""

from __future__ import annotations

from typing import Final, NamedTuple, cast, get_args

from vtsserving._wire.vocabulary import LoadState

MAX_REASON_CHARS: Final = 200
"""Most characters of a reason in a heartbeat."""

_STATES: Final[frozenset[str]] = frozenset(get_args(LoadState))


class ModelReport(NamedTuple):
    """How one model is.

    Attributes:
        tag: `name:version`.
        state: what becomes of it.
        reason: why, for people; of `failed`, else empty.
    """

    tag: str
    state: LoadState
    reason: str = ""

    def encode(self) -> str:
        """The line of Heartbeat.models: tag, state and reason with blanks between them; a long reason is cut."""
        return f"{self.tag} {self.state} {' '.join(self.reason.split())[:MAX_REASON_CHARS]}"

    @classmethod
    def decode(cls, line: str) -> ModelReport | None:
        """Read a line of Heartbeat.models; None for a state of a later release."""
        tag, _, rest = line.partition(" ")
        state, _, reason = rest.partition(" ")
        return cls(tag, cast(LoadState, state), reason) if state in _STATES else None
