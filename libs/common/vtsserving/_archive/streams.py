"""The two byte-stream shapes that archives are read from and written to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vtsserving.exceptions import CorruptArchive


class Readable(Protocol):
    """Something to read bytes from, forwards only."""

    def read(self, n_bytes: int, /) -> bytes:
        """At most `n_bytes`; empty only at the end."""
        ...


class Writable(Protocol):
    """Something to write bytes to, forwards only."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""
        ...


class ByteSource:
    """A stream whose first bytes can be looked at, and whose read bytes are counted."""

    def __init__(self, stream: Readable, on_progress: Callable[[int], None] | None = None) -> None:
        """Read from `stream`.

        Args:
            stream: where the bytes come from.
            on_progress: told how many bytes were read, each time.
        """
        self._stream = stream
        self._on_progress = on_progress
        self._ahead = b""
        self.count_bytes = 0

    def peek(self, n_bytes: int) -> bytes:
        """The next `n_bytes` bytes, or all that are left, without taking them."""
        while len(self._ahead) < n_bytes:
            more = self._pull(n_bytes - len(self._ahead))
            if not more:
                break
            self._ahead += more
        return self._ahead[:n_bytes]

    def read(self, n_bytes: int) -> bytes:
        """At most `n_bytes` bytes; empty only at the end."""
        if self._ahead:
            taken, self._ahead = self._ahead[:n_bytes], self._ahead[n_bytes:]
            return taken
        return self._pull(n_bytes)

    def _pull(self, n_bytes: int) -> bytes:
        data = self._stream.read(n_bytes)
        self.count_bytes += len(data)
        if data and self._on_progress is not None:
            self._on_progress(len(data))
        return data


def read_exactly(stream: Readable, n_bytes: int) -> bytes:
    """Exactly `n_bytes` bytes.

    Args:
        stream: where from.
        n_bytes: how many; the caller has bounded it.

    Returns:
        The bytes.

    Raises:
        CorruptArchive: the stream ends before.
    """
    data = stream.read(n_bytes)
    if len(data) == n_bytes:
        return data
    parts = [data]
    missing = n_bytes - len(data)
    while missing and parts[-1]:
        parts.append(stream.read(missing))
        missing -= len(parts[-1])
    if missing:
        raise CorruptArchive("the archive is cut off; copy or download it again")
    return b"".join(parts)
