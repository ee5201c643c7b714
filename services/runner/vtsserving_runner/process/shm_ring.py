"""Memory that runner and model process share, for frames that are too large for the socket to be cheap.

One ring for each direction. The writer copies a frame into the next slot and says so on the socket; the reader says
there too, with its next message, that it has finished with it. Slots are used in turn, so a count of finished ones is
all that is said. When no slot is free the frame goes through the socket, as small ones do.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Sequence
from typing import Final

from vtsserving._wire.frames import Buffer

SLOTS: Final = 4
"""A process holds two batches at most; the answers of two more may be on their way."""

SLOT_BYTES: Final = 64 * 1024 * 1024
"""Address space; memory is taken only where something was written."""

SHARE_BYTES: Final = 64 * 1024
"""Frames from this size on are shared."""


def create() -> int | None:
    """A file descriptor of memory for one ring; None where the system has no such memory, OSError if it refuses."""
    if not hasattr(os, "memfd_create"):
        return None
    descriptor = os.memfd_create("vtsserving-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, SLOTS * SLOT_BYTES)
        # A model that shrank it would end the runner, which may touch what is gone.
        fcntl.fcntl(
            descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        )
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Ring:
    """One side of the memory of one direction."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory of `create`; the descriptor may be closed afterwards."""
        self._view = memoryview(mmap.mmap(descriptor, SLOTS * SLOT_BYTES))
        self._next = 0
        self._used = 0

    def write(self, parts: Sequence[Buffer], size_bytes: int) -> int | None:
        """Copy a frame into the next slot.

        Args:
            parts: of the frame.
            size_bytes: of all together.

        Returns:
            The slot; None when the frame is small, too large, or no slot is free.
        """
        if not SHARE_BYTES <= size_bytes <= SLOT_BYTES or self._used == SLOTS:
            return None
        slot = self._next
        position = slot * SLOT_BYTES
        for part in parts:
            end = position + len(part)
            self._view[position:end] = part
            position = end
        self._next = (slot + 1) % SLOTS
        self._used += 1
        return slot

    def released(self, count: int) -> None:
        """The reader has finished with the `count` oldest frames."""
        self._used = max(0, self._used - count)

    def read(self, slot: int, size_bytes: int) -> memoryview:
        """A frame where it lies, until its release is told."""
        start = slot * SLOT_BYTES
        return self._view[start : start + size_bytes]
