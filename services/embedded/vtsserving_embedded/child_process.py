"""How a child process is ended: asked first, then made to."""

from __future__ import annotations

import asyncio
import contextlib
import signal


async def end(process: asyncio.subprocess.Process, timeout_s: float) -> None:
    """Send SIGTERM and wait for the end; SIGKILL when it has taken longer than `timeout_s` seconds."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), timeout_s)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
