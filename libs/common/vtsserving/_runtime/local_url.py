"""Where a client on this machine reaches what listens on an address; imports nothing, for health checks use it."""

from __future__ import annotations

from typing import Final

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Addresses that stand for all of this machine's."""


def reachable(host: str) -> str:
    """The address to connect to.

    Args:
        host: address that is listened on; empty for the default.
    """
    return _LOOPBACK.get(host, host)


def local_url(host: str, port: int) -> str:
    """The URL of a server, without a path.

    Args:
        host: address that it listens on; empty for the default.
        port: where it listens.
    """
    name = reachable(host)
    return f"http://{f'[{name}]' if ':' in name else name}:{port}"
