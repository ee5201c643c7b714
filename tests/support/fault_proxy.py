"""A TCP proxy that breaks connections on demand: delay, stall, reset, truncate, flip a bit, cut."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from typing import Final

_CHUNK_BYTES: Final = 256 * 1024
_POLL_S: Final = 0.02
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass
class Faults:
    """What the proxy does to new connections; may be changed at any time.

    Attributes:
        refuse: all connections are closed at once, those that are open too.
        delay_s: before each piece of an answer.
        reset_after_bytes: of an answer, the connection is reset.
        truncate_after_bytes: of an answer, the connection is closed as if all were well.
        reset_request_after_bytes: of a request, the connection is reset.
        stall_after_bytes: of an answer, nothing comes any more.
        flip_at_byte: of an answer, one bit is turned over.
        answer: to the first request, instead of the server's; then the connection is closed.
        times: how many more connections are harmed; None means all.
    """

    refuse: bool = False
    delay_s: float = 0.0
    reset_after_bytes: int | None = None
    truncate_after_bytes: int | None = None
    reset_request_after_bytes: int | None = None
    stall_after_bytes: int | None = None
    flip_at_byte: int | None = None
    answer: bytes = b""
    times: int | None = None

    def take(self) -> Faults:
        """The faults for a new connection."""
        if self.times is not None:
            if self.times == 0:
                return Faults()
            self.times -= 1
        return self


class FaultProxy:
    """Passes connections to its own port on to a server on 127.0.0.1.

    Attributes:
        faults: of connections from now on.
        port: where it listens.
        connections: how many were made so far.
        cuts: how many were cut so far.
        received_bytes: of requests, in all connections so far.
    """

    def __init__(self, target_port: int) -> None:
        self.faults = Faults()
        self.connections = self.cuts = self.received_bytes = 0
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._open: set[_Connection] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._accept, name="proxy")

    def start(self) -> FaultProxy:
        """Begin to accept."""
        self._thread.start()
        return self

    def cut(self) -> None:
        """Reset all connections; what is under way is lost. New ones are taken."""
        for connection in list(self._open):
            self.cuts += 1
            connection.cut()

    def close(self) -> None:
        """Cut everything and listen no more."""
        self._closed = True
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._thread.join(10)
        self._listener.close()
        for connection in list(self._open):
            connection.cut()
        for connection in list(self._open):
            connection.join()

    def __enter__(self) -> FaultProxy:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.faults.refuse:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                client.close()
                continue
            connection = _Connection(self, client, server, self.faults.take())
            self._open.add(connection)
            connection.start()

    def forget(self, connection: _Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)


class _Connection:
    """One connection: a thread for each direction, so that a slow one does not hold up the other."""

    def __init__(
        self, proxy: FaultProxy, client: socket.socket, server: socket.socket, faults: Faults
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._faults = faults
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=run) for run in (self._requests, self._answers)]

    def start(self) -> None:
        for side in (self._client, self._server):
            side.setblocking(False)
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Reset both sides."""
        self._end(reset=True)

    def _leave(self) -> None:
        """Close both sides as if all were well."""
        self._end(reset=False)

    def _end(self, *, reset: bool) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            self._ended.set()
        for side in (self._client, self._server):
            with contextlib.suppress(OSError):
                if reset:
                    side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                side.close()
        self._proxy.forget(self)

    def _receive(self, side: socket.socket) -> bytes:
        """The next piece; empty when the connection ended or the proxy refuses."""
        while not self._ended.is_set() and not self._proxy.faults.refuse:
            if select.select([side], [], [], _POLL_S)[0]:
                return side.recv(_CHUNK_BYTES)
        return b""

    def _send(self, side: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._ended.is_set():
            if select.select([], [side], [], _POLL_S)[1]:
                view = view[side.send(view) :]

    def _requests(self) -> None:
        received, limit = 0, self._faults.reset_request_after_bytes
        with contextlib.suppress(OSError, ValueError):
            while piece := self._receive(self._client):
                if self._faults.answer:
                    self._send(self._client, self._faults.answer)
                    break
                received += len(piece)
                self._proxy.received_bytes += len(piece)
                self._send(self._server, piece)
                if limit is not None and received > limit:
                    self.cut()
        self._leave()

    def _answers(self) -> None:
        sent = 0
        with contextlib.suppress(OSError, ValueError):
            while piece := self._receive(self._server):
                if self._faults.delay_s:
                    time.sleep(self._faults.delay_s)
                if not self._answer(piece, sent):
                    break
                sent += len(piece)
        self._leave()

    def _answer(self, piece: bytes, sent: int) -> bool:
        """Send a piece of an answer; returns whether the connection goes on."""
        at = self._faults.flip_at_byte
        if at is not None and sent <= at < sent + len(piece):
            changed = bytearray(piece)
            changed[at - sent] ^= 1
            piece = bytes(changed)
        faults = self._faults
        for limit, end in (
            (faults.reset_after_bytes, self.cut),
            (faults.truncate_after_bytes, self._leave),
            (faults.stall_after_bytes, self._ended.wait),  # open and silent until the client leaves
        ):
            if limit is not None and sent + len(piece) > limit:
                self._send(self._client, piece[: max(0, limit - sent)])
                end()
                return False
        self._send(self._client, piece)
        return True
