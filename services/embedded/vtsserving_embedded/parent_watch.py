"""Ending with the process that started this one, however that ends: also when it is killed.

A pipe would not show it: every process that the parent forks keeps the pipe's other end open. Neither would
PR_SET_PDEATHSIG, which fires when the parent's *thread* ends. A descriptor of the process itself does.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

from vtsserving._runtime.process import Stop

POLL_S: Final = 1.0
"""How often a kernel without pidfd_open (before 5.3, or where a sandbox forbids it) is asked for the parent."""


def stop_with_parent(parent: int, stop: Stop) -> None:
    """Set `stop` when the parent process has ended; for the running loop.

    Args:
        parent: its pid, as it gave it; 0 for none.
        stop: ends this process in order.
    """
    if not parent:
        return
    loop = asyncio.get_running_loop()

    def poll() -> None:
        if os.getppid() != parent:
            stop.set()
        else:
            loop.call_later(POLL_S, poll)

    try:
        descriptor = os.pidfd_open(parent)
    except ProcessLookupError:
        stop.set()
        return
    except OSError:
        poll()
        return
    loop.add_reader(descriptor, stop.set)
    # It may have ended before the descriptor was opened, and another process may have its number now.
    if os.getppid() != parent:
        stop.set()
