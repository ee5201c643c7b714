"""A model process of a run: loads the model, then answers chunks until the run is gone.

Started as `python -m vtsserving._scoring.worker --fd N --parent PID`, with one end of a socketpair and an environment
without credentials, because loading a model runs its author's code.

    message = head_bytes:u64le body_bytes:u64le [head: msgpack] [body]
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgpack

from vtsserving._local_store.store import LocalStore
from vtsserving._runtime import allocator
from vtsserving._scoring.answering import Answered, FailedRow, described
from vtsserving._scoring.chunks import decoded
from vtsserving._scoring.local_model import Answering, known_locally, loaded_call
from vtsserving.exceptions import VtsServingException

_SIZES: Final = struct.Struct("<QQ")
_PR_SET_PDEATHSIG: Final = 1


class Pipe:
    """One end of the connection between a run and a model process; reads and writes wait."""

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected stream socket."""
        self._socket = connection
        self._reader = connection.makefile("rb", buffering=1 << 20)

    def send(self, head: Mapping[str, Any], body: bytes = b"") -> None:
        """Write one message.

        Raises:
            OSError: the other side is gone.
        """
        packed = msgpack.packb(head)
        self._socket.sendall(_SIZES.pack(len(packed), len(body)) + packed)
        if body:
            self._socket.sendall(body)

    def receive(self) -> tuple[dict[str, Any], bytes] | None:
        """Wait for one message; None when the other side is gone."""
        try:
            sizes = self._reader.read(_SIZES.size)
            if len(sizes) < _SIZES.size:
                return None
            head_bytes, body_bytes = _SIZES.unpack(sizes)
            head, body = self._reader.read(head_bytes), self._reader.read(body_bytes)
        except (OSError, ValueError):  # ValueError: this side closed it meanwhile
            return None
        if len(head) < head_bytes or len(body) < body_bytes:
            return None
        return msgpack.unpackb(head, strict_map_key=False), body

    def close(self) -> None:
        """Close it; the other side reads its end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.close()
        self._socket.close()


def head_of(answered: Answered) -> dict[str, Any]:
    """The head of a message that has the encoded answers as its body."""
    names = None if answered.names is None else list(answered.names)
    return {"rows": answered.rows, "names": names, "failed": [list(row) for row in answered.failed]}


def answered_of(head: Mapping[str, Any], data: bytes) -> Answered:
    """The reverse of `head_of`."""
    names = None if head["names"] is None else tuple(head["names"])
    return Answered(head["rows"], names, data, tuple(FailedRow(*row) for row in head["failed"]))


def main(argv: list[str] | None = None) -> int:
    """Answer chunks.

    Args:
        argv: `--fd` (the socket) and `--parent` (the run's pid).

    Returns:
        The exit status: 0 when the run closed the socket, 1 when the model cannot be loaded.
    """
    parser = argparse.ArgumentParser(prog="vtsserving._scoring.worker")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    given = parser.parse_args(argv)
    _end_with(given.parent)
    allocator.keep_freed_memory()
    pipe = Pipe(socket.socket(fileno=given.fd))
    message = pipe.receive()
    if message is None:
        return 0
    setup = message[0]
    try:
        model = LocalStore().get(setup["tag"])
        known = known_locally(model, setup["method"])
        answerer = Answering.from_dict(setup["answering"]).answerer(known, loaded_call(model, known.method))
    except BaseException as error:  # the author's code may raise anything, SystemExit included
        pipe.send({"error": list(described(error))})
        return 1
    pipe.send({"ready": True})
    while (message := pipe.receive()) is not None:
        head, body = message
        names = None if head["names"] is None else tuple(head["names"])
        try:
            chunk = decoded(body, setup["kind"], head["rows"], setup["layout"])
            answered = answerer.answer(chunk, names)
        except VtsServingException as error:
            pipe.send({"error": [error.wire_code, error.message]})
            continue
        pipe.send(head_of(answered), answered.data)
    return 0


def _end_with(parent_pid: int) -> None:
    """End with the run, even in the middle of a call, and keep standard output free for it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)
    faulthandler.enable()
    os.dup2(2, 1)
    # Ctrl-C is for the run, which closes the socket.
    signal.signal(signal.SIGINT, lambda *_: None)


if __name__ == "__main__":
    # Without Python's own clean-up: a model's threads must not keep the child of a dead run alive.
    status = 1
    try:
        status = main()
    finally:
        sys.stderr.flush()
        os._exit(status)
