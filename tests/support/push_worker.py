"""Pushes one model in a process of its own, which a test may kill: `python push_worker.py ROOT TAG URL`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from vtsserving import transfer
from vtsserving.local_store import LocalStore
from vtsserving.registry import RegistryClient


def main() -> None:
    """Push, and print when it began, when it ended, what the commits took and how much memory was used."""
    root, tag, url = sys.argv[1:]
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
