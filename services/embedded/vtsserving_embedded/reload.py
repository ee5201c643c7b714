"""`serve --reload`: the service in a child process, which makes room for another one when python files change.

The listening socket stays with the parent, so the port is never lost: who connects while the child is replaced waits
for the next one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from vtsserving._runtime.process import Stop
from vtsserving_embedded.child_process import end
from vtsserving_embedded.file_watch import Snapshot, next_change, snapshot, syntax_error

STOP_TIMEOUT_S: Final = 5.0
"""Longest wait for requests under way when the code has changed; whoever develops waits for the new code."""


class Notices(Protocol):
    """Lines for people, while a service is reloaded."""

    def note(self, text: str) -> None:
        """A line as it is."""

    def log(self, text: str) -> None:
        """What was done."""

    def warn(self, text: str) -> None:
        """What needs the developer."""


class Reloader:
    """Runs one command again and again; create it inside of a running event loop."""

    def __init__(
        self, command: Sequence[str], listening: socket.socket, folder: Path, notices: Notices
    ) -> None:
        """Prepare.

        Args:
            command: the child's whole command line.
            listening: what the child serves on.
            folder: whose python files are watched.
            notices: told what happens.
        """
        self._command = list(command)
        self._notices = notices
        self._listening = listening
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, stop: Stop) -> None:
        """Serve until `stop` is set, or until the child ends by itself without an error."""
        try:
            while not stop.is_set():
                # Before the child reads the files, so that no change is missed.
                known = snapshot(self._folder)
                self._process = await self._spawn()
                if not await self._watch(known, stop):
                    return
                await self._end()
        finally:
            await self._end()

    async def _watch(self, known: Snapshot, stop: Stop) -> bool:
        """Wait for a reason to replace the child; False if there is none and never will be."""
        assert self._process is not None
        ended = asyncio.ensure_future(self._process.wait())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while True:
                change = asyncio.ensure_future(next_change(self._folder, known))
                waiting = {change, stopping} if ended.done() else {change, stopping, ended}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    change.cancel()
                    return False
                if not change.done():
                    change.cancel()
                    if ended.result() == 0:
                        return False
                    self._notices.warn("the service could not be served; waiting for a change of its files")
                    continue
                changed = change.result()
                known = await asyncio.to_thread(snapshot, self._folder)
                error = syntax_error(changed)
                if not error:
                    self._notices.log(f"{_names(changed)} changed; starting anew")
                    return True
                self._notices.note(error)
                self._notices.warn("not started anew, because of this error; waiting for a change")
        finally:
            stopping.cancel()
            ended.cancel()

    async def _spawn(self) -> asyncio.subprocess.Process:
        number = self._listening.fileno()
        # A session of its own: Ctrl-C at the terminal reaches this process only, which then ends the child.
        return await asyncio.create_subprocess_exec(
            *self._command,
            env={**os.environ, "VTSSERVING_GATEWAY__FD": str(number)},
            pass_fds=(number,),
            start_new_session=True,
        )

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end(process, STOP_TIMEOUT_S)


def folder_of(service: str) -> Path:
    """What is watched for a service: the folder of its file, or the working directory for a module."""
    left = service.partition(":")[0]
    return Path(left).resolve().parent if left.endswith(".py") or "/" in left else Path.cwd()


def _names(paths: Sequence[Path]) -> str:
    shown = ", ".join(path.name for path in paths[:3])
    return f"{shown} and {len(paths) - 3} more" if len(paths) > 3 else shown
