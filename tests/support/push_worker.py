"""Pushes one model in a process of its own, which a test may kill: `python push_worker.py ROOT TAG URL`."""

from __future__ import annotations

import sys
from pathlib import Path

from vtsserving import transfer
from vtsserving.local_store import LocalStore

if __name__ == "__main__":
    root, tag, url = sys.argv[1:]
    print("began", flush=True)
    transfer.push(tag, store_url=url, store=LocalStore(Path(root)), threads=4)
    print("pushed", flush=True)
