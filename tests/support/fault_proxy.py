"""A TCP proxy that breaks connections on demand: delay, stall, reset, truncate, flip a bit."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Final

_CHUNK_BYTES: Final = 64 * 1024
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


@dataclass
class Faults:
    """What the proxy does to connections; may be changed at any time.

    Attributes:
        refuse: all connections are closed at once.
        delay_s: before each piece of an answer.
        reset_after_bytes: of an answer, the connection is reset.
        truncate_after_bytes: of an answer, the connection is closed as if all were well.
        reset_request_after_bytes: of a request, the connection is reset.
        stall_after_bytes: of an answer, nothing comes any more.
        flip_at_byte: of an answer, one bit is turned over.
        times: how many more connections are harmed; None means all.
    """

    refuse: bool = False
    delay_s: float = 0.0
    reset_after_bytes: int | None = None
    truncate_after_bytes: int | None = None
    reset_request_after_bytes: int | None = None
    stall_after_bytes: int | None = None
    flip_at_byte: int | None = None
    times: int | None = None

    def take(self) -> Faults:
        """The faults for a new connection."""
        if self.times is not None:
            if self.times == 0:
                return Faults()
            self.times -= 1
        return self


class FaultProxy:
    """Passes connections on to a server."""

    def __init__(self, target_port: int) -> None:
        self.faults = Faults()
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.connections = 0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> FaultProxy:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in list(self._threads):
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            if not select.select([self._listener], [], [], 0.02)[0]:
                continue
            client, _ = self._listener.accept()
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        if self.faults.refuse:
            client.close()
            return
        faults = self.faults.take()
        with client, contextlib.suppress(OSError):
            server = socket.create_connection(("127.0.0.1", self._target_port))
            with server:
                self._pass_on(client, server, faults)

    def _pass_on(self, client: socket.socket, server: socket.socket, faults: Faults) -> None:
        sent = received = 0
        while not self._ended.is_set() and not self.faults.refuse:
            readable = select.select([client, server], [], [], 0.02)[0]
            if client in readable:
                piece = client.recv(_CHUNK_BYTES)
                if not piece:
                    return
                received += len(piece)
                server.sendall(piece)
                if _reached(faults.reset_request_after_bytes, received):
                    _reset(client)
                    return
            if server in readable:
                piece = server.recv(_CHUNK_BYTES)
                if not piece:
                    return
                if faults.delay_s:
                    time.sleep(faults.delay_s)
                if not self._answer(client, piece, sent, faults):
                    return
                sent += len(piece)

    def _answer(self, client: socket.socket, piece: bytes, sent: int, faults: Faults) -> bool:
        """Send a piece of an answer; returns whether the connection goes on."""
        at = faults.flip_at_byte
        if at is not None and sent <= at < sent + len(piece):
            changed = bytearray(piece)
            changed[at - sent] ^= 1
            piece = bytes(changed)
        for limit, end in (
            (faults.reset_after_bytes, _reset),
            (faults.truncate_after_bytes, socket.socket.close),
            (faults.stall_after_bytes, self._stall),
        ):
            if limit is not None and sent + len(piece) > limit:
                client.sendall(piece[: max(0, limit - sent)])
                end(client)
                return False
        client.sendall(piece)
        return True

    def _stall(self, client: socket.socket) -> None:
        """Keep the connection open and silent until the client leaves."""
        while not self._ended.is_set():
            if select.select([client], [], [], 0.02)[0] and not client.recv(1, socket.MSG_PEEK):
                return


def _reached(limit: int | None, count: int) -> bool:
    return limit is not None and count > limit


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    client.close()
