"""A nats-server of our own, for `serve --workers`: on loopback, on a free port, with a password nobody else knows."""

from __future__ import annotations

import asyncio
import secrets
import socket
import tempfile
from pathlib import Path

from vtsserving.exceptions import MissingDependency
from vtsserving_embedded.child_process import end
from vtsserving_embedded.nats_binary import find_nats_server

_CONFIG = """\
listen: "127.0.0.1:{port}"
max_payload: 8MB
authorization {{ user: "{user}", password: "{password}" }}
"""

USER = "vtsserving"
STOP_TIMEOUT_S = 5.0


class NatsChild:
    """One nats-server as a child process.

    Attributes:
        url: where it listens.
        password: of the user `vtsserving`.
    """

    def __init__(self) -> None:
        """Choose port and password; nothing runs before `start`."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._port = port
        self.url = f"nats://127.0.0.1:{port}"
        self.password = secrets.token_urlsafe(24)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; whoever connects waits until it takes connections.

        Raises:
            MissingDependency: nats-server is not installed.
        """
        try:
            binary = find_nats_server()
        except MissingDependency as error:
            raise MissingDependency(
                f"--workers: {error.message}; or name a running one: --nats URL"
            ) from error
        # The folder is private (0700): the configuration holds the password, which a command line would show.
        self._folder = tempfile.TemporaryDirectory(prefix="vtsserving-nats-")
        config = Path(self._folder.name) / "nats-server.conf"
        config.write_text(_CONFIG.format(port=self._port, user=USER, password=self.password))
        self._process = await asyncio.create_subprocess_exec(
            binary, "-c", str(config), stderr=asyncio.subprocess.DEVNULL, start_new_session=True
        )

    async def stop(self) -> None:
        """End it and remove its files."""
        if self._process is not None:
            await end(self._process, STOP_TIMEOUT_S)
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
