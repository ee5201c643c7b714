"""Frames on the socket between runner and model process.

    message = size:u32le stamp_us:u64le frame

The stamp is a reading of the machine's monotonic clock, which both sides share: towards the model process, when the
batch reached the runner (its deadlines count from there); back, when its computation began.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from typing import Final

from vtsserving.exceptions import BadFrame

PREFIX: Final = struct.Struct("<IQ")
MAX_FRAME_BYTES: Final = 1 << 30
"""Largest frame on the socket; far above what any bus carries."""

_CHUNK_BYTES: Final = 256 * 1024


def now_us() -> int:
    """The shared clock, in microseconds."""
    return time.monotonic_ns() // 1_000


def check_size(size_bytes: int) -> None:
    """Refuse a frame that is too large to be one; BadFrame."""
    if size_bytes > MAX_FRAME_BYTES:
        raise BadFrame(f"a frame of {size_bytes} bytes on the socket of a model process")


class BlockingLink:
    """The model process's end: reads and writes wait."""

    def __init__(self, sock: socket.socket) -> None:
        """Take over a connected stream socket."""
        self._socket = sock
        self._rest = bytearray()

    def receive(self) -> tuple[int, bytearray] | None:
        """Wait for one message.

        Returns:
            (stamp_us, frame), the frame in memory of its own; None when the runner is gone.

        Raises:
            BadFrame: the announced size is impossible.
        """
        while len(self._rest) < PREFIX.size:
            data = self._socket.recv(_CHUNK_BYTES)
            if not data:
                return None
            self._rest += data
        size_bytes, stamp_us = PREFIX.unpack_from(self._rest)
        check_size(size_bytes)
        end = PREFIX.size + size_bytes
        if len(self._rest) >= end:
            frame = self._rest[PREFIX.size : end]
            del self._rest[:end]
            return stamp_us, frame
        frame = bytearray(size_bytes)
        got = len(self._rest) - PREFIX.size
        frame[:got] = memoryview(self._rest)[PREFIX.size :]
        self._rest = bytearray()
        with memoryview(frame) as view:
            while got < size_bytes:
                count = self._socket.recv_into(view[got:])
                if not count:
                    return None
                got += count
        return stamp_us, frame

    def send(self, stamp_us: int, frame: bytes) -> None:
        """Send one message; waits until the socket has taken it."""
        prefix = PREFIX.pack(len(frame), stamp_us)
        if len(frame) > _CHUNK_BYTES:
            self._socket.sendall(prefix)
            self._socket.sendall(frame)
        else:
            self._socket.sendall(prefix + frame)


class Assembler:
    """The runner's end: cuts what was read into messages, without waiting."""

    def __init__(self) -> None:
        """Start without bytes."""
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._needed_bytes = PREFIX.size

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Messages that are complete with `data`.

        Args:
            data: what was read, cut anywhere.

        Yields:
            (stamp_us, frame).

        Raises:
            BadFrame: an announced size is impossible.
        """
        if self._parts:
            self._parts.append(data)
            self._held_bytes += len(data)
            if self._held_bytes < self._needed_bytes:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        position, end = 0, len(data)
        while True:
            start = position + PREFIX.size
            if start > end:
                self._needed_bytes = PREFIX.size
                break
            size_bytes, stamp_us = PREFIX.unpack_from(data, position)
            check_size(size_bytes)
            if start + size_bytes > end:
                self._needed_bytes = PREFIX.size + size_bytes
                break
            position = start + size_bytes
            yield stamp_us, data[start:position]
        if position < end:
            self._parts.append(data[position:])
            self._held_bytes = end - position
