"""A real nats-server for tests: on a free port, and on the same port again after it was killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from vtsserving_embedded.nats_binary import find_nats_server

OLDEST: Final = "2.10.25"
"""The oldest version that the tests of the bus run on; `scripts/nats_server.sh oldest` downloads it."""

BINARY_VARIABLE: Final = "VTSSERVING_TEST_NATS_SERVER"
"""Names the executable that tests run in place of the product's choice."""

MAX_PAYLOAD_BYTES: Final = 8 * 1024 * 1024
START_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.005

_CONFIG = """\
listen: "127.0.0.1:{port}"
max_payload: {max_payload}
write_deadline: "10s"
{extra}
"""


def oldest_nats_server() -> Path:
    """The executable of the oldest version."""
    binary = (
        Path(__file__).resolve().parents[2]
        / "build"
        / "tools"
        / f"nats-server-{OLDEST}"
        / "bin"
        / "nats-server"
    )
    assert binary.exists(), f"nats-server {OLDEST} is not here; run: scripts/nats_server.sh oldest"
    return binary


class NatsServer:
    """One nats-server process. Use it as a context manager, or call `start` and `stop`.

    Attributes:
        port: chosen by the server at its first start, kept afterwards.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_payload: int = MAX_PAYLOAD_BYTES,
        extra: str = "",
        config: Path | None = None,
        binary: Path | None = None,
    ) -> None:
        """Create it, not started.

        Args:
            folder: an existing folder of the test's own; configuration and log go there.
            max_payload: in bytes.
            extra: more lines of configuration, such as authorization or tls.
            config: a whole configuration to run with, but for address and port, instead of the above.
            binary: the executable; None takes the one that BINARY_VARIABLE names, else what the product would start.
        """
        self.port = -1
        self._given = config
        self._binary = binary
        self._config = folder / "nats-server.conf"
        self._log = folder / "nats-server.log"
        self._max_payload = max_payload
        self._extra = extra
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and return when it takes connections."""
        argv = self.command()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while "Server is ready" not in (text := self._log.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.kill()
                raise AssertionError(f"nats-server did not start:\n{text}")
            time.sleep(_POLL_S)
        found = re.search(r"client connections on \S+:(\d+)", text)
        assert found, text
        self.port = int(found.group(1))

    def command(self) -> list[str]:
        """Write the configuration and return the command line, for those who run it in another way."""
        named = self._binary or os.environ.get(BINARY_VARIABLE)
        binary = str(named or find_nats_server())
        if self._given is not None:
            return [binary, "-c", str(self._given), "-a", "127.0.0.1", "-p", str(self.port)]
        self._config.write_text(
            _CONFIG.format(port=self.port, max_payload=self._max_payload, extra=self._extra)
        )
        return [binary, "-c", str(self._config)]

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in an orderly way."""
        self._end(signal.SIGTERM)

    def suspend(self) -> None:
        """Let it hang: sockets stay open, nothing is answered. Returns when it has stopped."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        """End the hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(timeout=START_TIMEOUT_S)
            self._process = None

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
