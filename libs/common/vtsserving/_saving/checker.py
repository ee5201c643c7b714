"""The saving process's side of the checker: starts it, asks it for copies of models, and calls their methods.

There is one checker for each process that saves models. It starts with the first save, is kept for a minute of idleness
and ends with its parent; see checker_process.py for what it does.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vtsserving import _clock
from vtsserving._runtime.child_process import describe_exit, model_environment
from vtsserving._saving.checker_frames import receive, send
from vtsserving._saving.input_example import WarmupCall
from vtsserving.exceptions import (
    BadFrame,
    BadModelOutput,
    ModelCrashed,
    ModelError,
    ModelFailed,
    ModelLoadFailed,
    ModelTimeout,
    from_code,
)

IDLE_S: Final = 60.0
"""How long a checker waits for the next model."""

_EXIT_WAIT_S: Final = 5.0
_OF_A_SAVE: Final = frozenset(("HOME", "TMPDIR", "VTSSERVING_HOME"))
"""Variables that come with each model, as the working folder does; others that change need another checker."""

_NO_GPU: Final = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "ROCR_VISIBLE_DEVICES": ""}
_OPEN_BYTES: Final = 9


class NoChecker(Exception):
    """No checker can be started, or it was ended from outside; the message says why."""


class Copy:
    """A model as it was written, loaded by a child of the checker; its methods can be called until it is closed.

    Not for several threads at once.
    """

    def __init__(
        self,
        checker: _RunningChecker,
        pid: int,
        connection: socket.socket,
        status: int,
        timeout_s: float,
        left_s: float,
    ) -> None:
        self._checker = checker
        self._pid = pid
        self._connection = connection
        self._status = status
        self._timeout_s = timeout_s
        self._deadline_s = _clock.monotonic_s() + left_s
        self._imports: list[str] = []

    def load(self) -> None:
        """Wait until it is loaded.

        Raises:
            VtsServingException: it cannot be loaded; mostly ModelLoadFailed.
            ModelCrashed, ModelTimeout, NoChecker: as `call`.
        """
        answer = self._receive("was loaded")
        if answer["outcome"] == "not_loaded":
            if answer["code"]:
                raise from_code(answer["code"], answer["text"])
            raise ModelLoadFailed(f"{answer['type']}: {answer['text']}")

    def call(self, method: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        """Call a method of the loaded copy.

        Args:
            method: a signature's name; `__call__` is the model itself.
            args: positional arguments that the wire can carry.
            kwargs: the same by name.

        Returns:
            What it answers, as a caller of the served model gets it.

        Raises:
            ModelFailed: it raised; the message has type and text.
            BadModelOutput: what it returned has no form on the wire; the message says why.
            ModelCrashed: its process ended by itself.
            ModelTimeout: the time is up.
            NoChecker: its process was killed from outside.
        """
        from vtsserving._wire.values import decode_value

        message = {"method": method, "args": list(args), "kwargs": dict(kwargs or {})}
        try:
            self._set_timeout()
            send(self._connection, message)
        except TimeoutError:
            self._time_is_up(f"answered {method}")
        except OSError:
            pass  # it ended: what follows says how
        answer = self._receive(f"answered {method}")
        self._imports = answer["imports"]
        if answer["outcome"] == "raised":
            raise ModelFailed(f"{answer['type']}: {answer['text']}" if answer["text"] else answer["type"])
        if answer["outcome"] == "no_form":
            raise BadModelOutput(answer["text"])
        return decode_value(answer["value"])

    def close(self) -> None:
        """End it; it cannot be called any more."""
        self._connection.close()
        with contextlib.suppress(OSError):
            os.close(self._status)
        self._status = -1
        self._checker.forget(self._pid, self._imports)

    def _receive(self, done: str) -> dict[str, Any]:
        try:
            answer = receive(self._connection, self._set_timeout)
        except TimeoutError:
            self._time_is_up(done)
        except BadFrame as error:
            raise NoChecker(f"the checker sent what cannot be read: {error.message}") from error
        if answer is None:
            raise self._ended(done)
        return answer

    def _set_timeout(self) -> None:
        left_s = self._deadline_s - _clock.monotonic_s()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)

    def _time_is_up(self, done: str) -> Any:
        raise ModelTimeout(f"it took more than {self._timeout_s:g} s until the saved model {done}")

    def _ended(self, done: str) -> Exception:
        status = self._checker.status_of(self._status)
        if status is None or status == -signal.SIGKILL:
            how = "with the checker" if status is None else f"by {describe_exit(status)}"
            return NoChecker(f"the process that checked the model ended {how}")
        return ModelCrashed(f"its process ended ({describe_exit(status)}) before the saved model {done}")


@contextlib.contextmanager
def copy_of(path: Path, timeout_s: float, imports: Sequence[str] = ()) -> Iterator[Copy]:
    """Load a model in the checker.

    Args:
        path: a model's directory, with model.yaml and manifest.
        timeout_s: for everything that follows, seconds.
        imports: modules of installed distributions that models of this kind need; the checker keeps them.

    Yields:
        The copy; it ends with the block.

    Raises:
        NoChecker: there is no way to start one here.
        VtsServingException: as `Copy.load`.
    """
    try:
        copy = _current().open(path, timeout_s, imports)
    except NoChecker:
        stop()  # it may have ended for being idle just now, or been killed
        copy = _current().open(path, timeout_s, imports)
    except OSError as error:
        raise NoChecker(f"there is no working folder: {error.strerror or error}") from error
    try:
        copy.load()
        yield copy
    finally:
        copy.close()


def prepare(imports: Sequence[str]) -> None:
    """Start the checker, if none runs, and let it import modules meanwhile; returns at once, whatever becomes of it.

    Args:
        imports: as for `copy_of`.
    """
    with contextlib.suppress(NoChecker):
        _current().prepare(imports)


def answers(path: Path, calls: Sequence[WarmupCall], timeout_s: float) -> list[Any]:
    """Call a model that was just written, in a process of its own.

    Args:
        path: a model's directory, with model.yaml and manifest.
        calls: what to call, in this order.
        timeout_s: for loading and all calls together, seconds.

    Returns:
        For each call its answer, or the exception that says why there is none.

    Raises:
        NoChecker: there is no way to start a checker here.
        VtsServingException: it cannot be loaded.
    """
    found: list[Any] = []
    with copy_of(path, timeout_s) as copy:
        for call in calls:
            try:
                found.append(copy.call(call.method, call.args))
            except ModelError as error:
                found.append(error)
    return found


class _RunningChecker:
    """One started checker."""

    def __init__(self, key: tuple[object, ...], variables: Mapping[str, str]) -> None:
        self.key = key
        self._lock = threading.Lock()
        ours, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [
                    *(
                        sys.executable,
                        "-m",
                        "vtsserving._saving.checker_process",
                        "--fd",
                        str(theirs.fileno()),
                    ),
                    *("--parent", str(os.getpid()), "--idle-s", str(IDLE_S)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=dict(variables),
                start_new_session=True,  # Ctrl-C is for the one that saves
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control = ours

    def open(self, path: Path, timeout_s: float, imports: Sequence[str]) -> Copy:
        """Ask for a copy of a model; it is loaded afterwards."""
        message = {
            "do": "open",
            "path": str(path),
            "environment": {**model_environment(os.environ, 1), **_NO_GPU},
            "folder": os.getcwd(),
            "imports": list(imports),
        }
        began_s = _clock.monotonic_s()
        with self._lock:
            try:
                self._control.settimeout(timeout_s)
                send(self._control, message)
                data, descriptors, _, _ = socket.recv_fds(self._control, _OPEN_BYTES, 2)
            except TimeoutError as error:
                self.end()
                raise ModelTimeout(f"the checker did not start within {timeout_s:g} s") from error
            except OSError as error:
                raise NoChecker(f"the checker is gone: {error.strerror or error}") from error
        if len(data) != _OPEN_BYTES:
            raise NoChecker(f"the checker ended: {self._how_it_ended()}")
        connection = socket.socket(fileno=descriptors[0])
        left_s = timeout_s - (_clock.monotonic_s() - began_s)
        return Copy(self, int.from_bytes(data[1:], "little"), connection, descriptors[1], timeout_s, left_s)

    def prepare(self, imports: Sequence[str]) -> None:
        """Let it import modules."""
        with self._lock, contextlib.suppress(OSError):
            self._control.settimeout(_EXIT_WAIT_S)
            send(self._control, {"do": "import", "imports": list(imports)})

    def forget(self, pid: int, imports: Sequence[str]) -> None:
        """End a copy, whatever it does, and keep what it imported for the next one."""
        with self._lock, contextlib.suppress(OSError):
            self._control.settimeout(_EXIT_WAIT_S)
            send(self._control, {"do": "kill", "pid": pid, "imports": list(imports)})

    def status_of(self, descriptor: int) -> int | None:
        """The exit status of a copy; None where the checker is gone, too."""
        import select

        if not select.select([descriptor], [], [], _EXIT_WAIT_S)[0]:
            return None
        raw = os.read(descriptor, 4)
        return int.from_bytes(raw, "little", signed=True) if raw else None

    def _how_it_ended(self) -> str:
        try:
            return describe_exit(self._process.wait(_EXIT_WAIT_S))
        except subprocess.TimeoutExpired:
            return "it closed its socket"

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """End it and its copies, at once."""
        self._control.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def abandon(self) -> None:
        """Let go of it in a fork of the process that it belongs to."""
        self._control.close()
        self._process.returncode = 0  # it is not this process's to wait for


_checker: _RunningChecker | None = None
_starting = threading.Lock()
_disabled = False


def disable() -> None:
    """Check nothing in this process from now on: it is the checker's."""
    global _disabled  # noqa: PLW0603  one for the process, set at its entry
    _disabled = True


def _current() -> _RunningChecker:
    """The checker of this process, started if need be.

    Raises:
        NoChecker: there is no way to start one.
    """
    global _checker  # noqa: PLW0603  one for the process
    if _disabled:
        raise NoChecker("this is the process that checks models")
    if not sys.executable or not hasattr(os, "fork") or not hasattr(socket, "recv_fds"):
        raise NoChecker("this Python cannot start processes")
    with _starting:
        try:
            variables = {**model_environment(os.environ, 1), **_NO_GPU}
            key = (sys.executable, *sorted(item for item in variables.items() if item[0] not in _OF_A_SAVE))
            if _checker is not None and (not _checker.is_alive() or _checker.key != key):
                _checker.end()
                _checker = None
            if _checker is None:
                _checker = _RunningChecker(key, variables)
        except OSError as error:
            raise NoChecker(f"it cannot be started: {error.strerror or error}") from error
        return _checker


@atexit.register
def stop() -> None:
    """End the checker of this process; the next save starts another."""
    global _checker  # noqa: PLW0603  one for the process
    with _starting:
        if _checker is not None:
            _checker.end()
            _checker = None


def _after_fork() -> None:
    global _checker, _starting  # noqa: PLW0603  one for the process
    if _checker is not None:
        _checker.abandon()
        _checker = None
    _starting = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
