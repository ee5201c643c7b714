"""`vtsserving.serve(...)`: what `vtsserving serve` does, started from Python and held by a handle.

The server runs in a child process with this interpreter, so nothing of it (event loop, signal handlers, models) is in
the caller's process, and this module imports no service.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from vtsserving import _clock
from vtsserving._embedded.report import MAX_REPORT_BYTES, Ready, parse
from vtsserving._local_store.home import home
from vtsserving.client.sync_client import Client
from vtsserving.exceptions import DeadlineExceeded, InvalidArgument, ServerEnded, VtsServingException

START_TIMEOUT_S: Final = 300.0
"""How long `serve` waits until the models are loaded, seconds; large models from slow disks take minutes."""

STOP_TIMEOUT_S: Final = 40.0
"""How long `stop` waits for requests under way, seconds; above the server's own grace period and drain time."""

LOG_LINES: Final = 15
"""Lines at the end of the log that an error carries."""

_LOG_TAIL_BYTES: Final = 16 * 1024

_running: set[Server] = set()


class Server:
    """A server in a child process; stops when it is told to, or when this process ends.

        with vtsserving.serve("iris_clf:latest", port=0) as server:
            server.client().predict("iris_clf:latest", rows)

    Attributes:
        url: its address, such as "http://127.0.0.1:3000".
        serving: exact tags of the models loaded at start, then the Service if there is one.
        log_file: what the server writes; kept after it has stopped.
    """

    def __init__(self, process: subprocess.Popen[bytes], ready: Ready, log_file: Path) -> None:
        self.url = ready.url
        self.serving = ready.serving
        self.log_file = log_file
        self._process = process
        self._started_by = os.getpid()
        _running.add(self)

    def __repr__(self) -> str:
        state = "" if self.running else ", stopped"
        return f"Server({self.url!r}, serving={', '.join(self.serving)}{state})"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the child process."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the child process is alive."""
        return self._process.poll() is None

    def client(self, **options: Any) -> Client:
        """A client of this server.

        Args:
            options: of `vtsserving.Client`, such as `timeout` (seconds) or `token`.
        """
        return Client(self.url, **options)

    def log(self, lines: int = LOG_LINES) -> str:
        """The last lines that the server wrote.

        Args:
            lines: how many at most.
        """
        return _tail(self.log_file, lines)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Finish the requests under way and end the server; does nothing when it has ended.

        Args:
            timeout_s: a server that takes longer, in seconds, is killed.
        """
        _end(self._process, timeout_s)
        _running.discard(self)


def serve(
    *targets: str,
    model: str | Sequence[str] = (),
    service: str | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    nats: str | None = None,
    log_file: str | os.PathLike[str] | None = None,
    timeout_s: float = START_TIMEOUT_S,
) -> Server:
    """Serve models of the local store, or a Service, over HTTP from a child process.

        server = vtsserving.serve("iris_clf:latest", port=0)
        server.client().predict("iris_clf:latest", [[5.9, 3.0, 5.1, 1.8]])
        server.stop()

    The child uses this interpreter, working directory, environment and VTSSERVING_HOME. It ends with this process,
    however that ends.

    Args:
        targets: models such as "iris_clf:latest", or one Service such as "service.py:svc".
        model: a model, or several, where a name may be both.
        service: a Service, where a name may be both.
        host: address to listen on; 127.0.0.1 by default.
        port: port to listen on, 3000 by default; 0 picks a free one.
        workers: gateway processes; needs nats-server, or `nats`. One process for everything by default.
        nats: a running nats-server for `workers`, such as "nats://127.0.0.1:4222".
        log_file: where the server writes its log, appended to; a new file in the temporary directory by default.
        timeout_s: longest wait until the server is ready, seconds.

    Returns:
        The handle of a server that takes requests.

    Raises:
        InvalidArgument: there is nothing to serve, or an argument is impossible.
        VtsServingException: the server's own error, such as ModelNotFound, ModelLoadFailed or ConfigurationError (the
            port is taken); the message ends with the last lines of its log.
        ServerEnded: it ended before it was ready, without a reason of its own.
        DeadlineExceeded: it was not ready within `timeout_s`.
    """
    arguments = _arguments(targets, model, service, host, port, workers, nats)
    path = Path(log_file) if log_file is not None else _new_log()
    path.parent.mkdir(parents=True, exist_ok=True)
    reading, writing = os.pipe()
    try:
        with path.open("ab") as log:
            process = _start(arguments, writing, log)
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        ready = _await_report(process, reading, path, timeout_s)
    except BaseException:
        # Ctrl-C in a notebook included: a server that nobody holds is of no use.
        _end(process, 0.0)
        raise
    finally:
        os.close(reading)
    return Server(process, ready, path)


def _arguments(
    targets: Sequence[str],
    model: str | Sequence[str],
    service: str | None,
    host: str | None,
    port: int | None,
    workers: int | None,
    nats: str | None,
) -> list[str]:
    """The command line of `python -m vtsserving_embedded`."""
    for target in (*targets, service or ""):
        if not isinstance(target, str):
            raise InvalidArgument(
                f"serve() takes names, not a {type(target).__name__}: a tag such as 'iris_clf:latest', or the place of "
                "a Service such as 'service.py:svc', which the server imports itself"
            )
    models = [model] if isinstance(model, str) else list(model)
    options = {"service": service, "host": host, "port": port, "workers": workers, "nats": nats}
    arguments = [f"--{name}={value}" for name, value in options.items() if value is not None]
    arguments += [f"--model={name}" for name in models]
    return [*arguments, "--", *targets]


def _start(arguments: list[str], report: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vtsserving_embedded"]
    # A session of its own: an interrupt of a notebook's cell or a Ctrl-C at the terminal is not meant for the server.
    return subprocess.Popen(
        [*command, f"--report-fd={report}", f"--parent={os.getpid()}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "VTSSERVING_HOME": str(home())},
        pass_fds=(report,),
        start_new_session=True,
    )


def _await_report(process: subprocess.Popen[bytes], pipe: int, log_file: Path, timeout_s: float) -> Ready:
    deadline_s = _clock.monotonic_s() + timeout_s
    raw = b""
    while not raw.endswith(b"\n") and len(raw) < MAX_REPORT_BYTES:
        left_s = deadline_s - _clock.monotonic_s()
        if left_s <= 0 or not select.select([pipe], [], [], left_s)[0]:
            raise DeadlineExceeded(
                _with_log(
                    f"the server was not ready within {timeout_s:g} s; a larger timeout_s waits longer",
                    log_file,
                )
            )
        piece = os.read(pipe, MAX_REPORT_BYTES)
        if not piece:
            break
        raw += piece
    report = parse(raw)
    if isinstance(report, Ready):
        return report
    _end(process, STOP_TIMEOUT_S)
    if report is None:
        raise ServerEnded(
            _with_log(f"the server {_ending(process.returncode)} before it was ready", log_file)
        )
    raise _explained(report, log_file)


def _explained(error: VtsServingException, log_file: Path) -> VtsServingException:
    """The server's error with the end of its log."""
    error.args = (_with_log(error.message, log_file),)
    return error


def _with_log(message: str, log_file: Path) -> str:
    tail = _tail(log_file, LOG_LINES)
    return f"{message}\nThe end of {log_file}:\n{tail}" if tail else message


def _tail(path: Path, lines: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _new_log() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="vtsserving-serve-", suffix=".log")
    os.close(descriptor)
    return Path(name)


def _end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """End a child: by SIGTERM, and by SIGKILL when it takes longer than `timeout_s` seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


@atexit.register
def _stop_all() -> None:
    """End the servers of this process when the program ends; those of a forked copy's parent stay."""
    for server in list(_running):
        if server._started_by == os.getpid():
            server.stop()
