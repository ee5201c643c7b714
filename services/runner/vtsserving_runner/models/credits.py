"""Permissions to send batches to one model process: pure bookkeeping.

A batcher may send a batch only with a numbered credit of the current epoch, and each number only once until the batch
is done. A process has two: one batch runs, one is prefetched. A new epoch voids all credits at once.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from typing import Final

from vtsserving._wire import frames

CREDITS: Final = 2
"""Credits of one model process."""

STALE: Final = "stale_credit"
"""Code of a nack: the credit's epoch is over, or another batcher owns the model."""


def epochs() -> Iterator[int]:
    """Numbers for the bits above REPLICA_BITS: growing, and starting where no runner started before."""
    return itertools.count(secrets.randbits(46))


class Duplicate(Exception):
    """The same batch came twice."""


class Credits:
    """The credits of one model process.

    Attributes:
        owner: the batcher that holds them; empty while none does.
        epoch: of the current credits.
    """

    def __init__(self) -> None:
        """Start without an owner."""
        self.owner = ""
        self.epoch = 0
        self._used: dict[int, int] = {}
        self._last: dict[int, int] = {}

    def open(self, owner: str, epoch: int) -> None:
        """Grant all credits to `owner` under a new epoch."""
        self.owner = owner
        self.epoch = epoch
        self._used.clear()
        self._last.clear()

    def close(self) -> None:
        """Void all credits."""
        self.owner = ""

    def free(self) -> list[int]:
        """Credits that no batch uses."""
        return [credit for credit in range(CREDITS) if credit not in self._used]

    def take(self, batch: frames.Batch) -> bool:
        """Use the credit of a batch.

        Returns:
            Whether it was valid.

        Raises:
            Duplicate: the batch itself has it already, or had it last.
        """
        if not self._is_current(batch):
            return False
        if self._last.get(batch.credit) == batch.batch_id:
            raise Duplicate
        if batch.credit in self._used or batch.credit >= CREDITS:
            return False
        self._used[batch.credit] = self._last[batch.credit] = batch.batch_id
        return True

    def give_back(self, batch: frames.Batch) -> list[int]:
        """Renew the credit of a batch that is done.

        Returns:
            The credits that are valid again: its own, or none when its epoch is over.
        """
        if not self._is_current(batch):
            return []
        self._used.pop(batch.credit, None)
        return [batch.credit]

    def _is_current(self, batch: frames.Batch) -> bool:
        return bool(self.owner) and batch.batcher == self.owner and batch.epoch == self.epoch
