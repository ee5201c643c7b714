"""How much an archive may unpack to, counted while it streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vtsserving.exceptions import ArchiveTooLarge

GIB: Final = 1024**3
MIB: Final = 1024**2
KIB: Final = 1024

CHUNK_BYTES: Final = MIB
"""How much is read, hashed and written at a time."""


@dataclass(frozen=True)
class ArchiveLimits:
    """What one archive may unpack to.

    Attributes:
        total_bytes: sum of all unpacked files.
        files: members, folders included.
        ratio: unpacked bytes for each packed byte.
        ratio_from_bytes: unpacked bytes from which the ratio is watched; small archives of repetitive text
            compress well without being bombs.
        header_bytes: longest extended header of one member (long names, PAX records).
    """

    total_bytes: int = 64 * GIB
    files: int = 100_000
    ratio: int = 200
    ratio_from_bytes: int = 64 * MIB
    header_bytes: int = 64 * KIB


class Budget:
    """Counts what an archive has unpacked to so far and refuses the first byte too many."""

    def __init__(self, limits: ArchiveLimits, packed_bytes: Callable[[], int]) -> None:
        """Start at zero.

        Args:
            limits: what is allowed.
            packed_bytes: tells how many bytes of the archive have been read so far.
        """
        self.limits = limits
        self.unpacked_bytes = 0
        self._files = 0
        self._packed_bytes = packed_bytes

    def member(self, announced_bytes: int) -> None:
        """Count one member; refuse it by its announced size, before anything of it is written.

        Args:
            announced_bytes: the size in the member's header.

        Raises:
            ArchiveTooLarge: one member too many, or it cannot fit.
        """
        self._files += 1
        if self._files > self.limits.files:
            raise ArchiveTooLarge(f"the archive has more than {self.limits.files} members")
        if self.unpacked_bytes + announced_bytes > self.limits.total_bytes:
            raise self._too_many_bytes()

    def spend(self, n_bytes: int) -> None:
        """Count unpacked bytes.

        Args:
            n_bytes: how many came out just now.

        Raises:
            ArchiveTooLarge: the total or the ratio is above the limit.
        """
        self.unpacked_bytes += n_bytes
        if self.unpacked_bytes > self.limits.total_bytes:
            raise self._too_many_bytes()
        if self.unpacked_bytes < self.limits.ratio_from_bytes:
            return
        if self.unpacked_bytes > self.limits.ratio * max(1, self._packed_bytes()):
            raise ArchiveTooLarge(f"the archive unpacks to more than {self.limits.ratio} times its size")

    def _too_many_bytes(self) -> ArchiveTooLarge:
        return ArchiveTooLarge(
            f"the archive unpacks to more than {self.limits.total_bytes} bytes; --max-size allows more"
        )
