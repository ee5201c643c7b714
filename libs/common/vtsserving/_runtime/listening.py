"""Opening the port of a service, or saying in one line why it cannot be opened."""

from __future__ import annotations

import os
import socket

from vtsserving.exceptions import ConfigurationError


def listen(host: str, port: int, *, backlog: int) -> socket.socket:
    """A listening socket, non-blocking.

    Args:
        host: address to bind, of IPv4 or IPv6.
        port: to bind; 0 picks a free one.
        backlog: how many connections may wait to be accepted.

    Raises:
        ConfigurationError: the port is taken, or the address is none of this machine.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise cannot_listen(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", error) from error
    listener.setblocking(False)
    return listener


def cannot_listen(place: str, error: OSError) -> ConfigurationError:
    """What to raise when a place cannot be listened on.

    Args:
        place: an address with its port, or a descriptor.
        error: why; of a name that is unknown, its number is negative and its text all there is.
    """
    known = error.errno is not None and error.errno > 0
    return ConfigurationError(
        f"cannot listen on {place}: {os.strerror(error.errno or 0) if known else error}"
    )
