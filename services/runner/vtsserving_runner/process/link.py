"""The runner's side of a model process that runs: frames out and in, and its end, reported once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from vtsserving._wire import frames
from vtsserving.exceptions import BadFrame, ProtocolError
from vtsserving_runner.process.busy_poll import BusyPollLoop
from vtsserving_runner.process.framing import INLINE, PREFIX, Assembler, Prefix
from vtsserving_runner.process.launch import Child, Launch
from vtsserving_runner.process.shm_ring import Ring

_log = logging.getLogger(__name__)

JOIN_BYTES: Final = 64 * 1024
"""Frames up to this size are joined with their prefix, at the price of a copy; larger ones are written apart."""

EOF_WAIT_S: Final = 1.0
"""How long what a dead process wrote may take to be read."""

OnFrame = Callable[[int, frames.Frame], None]
OnEnd = Callable[[int], None]


class Link(asyncio.Protocol):
    """One child process with its socket. `on_end` is called once, after the last frame."""

    def __init__(self, launch: Launch, on_frame: OnFrame, on_end: OnEnd) -> None:
        """Start a model process; `connect` follows.

        Args:
            launch: what to start.
            on_frame: called with (stamp_us, frame) for each frame that the process sends; its bodies hold only
                until it returns.
            on_end: called with the exit status, negative for a signal, when the process has ended.

        Raises:
            OSError: the system refuses to start it.
        """
        self.child = Child(launch)
        self._outgoing: Ring | None
        self._incoming: Ring | None
        self._outgoing, self._incoming = self.child.rings or (None, None)
        self._unreleased = 0
        self._on_frame = on_frame
        self._on_end = on_end
        self._assembler = Assembler()
        self._loop = asyncio.get_running_loop()
        self._wakeful = BusyPollLoop(self._loop, launch.poll_us)
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self._status: int | None = None
        self.ended: asyncio.Future[int] = self._loop.create_future()
        threading.Thread(target=self._watch, name=f"model-process-{self.child.pid}", daemon=True).start()

    async def connect(self) -> None:
        """Begin to read from the process and to write to it."""
        try:
            await self._loop.create_unix_connection(lambda: self, sock=self.child.socket)
        except BaseException:
            self._closed = True
            self.child.socket.close()
            self.kill()
            raise

    def send(self, stamp_us: int, frame: bytes, *, hurry: bool = False) -> None:
        """Write one frame; never waits. What a process that ended does not read is lost, as its `on_end` says.

        Args:
            stamp_us: see framing.
            frame: what to send.
            hurry: stay awake for the answer, if answers come fast; see polling.
        """
        transport = self._transport
        if transport is None or self._closed:
            return
        released, self._unreleased = self._unreleased, 0
        slot = self._outgoing.write((frame,), len(frame)) if self._outgoing is not None else None
        prefix = PREFIX.pack(len(frame), INLINE if slot is None else slot, released, stamp_us)
        if slot is not None:
            transport.write(prefix)
        elif len(frame) > JOIN_BYTES:
            transport.write(prefix)
            transport.write(frame)
        else:
            transport.write(prefix + frame)
        if hurry:
            self._wakeful.begin()

    def kill(self) -> None:
        """End the process and what it started, at once; `on_end` follows."""
        self.child.kill()

    # --- asyncio.Protocol ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Hand on what is complete; a process that sends what it should not is ended."""
        self._wakeful.end()
        try:
            for prefix, frame in self._assembler.feed(data):
                self._receive(prefix, frame)
        except ProtocolError:
            _log.exception("model_process_sent_no_frame", extra={"pid": self.child.pid})
            self.kill()
        except Exception:
            # A bug on our side: without its answer the batch would wait for ever, so it is treated as a crash.
            _log.exception("frame_handler_raised", extra={"pid": self.child.pid})
            self.kill()

    def _receive(self, prefix: Prefix, inline: bytes) -> None:
        if self._outgoing is not None:
            self._outgoing.released(prefix.released)
        if prefix.slot == INLINE:
            self._on_frame(prefix.stamp_us, frames.decode(inline))
            return
        if self._incoming is None:
            raise BadFrame("a shared frame without shared memory")
        # What the handler keeps of a frame it has copied when it returns.
        self._on_frame(prefix.stamp_us, frames.decode(self._incoming.read(prefix.slot, prefix.size_bytes)))
        self._unreleased += 1

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more comes; a process without its socket is of no use."""
        self._closed = True
        if self._status is None:
            self.kill()
        self._finish()

    # --- end ---------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        status = self.child.wait()
        try:
            self._loop.call_soon_threadsafe(self._exited, status)
        except RuntimeError:
            return  # the loop is closed: nobody asks any more

    def _exited(self, status: int) -> None:
        self._status = status
        self._loop.call_later(EOF_WAIT_S, self._abort)
        self._finish()

    def _abort(self) -> None:
        if not self._closed and self._transport is not None:
            self._transport.abort()

    def _finish(self) -> None:
        """Report the end when the exit status is known and everything was read."""
        if self._status is None or not self._closed or self.ended.done():
            return
        self.ended.set_result(self._status)
        self._on_end(self._status)
