"""A port of 127.0.0.1 that swallows connections, as an address does that no machine has any more."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Final

_FILLERS: Final = 8
"""More connections than the queue of the listening socket holds, so that the kernel answers no further one."""


@contextlib.contextmanager
def silent_port() -> Iterator[int]:
    """A port where connecting neither works nor fails."""
    with contextlib.ExitStack() as sockets:
        listening = sockets.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(_FILLERS):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listening.getsockname())
        yield int(listening.getsockname()[1])
