"""Models that misbehave on demand. Made inside of functions, so that they are saved by value."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import vtsserving.picklable_model
from vtsserving._local_store.model import Model

RAISE, SEGFAULT, EXIT, ABORT, HANG, GATE, DROP_ROW, NAN, LEAVE = (
    float(code) for code in (601, 602, 603, 604, 605, 606, 607, 608, 609)
)
"""First values of a row that make `trouble` raise, crash in three ways, hang, wait for a file, return one row too few,
return NaN, and call sys.exit."""


def trouble(tmp_path: Path) -> Any:
    """Doubles its input, unless a row says otherwise; writes the first column of each call to `calls`."""
    calls, gate = str(tmp_path / "calls"), str(tmp_path / "gate")

    class Trouble:
        def predict(self, x: Any) -> Any:
            import ctypes
            import os
            import signal
            import sys
            import time

            import numpy as np

            x = np.asarray(x)  # lists stay lists where they come as JSON
            first = x[:, 0].tolist()
            with open(calls, "a") as file:
                file.write(f"{first}\n")
            if 601.0 in first:
                raise ValueError("poison")
            if 602.0 in first:
                ctypes.string_at(0)
            if 603.0 in first:
                os._exit(3)
            if 604.0 in first:
                os.kill(os.getpid(), signal.SIGABRT)
            while 605.0 in first:
                pass
            while 606.0 in first and not os.path.exists(gate):
                time.sleep(0.005)
            if 609.0 in first:
                sys.exit(4)
            result = np.where(x == 608.0, np.nan, x * 2)
            return result[1:] if 607.0 in first else result

    return Trouble()


HUGE_ANSWER: Final = 2
"""First value of a row of bytes for which `first_value` returns 9 MiB."""


def first_value() -> Any:
    """Returns the first value of each row of bytes, or more than a message may have."""

    class FirstValue:
        def predict(self, rows: Any) -> Any:
            import numpy as np

            return np.zeros((1, 9 << 20), np.uint8) if rows[0, 0] == 2 else rows[:, :1]

    return FirstValue()


def page_faults() -> Any:
    """Returns for each row how many pages its process faulted in while it took and freed 100 pairs of 640 pages."""

    class PageFaults:
        def predict(self, rows: Any) -> Any:
            import resource

            import numpy as np

            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for _ in range(100):
                first = bytearray(640 * 4096)
                second = bytes(first)
                del first, second
            return np.full(len(rows), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

    return PageFaults()


def calls_of(tmp_path: Path) -> list[list[float]]:
    """The first columns of all calls of `trouble` so far."""
    import json

    path = tmp_path / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def open_gate(tmp_path: Path) -> None:
    """Let a call of `trouble` that waits go on."""
    (tmp_path / "gate").touch()


def save(name: str, model: Any, **details: Any) -> Model:
    """Save a model whose `predict` is batchable and returns rows along axis 0."""
    details.setdefault("signatures", {"predict": {"batchable": True, "result": {"axis": 0}}})
    return vtsserving.picklable_model.save_model(name, model, **details)
