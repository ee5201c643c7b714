"""The checker: loads models that were saved just now, as model processes do, and calls them.

Started as `python -m vtsserving._saving.checker_process` by a process that saves a model (see checker.py), with an
environment without credentials, since loading a model runs its author's code. It imports frameworks and nothing of the
user's; for each model it forks a child, which loads that model alone. So the second model of a framework is checked in
milliseconds, no model meets what an earlier one left behind, and one that crashes or hangs takes nothing with it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import select
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import Any, Final

from vtsserving._contract.owned import owned
from vtsserving._model.signature import method_of
from vtsserving._runtime.child_process import end_with_parent
from vtsserving._saving import checker
from vtsserving._saving.checker_frames import receive, send
from vtsserving._saving.environment import installed_versions
from vtsserving._saving.framework import Framework, load_for_serving
from vtsserving._wire.values import encode_value
from vtsserving.exceptions import VtsServingException

OPEN: Final = b"o"
"""The byte that comes with the two descriptors of a copy: its connection, and where its exit status will be."""

PARENT_CHECK_MS: Final = 2_000
_OOM_SCORE: Final = 600
_MAX_REASON_CHARS: Final = 500
_INSTALLED: Final = ("/site-packages/", "/dist-packages/")


def main(argv: list[str] | None = None) -> int:
    """Serve one process that saves models, until it is gone or asks for nothing any more.

    Args:
        argv: `--fd` (the socket), `--parent` (the other process's id), `--idle-s`.
    """
    parser = argparse.ArgumentParser(prog="vtsserving._saving.checker_process")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--idle-s", type=float, required=True)
    arguments = parser.parse_args(argv)
    # What lies in the folder of the first save is nobody's else; each model comes with a folder of its own.
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    _ForkServer(socket.socket(fileno=arguments.fd), arguments.parent, arguments.idle_s).serve()
    return 0


class _ForkServer:
    """The process that forks; it has one thread, and never loads or calls a model."""

    def __init__(self, control: socket.socket, parent: int, idle_s: float) -> None:
        self._control = control
        self._parent = parent
        self._idle_ms = int(idle_s * 1_000)
        self._children: dict[int, int] = {}
        self._woken, self._wake = os.pipe()
        for descriptor in (self._woken, self._wake):
            os.set_blocking(descriptor, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Fork children and report their ends, until there is no more use for this process."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        idle_ms = 0
        try:
            while os.getppid() == self._parent and idle_ms < self._idle_ms:
                ready = poll.poll(min(PARENT_CHECK_MS, self._idle_ms))
                self._reap()
                idle_ms = 0 if ready or self._children else idle_ms + min(PARENT_CHECK_MS, self._idle_ms)
                if any(descriptor == self._control.fileno() for descriptor, _ in ready):
                    message = receive(self._control)
                    if message is None:
                        return
                    self._obey(message)
        finally:
            for pid in self._children:
                self._kill(pid)

    def _obey(self, message: dict[str, Any]) -> None:
        _import(message["imports"])
        if message["do"] == "open":
            self._fork(message)
        elif message["do"] == "kill" and message["pid"] in self._children:
            self._kill(message["pid"])

    def _fork(self, message: dict[str, Any]) -> None:
        ours, theirs = socket.socketpair()
        status_read, status_write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # native threads of libraries, which their fork handlers know
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                for open_socket in (self._control, ours):
                    open_socket.close()
                for descriptor in (status_read, status_write, self._woken):
                    os.close(descriptor)
                _be_a_child(self._wake)
                _serve_copy(theirs, message)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        self._children[pid] = status_write
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [OPEN + pid.to_bytes(8, "little")], [ours.fileno(), status_read])
        ours.close()
        os.close(status_read)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
        for pid, status_write in list(self._children.items()):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                self._kill(pid)  # and what it started; while it is not reaped, no other group has its number
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with contextlib.suppress(OSError):
                    os.write(status_write, code.to_bytes(4, "little", signed=True))
                os.close(status_write)
                del self._children[pid]

    def _kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _be_a_child(wake: int) -> None:
    """End with the checker, leave no core dumps, and be what memory is taken from first."""
    signal.set_wakeup_fd(-1)
    os.close(wake)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)
    end_with_parent(os.getppid(), oom_score=_OOM_SCORE)


def _serve_copy(connection: socket.socket, message: dict[str, Any]) -> None:
    """Load one model and answer calls of it until the other side is gone."""
    checker.disable()  # code of the user's that saves a model when it is imported must not come back here
    os.environ.clear()
    os.environ.update(message["environment"])
    os.chdir(message["folder"])
    sys.path.insert(0, message["folder"])  # as in a model process, which is started with `-m`
    known = set(sys.modules)
    try:
        loaded = load_for_serving(Path(message["path"]), verified=True, device="cpu")
    except BaseException as error:  # the author's code may raise anything, SystemExit included
        send(connection, {"outcome": "not_loaded", **_described(error)})
        return
    send(connection, {"outcome": "loaded"})
    while (call := receive(connection)) is not None:
        answer = _answer(loaded, call)
        send(connection, {**answer, "imports": _installed(set(sys.modules) - known)})


def _answer(loaded: Any, call: dict[str, Any]) -> dict[str, Any]:
    name = call["method"]
    try:
        value = method_of(loaded, name)(*owned(call["args"]), **owned(call["kwargs"]))
    except BaseException as error:  # the author's code may raise anything, SystemExit included
        return {"outcome": "raised", **_described(error)}
    try:
        # Encoded here, alone, so that what has no form is known from what the model raised.
        return {"outcome": "value", "value": encode_value(value, "the result")}
    except VtsServingException as error:
        return {"outcome": "no_form", **_described(error)}


def _described(error: BaseException) -> dict[str, str]:
    try:
        text = " ".join(str(error).split())[:_MAX_REASON_CHARS]
    except Exception:  # a __str__ that raises is the model's code too
        text = ""
    code = error.code if isinstance(error, VtsServingException) else ""
    return {"code": code, "type": type(error).__name__, "text": text}


def _import(names: list[str]) -> None:
    """Import what the next models need; what cannot be imported is their loading's to report."""
    for name in names:
        if name not in sys.modules:
            with contextlib.suppress(BaseException):
                module = importlib.import_module(name)
                own = getattr(module, "FRAMEWORK", None)
                if isinstance(own, Framework):
                    # Looking versions up reads folders, which is remembered: once here, and not in each child.
                    installed_versions(own.distributions)


def _installed(names: set[str]) -> list[str]:
    """Those modules that stand at the top of an installed distribution; they are the same for every model."""
    found = []
    for name in sorted(names):
        spec = getattr(sys.modules.get(name), "__spec__", None)
        origin = getattr(spec, "origin", None) or ""
        if "." not in name and any(folder in origin for folder in _INSTALLED):
            found.append(name)
    return found


if __name__ == "__main__":
    # Without Python's own clean-up, which would run exit handlers of frameworks.
    code = 1
    try:
        code = main()
    finally:
        os._exit(code)
