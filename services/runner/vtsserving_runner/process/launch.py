"""Starts a model process: command, environment, socket; and what is known of it while it runs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from vtsserving._local_store.injected_models import Provided, to_text
from vtsserving._model.tag import Tag
from vtsserving._runtime.child_process import model_environment
from vtsserving_runner.process import shm_ring
from vtsserving_runner.process.devices import CPU, Device

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launch:
    """How to start the processes of one model.

    Attributes:
        tag: exact.
        path: directory with its verified files.
        threads: for the model's libraries; None leaves them their default.
        environment: names of further variables that are passed on.
        device: where it computes.
        poll_us: how long the process stays awake for its next batch, and the runner for its answer; see polling.
        provided: further models that its class uses.
    """

    tag: Tag
    path: Path
    threads: int | None = 1
    environment: tuple[str, ...] = ()
    device: Device = CPU
    poll_us: int = 0
    provided: tuple[Provided, ...] = ()


class Child:
    """A started model process and the runner's end of its socket."""

    def __init__(self, launch: Launch) -> None:
        """Start it; OSError when the system refuses.

        To be called by the thread that runs the event loop: the child ends when the thread that started it does.
        """
        self.rings: tuple[shm_ring.Ring, shm_ring.Ring] | None = None
        ours, theirs = socket.socketpair()
        memory = self._share()
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "vtsserving_runner.child.worker", "--fd", str(theirs.fileno())),
                    *("--parent", str(os.getpid()), "--path", str(launch.path), "--tag", str(launch.tag)),
                    *("--device", launch.device.name, "--memory", ",".join(map(str, memory))),
                    *("--poll-us", str(launch.poll_us), "--provided", to_text(launch.provided)),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), *memory),
                env={
                    **model_environment(os.environ, launch.threads, launch.environment),
                    **launch.device.variables,
                },
                start_new_session=True,  # Ctrl-C is for the runner; and its own children can be killed with it
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for descriptor in memory:
                os.close(descriptor)
        ours.setblocking(False)
        self.socket = ours

    def _share(self) -> list[int]:
        """Memory for both directions; without it everything goes through the socket."""
        descriptors: list[int] = []
        try:
            for _ in range(2):
                descriptor = shm_ring.create()
                if descriptor is None:
                    return []
                descriptors.append(descriptor)
            self.rings = (shm_ring.Ring(descriptors[0]), shm_ring.Ring(descriptors[1]))
        except OSError as error:
            _log.info("no_shared_memory", extra={"reason": error.strerror})
            for descriptor in descriptors:
                os.close(descriptor)
            return []
        return descriptors

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait(self) -> int:
        """Wait for its end in the calling thread, then end what it started.

        Returns:
            The exit status, negative for a signal.
        """
        if hasattr(os, "waitid"):
            # While it is not reaped, no other group can have its number.
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            self.kill()
        return self._process.wait()

    def kill(self) -> None:
        """End it and everything it started, at once."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            # No such group (yet): a child that has not reached setsid is only killed itself.
            self._process.kill()
