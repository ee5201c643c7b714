"""Frames between runner and model process, on a socket and beside it.

    message = size:u32le slot:u16le released:u16le stamp_us:u64le [frame]

A frame follows its prefix, unless `slot` names the place where it lies in shared memory. `released` counts the shared
frames that the sender has finished reading since its last message. The stamp is a reading of the machine's monotonic
clock, which both sides share: towards the model process, when the batch reached the runner (its deadlines count from
there); back, when its computation began.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from vtsserving import _clock
from vtsserving._wire import frames
from vtsserving._wire.frames import Buffer
from vtsserving.exceptions import BadFrame
from vtsserving_runner.process.busy_poll import Polling
from vtsserving_runner.process.shm_ring import SLOT_BYTES, SLOTS, Ring

PREFIX: Final = struct.Struct("<IHHQ")
INLINE: Final = 0xFFFF
"""In place of a slot: the frame follows."""

MAX_FRAME_BYTES: Final = 1 << 30
"""Largest frame on the socket; far above what any bus carries."""


class Prefix(NamedTuple):
    """What precedes each frame; see the module."""

    size_bytes: int
    slot: int
    released: int
    stamp_us: int

    @classmethod
    def read(cls, data: Buffer, position: int = 0) -> Prefix:
        """Read and check a prefix; BadFrame if it is impossible."""
        prefix = cls(*PREFIX.unpack_from(data, position))
        if prefix.slot == INLINE:
            if prefix.size_bytes > MAX_FRAME_BYTES:
                raise BadFrame(f"a frame of {prefix.size_bytes} bytes on the socket of a model process")
        elif prefix.slot >= SLOTS or prefix.size_bytes > SLOT_BYTES:
            raise BadFrame("a frame beyond the shared memory of a model process")
        return prefix

    @property
    def follows_bytes(self) -> int:
        """Bytes of the frame that come through the socket."""
        return self.size_bytes if self.slot == INLINE else 0


def now_us() -> int:
    """The shared clock, in microseconds."""
    return _clock.monotonic_ns() // 1_000


class BlockingLink:
    """The model process's end: reads and writes wait."""

    def __init__(
        self,
        sock: socket.socket,
        incoming: Ring | None = None,
        outgoing: Ring | None = None,
        *,
        poll_us: int = 0,
    ) -> None:
        """Take over a connected stream socket.

        Args:
            sock: the connection.
            incoming: shared memory towards this side, if there is any.
            outgoing: the same away from it.
            poll_us: how long to look for the next message before sleeping, microseconds, while messages come
                that fast; see `polling`.
        """
        self._socket = sock
        self._polling = Polling(poll_us)
        self._incoming = incoming
        self._outgoing = outgoing
        self._rest = bytearray()
        self._unreleased = 0

    def receive(self) -> tuple[int, Buffer] | None:
        """Wait for one message.

        Returns:
            (stamp_us, frame); the frame holds until `finish`. None when the runner is gone.

        Raises:
            BadFrame: the message is impossible.
        """
        while len(self._rest) < PREFIX.size:
            data = self._polling.receive(self._socket)
            if not data:
                return None
            self._rest += data
        prefix = Prefix.read(self._rest)
        if self._outgoing is not None:
            self._outgoing.released(prefix.released)
        if prefix.slot != INLINE:
            del self._rest[: PREFIX.size]
            if self._incoming is None:
                raise BadFrame("a shared frame without shared memory")
            self._unreleased += 1
            return prefix.stamp_us, self._incoming.read(prefix.slot, prefix.size_bytes)
        frame = self._rest_of(prefix.size_bytes)
        return None if frame is None else (prefix.stamp_us, frame)

    def _rest_of(self, size_bytes: int) -> bytearray | None:
        end = PREFIX.size + size_bytes
        if len(self._rest) >= end:
            frame = self._rest[PREFIX.size : end]
            del self._rest[:end]
            return frame
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
        return frame

    def send(self, stamp_us: int, frame: frames.Frame, *, finish: bool = False) -> None:
        """Send one message; waits until the socket has taken it.

        Args:
            stamp_us: see the module.
            frame: what to send.
            finish: whether the received frames are not needed any more.
        """
        released = 0
        if finish:
            released, self._unreleased = self._unreleased, 0
        parts = frames.encode_parts(frame)
        size_bytes = sum(map(len, parts))
        slot = self._outgoing.write(parts, size_bytes) if self._outgoing is not None else None
        prefix = PREFIX.pack(size_bytes, INLINE if slot is None else slot, released, stamp_us)
        self._socket.sendall(prefix if slot is not None else b"".join((prefix, *parts)))


class Assembler:
    """The runner's end: cuts what was read into messages, without waiting."""

    def __init__(self) -> None:
        """Start without bytes."""
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._needed_bytes = PREFIX.size

    def feed(self, data: bytes) -> Iterator[tuple[Prefix, bytes]]:
        """Messages that are complete with `data`.

        Args:
            data: what was read, cut anywhere.

        Yields:
            (prefix, frame); the frame is empty when it lies in shared memory.

        Raises:
            BadFrame: a message is impossible.
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
            prefix = Prefix.read(data, position)
            stop = start + prefix.follows_bytes
            if stop > end:
                self._needed_bytes = stop - position
                break
            position = stop
            yield prefix, data[start:stop]
        if position < end:
            self._parts.append(data[position:])
            self._held_bytes = end - position
