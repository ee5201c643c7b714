"""What push and pull tell while they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Is told what a transfer does; called from several threads at once."""

    def begin(self, files: Mapping[str, int]) -> None:
        """Path and bytes of each file that will travel."""

    def advance(self, path: str, n_bytes: int) -> None:
        """Bytes of a file are done; negative when they must travel again."""


class Silent:
    """A Progress that shows nothing."""

    def begin(self, files: Mapping[str, int]) -> None:
        """See Progress."""

    def advance(self, path: str, n_bytes: int) -> None:
        """See Progress."""
