"""Limits of a server's connections: sizes, times, and how many there may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NO_LIMIT: Final = 1 << 64
"""More bytes than an HTTP/1.1 message can announce."""

PROGRESS_BYTES: Final = 1024
"""A body that grows by less than this within the body timeout makes no progress."""

CHUNK_OVERHEAD: Final = 4
"""Chunked framing of more than this many bytes per byte of body, beyond Limits.max_overhead_bytes, is an attack."""

LINE_BYTES: Final = 4
"""Bytes of a header line beside name and value."""

LINGER_S: Final = 2.0
"""How long a connection that was refused is still read, so that the client sees the answer and not a reset."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that all connections of one server have in common.

    Attributes:
        max_connections: open at once; each one beyond is answered 503.
        max_url_bytes: longest URL; a longer one is answered 414. None: URL, headers and trailers count together, by
            their names and values alone, and max_header_bytes limits the sum.
        max_header_bytes: largest header block, and largest block of trailers; a larger one is answered 431.
        max_headers: most header lines; more are answered 431.
        max_body_bytes: largest body; a larger one is answered 413.
        max_overhead_bytes: bytes of chunked framing that are free; see CHUNK_OVERHEAD.
        header_timeout_s: for a whole header block, seconds; then 408.
        body_timeout_s: without PROGRESS_BYTES more of a body, seconds; then 408.
        write_timeout_s: without a byte read by a client that is sent an answer, seconds; then it is cut off.
        keep_alive_s: between requests, seconds; then the connection is closed.
        counts_from_open: whether the time for the first header block begins when the connection is opened, and not
            with the first byte of the block.
        is_strict: whether HTTP/1.1 requests without a Host header, and versions other than 1.1 and 1.0, are answered
            400.
    """

    max_connections: int
    max_url_bytes: int | None
    max_header_bytes: int
    max_headers: int
    max_body_bytes: int
    max_overhead_bytes: int
    header_timeout_s: float
    body_timeout_s: float
    write_timeout_s: float
    keep_alive_s: float
    counts_from_open: bool
    is_strict: bool

    @property
    def shortest_s(self) -> float:
        """The shortest of the times, seconds."""
        return min(self.header_timeout_s, self.body_timeout_s, self.write_timeout_s, self.keep_alive_s)
