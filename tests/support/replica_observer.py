"""An observer of a replica that records each call, and grants nothing by itself."""

from __future__ import annotations

from vtsserving_runner.models.replica import Replica


class RecordingObserver:
    """Implements replica.ReplicaObserver.

    Attributes:
        seen: names of the calls, oldest first.
        reasons: why the replica failed.
        holding: how many batches the replica's process held at each call.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.reasons: list[str] = []
        self.holding: list[int] = []

    def became_warm(self, replica: Replica) -> None:
        self._note("became_warm", replica)

    def lost(self, replica: Replica) -> None:
        assert not replica.credits.owner, "credits are void before the observer is called"
        self._note("lost", replica)

    def failed(self, replica: Replica, reason: str) -> None:
        self.reasons.append(reason)
        self._note("failed", replica)

    def finished(self, replica: Replica) -> None:
        self._note("finished", replica)

    def refused(self, replica: Replica) -> None:
        self._note("refused", replica)

    def _note(self, name: str, replica: Replica) -> None:
        self.seen.append(name)
        self.holding.append(replica.process.holds)
