"""Pushes models in processes of their own, which a test may kill.

`python push_worker.py ROOT TAG URL` pushes one model and measures. `python push_worker.py ROOT` reads lines `TAG URL`
and forks a process for each, which is ready at once: it prints `began TAG PID`, and `pushed TAG` if it came so far; an
empty line prints `ended` when all of them have ended.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import httpx2

from vtsserving import transfer
from vtsserving.exceptions import VtsServingException
from vtsserving.local_store import LocalStore
from vtsserving.registry import RegistryClient


def main() -> None:
    """Do what the arguments say."""
    if len(sys.argv) == 2:
        push_many(LocalStore(Path(sys.argv[1])))
    else:
        push_one(*sys.argv[1:])


def push_many(store: LocalStore) -> None:
    """Fork a process for each model that is named on stdin."""
    assert httpx2.Client  # imported here, so that those that are forked need not
    running: list[int] = []
    for line in sys.stdin:
        if line.strip():
            tag, url = line.split()
            running.append(fork(store, tag, url))
        else:
            for pid in running:
                os.waitpid(pid, 0)
            running.clear()
            say("ended")


def say(line: str) -> None:
    """Write a line in one piece: several processes share this pipe."""
    os.write(sys.stdout.fileno(), f"{line}\n".encode())


def fork(store: LocalStore, tag: str, url: str) -> int:
    """Push one model in a forked process; returns its id."""
    pid = os.fork()
    if pid == 0:
        say(f"began {tag} {os.getpid()}")
        try:
            transfer.push(tag, store_url=url, store=store, threads=4)
            say(f"pushed {tag}")
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
