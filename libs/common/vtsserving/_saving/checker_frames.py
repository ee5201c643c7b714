"""Messages between a process that saves models and its checker: a length, then one value in the form of the wire.

There is no pickle among them: what a model answers is data, as it is when the model is served.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from vtsserving.exceptions import BadFrame

_LENGTH: Final = struct.Struct("<Q")
MAX_FRAME_BYTES: Final = 2**32
_PIECE_BYTES: Final = 2**20


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send one message.

    Raises:
        OSError: the other side is gone, or the connection's timeout passed.
    """
    from vtsserving._wire.values import encode_value  # with numpy, which listing models does without

    body = encode_value(message, "message")
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(
    connection: socket.socket, before_read: Callable[[], None] = lambda: None
) -> dict[str, Any] | None:
    """Receive one message.

    Args:
        connection: to the other side.
        before_read: called before each read; it sets what is left of a timeout.

    Returns:
        The message; None when the other side is gone, were it in the middle of one.

    Raises:
        OSError: the connection's timeout passed.
        BadFrame: these are no messages.
    """
    head = _read(connection, _LENGTH.size, before_read)
    if head is None:
        return None
    (size,) = _LENGTH.unpack(head)
    if size > MAX_FRAME_BYTES:
        raise BadFrame(f"a message of {size} bytes")
    body = _read(connection, size, before_read)
    if body is None:
        return None
    from vtsserving._wire.values import decode_value

    message = decode_value(bytes(body))
    if not isinstance(message, dict):
        raise BadFrame("a message that is not a dict")
    return message


def _read(connection: socket.socket, size: int, before_read: Callable[[], None]) -> bytearray | None:
    data = bytearray()
    while len(data) < size:
        before_read()
        try:
            piece = connection.recv(min(size - len(data), _PIECE_BYTES))
        except ConnectionError:
            return None
        if not piece:
            return None
        data += piece
    return data
