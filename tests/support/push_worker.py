"""Pushes and pulls models in processes of their own, which a test may kill.

`python push_worker.py ROOT TAG URL` pushes one model and measures. `python push_worker.py` reads lines
`push TAG URL ROOT` and `pull TAG URL ROOT` and forks a process for each, which is ready at once: it prints
`began TAG PID`, and `done TAG` if it came so far; an empty line prints `ended` when all of them have ended.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import httpx2

from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import transfer
from vtsserving._store_client.client import RegistryClient
from vtsserving.exceptions import VtsServingException


def main() -> None:
    """Do what the arguments say."""
    if len(sys.argv) == 1:
        transfer_many()
    else:
        push_one(*sys.argv[1:])


def transfer_many() -> None:
    """Fork a process for each line on stdin."""
    assert httpx2.Client  # imported here, so that those that are forked need not
    running: list[int] = []
    for line in sys.stdin:
        if line.strip():
            running.append(fork(*line.split()))
        else:
            for pid in running:
                os.waitpid(pid, 0)
            running.clear()
            say("ended")


def say(line: str) -> None:
    """Write a line in one piece: several processes share this pipe."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def fork(verb: str, tag: str, url: str, root: str) -> int:
    """Transfer one model in a forked process; returns its id."""
    pid = os.fork()
    if pid == 0:
        say(f"began {tag} {os.getpid()}")
        try:
            work = transfer.push if verb == "push" else transfer.pull
            work(tag, store_url=url, store=LocalStore(Path(root)), threads=4)
            say(f"done {tag}")
        except VtsServingException:
            os._exit(1)
        os._exit(0)
    return pid


def push_one(root: str, tag: str, url: str) -> None:
    """Push, and print when it began, when it ended, what the commits took and how much memory was used."""
    completing = 0.0
    complete = RegistryClient.complete_upload

    def timed(self: RegistryClient, upload: object) -> None:
        nonlocal completing
        began_s = time.monotonic()
        complete(self, upload)  # type: ignore[arg-type]
        completing += time.monotonic() - began_s

    RegistryClient.complete_upload = timed  # type: ignore[method-assign, assignment]
    print("began", flush=True)
    began_s = time.monotonic()
    transfer.push(tag, store_url=url, store=LocalStore(Path(root)), threads=4)
    took_s = time.monotonic() - began_s
    print("pushed", flush=True)
    # Not getrusage: its peak starts with that of the process that forked this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    peak_bytes = int(peak.split()[1]) * 1024
    print(took_s, completing, peak_bytes, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
