"""Asks a service for its health: `python -m vtsserving_gateway health` and its kind, for the checks of containers.

An engine runs this every few seconds in every container, so it imports next to nothing: the services' own modules
would cost a second of processor time each time.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Final

from vtsserving._runtime.local_url import local_url, reachable

CHECK_TIMEOUT_S: Final = 3.0
READY_PATH: Final = "/readyz"
DEFAULT_PORTS: Final = {"gateway": 3000, "store": 3001, "batcher": 3002, "runner": 3003}
"""Of the services; their settings say the same, which a test compares."""

_HEAD_BYTES: Final = 4_096


def check_service(service: str) -> int:
    """Ask the service that the environment describes whether it is ready.

    Args:
        service: gateway, store, batcher or runner.

    Returns:
        0 when it is, otherwise 1, with the reason in one line on standard error.
    """
    prefix = f"VTSSERVING_{service.upper()}__"
    host = os.environ.get(f"{prefix}HOST", "")
    port = os.environ.get(f"{prefix}PORT") or str(DEFAULT_PORTS[service])
    if not port.isdecimal():
        print(f"{prefix}PORT is {port!r}, which is no port", file=sys.stderr)
        return 1
    return health_check(reachable(host), int(port))


def health_check(host: str, port: int, *, timeout_s: float = CHECK_TIMEOUT_S) -> int:
    """Ask `/readyz` of a service.

    Args:
        host: where it listens.
        port: where it listens.
        timeout_s: longest wait for the connection, and again for the answer, in seconds.

    Returns:
        0 when it answered 200, otherwise 1, with the reason in one line on standard error.
    """
    url = local_url(host, port) + READY_PATH
    try:
        status = _status(host, port, timeout_s)
    except (OSError, ValueError, IndexError) as error:
        print(f"{url} does not answer: {error}", file=sys.stderr)
        return 1
    if status != 200:
        print(f"{url} answered {status}", file=sys.stderr)
        return 1
    return 0


def _status(host: str, port: int, timeout_s: float) -> int:
    with socket.create_connection((host, port), timeout_s) as connection:
        connection.sendall(
            f"GET {READY_PATH} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n" not in head and len(head) < _HEAD_BYTES:
            received = connection.recv(_HEAD_BYTES)
            if not received:
                break
            head += received
    version, status, *_ = head.split(b"\r\n", 1)[0].split()
    if not version.startswith(b"HTTP/1."):
        raise ValueError("that is not HTTP")
    return int(status)
