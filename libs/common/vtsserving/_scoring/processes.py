"""The model processes of a run: chunks out, answers back; one that ends in the middle of a chunk is started again.

A chunk in which a process ended is halved until the row that does it stands alone.
"""

from __future__ import annotations

import os
import queue
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

from vtsserving._local_store.home import home
from vtsserving._runtime.child_process import describe_exit, model_environment
from vtsserving._scoring.answering import Answered, Answerer
from vtsserving._scoring.chunks import Chunk
from vtsserving._scoring.worker import Pipe, answered_of
from vtsserving.exceptions import ModelCrashed, ModelLoadFailed, from_code

MAX_ENDS: Final = 100
"""Most processes of a run that may end by themselves before it gives up."""

MAX_PROCESSES: Final = 64


class ScoringProcess:
    """One model process."""

    def __init__(self, setup: Mapping[str, Any], threads: int | None) -> None:
        """Start it; `wait_until_ready` follows.

        Args:
            setup: what it computes; see worker.
            threads: for the model's libraries; None: their default.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "vtsserving._scoring.worker"),
                    *("--fd", str(theirs.fileno()), "--parent", str(os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={**model_environment(os.environ, threads), "VTSSERVING_HOME": str(home())},
            )
        self._pipe = Pipe(ours)
        self._pipe.send(setup)

    def wait_until_ready(self) -> None:
        """Return when the model is loaded.

        Raises:
            VtsServingException: it cannot be loaded.
        """
        message = self._pipe.receive()
        if message is None:
            raise ModelLoadFailed(f"the model process ended while loading: {self.end()}")
        if "error" in message[0]:
            self.end()
            raise from_code(*message[0]["error"])

    def answer(self, chunk: Chunk, names: tuple[str, ...] | None) -> Answered | None:
        """Compute a chunk; None: the process ended.

        Raises:
            VtsServingException: an error that says nothing about rows.
        """
        try:
            head = {"rows": chunk.rows, "names": None if names is None else list(names)}
            self._pipe.send(head, chunk.encoded())
        except OSError:
            return None
        message = self._pipe.receive()
        if message is None:
            return None
        if "error" in message[0]:
            raise from_code(*message[0]["error"])
        return answered_of(*message)

    def end(self) -> str:
        """End it at once; returns how it ended."""
        self._pipe.close()
        try:
            # One that ended by itself says why; one that computes is not waited for.
            self._process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return describe_exit(self._process.wait())


class ScoringProcesses:
    """All model processes of a run; `answer` may be called by as many threads at once."""

    def __init__(self, count: int, setup: Mapping[str, Any], threads: int | None, answerer: Answerer) -> None:
        """Start them, and wait until each has loaded the model.

        Args:
            count: how many.
            setup: what they compute.
            threads: of each, for the model's libraries.
            answerer: knows what stands for a row that ended its process.

        Raises:
            VtsServingException: the model cannot be loaded.
        """
        self._setup = setup
        self._threads = threads
        self._answerer = answerer
        self._ends = 0
        self._is_closed = False
        self._idle: queue.SimpleQueue[ScoringProcess | None] = queue.SimpleQueue()
        self._all: list[ScoringProcess] = []
        try:
            for _ in range(count):
                self._all.append(ScoringProcess(setup, threads))
            for process in self._all:
                process.wait_until_ready()
                self._idle.put(process)
        except BaseException:
            self.close()
            raise

    def answer(self, chunk: Chunk, names: tuple[str, ...] | None) -> list[Answered]:
        """Compute a chunk; where its process ends, in parts, in the order of the rows.

        Raises:
            ModelCrashed: processes ended too often.
            VtsServingException: an error that says nothing about rows.
        """
        done: list[Answered] = []
        waiting = [chunk]
        while waiting:
            some = waiting.pop()
            process = self._idle.get()
            if process is None:
                self._idle.put(None)
                raise ModelCrashed("the model's processes cannot be started again")
            try:
                answered = process.answer(some, names)
            except BaseException:
                self._idle.put(process)
                raise
            if answered is not None:
                self._idle.put(process)
                done.append(answered)
                names = names or answered.names
                continue
            if self._is_closed:
                self._idle.put(None)
                raise ModelCrashed("the run was ended while this chunk was computed")
            how = process.end()
            try:
                self._replace(process, how)
            except BaseException:
                self._idle.put(None)  # nobody waits for ever for a process that does not come
                raise
            if some.rows > 1:
                first, second = some.halves()
                waiting += [second, first]
            elif names is None:
                raise ModelCrashed(f"the model's process ended ({how}) with the first row of the file")
            else:
                error = ModelCrashed(f"the model's process ended ({how}) while it computed this row")
                done.append(self._answerer.gap(some, names, error))
        return done

    def close(self) -> None:
        """End all processes, those that compute included."""
        self._is_closed = True
        for process in self._all:
            process.end()

    def _replace(self, process: ScoringProcess, how: str) -> None:
        self._ends += 1
        self._all.remove(process)
        if self._ends > MAX_ENDS:
            raise ModelCrashed(f"the model's processes ended {self._ends} times, at last by {how}")
        fresh = ScoringProcess(self._setup, self._threads)
        self._all.append(fresh)
        fresh.wait_until_ready()
        self._idle.put(fresh)
