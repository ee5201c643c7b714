"""Large blocks are freed without giving their pages back to the kernel, unless the user said otherwise."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ROUNDS = 100
PAGES = 640
"""Of one block, 2.5 MiB."""

FAULTS = f"""
import resource
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        first = bytearray({PAGES} * 4096)
        second = bytes(first)
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
"""

ALONE = """
from vtsserving._runtime import allocator
allocator.keep_freed_memory()
print(faults())
"""

SERVING = """
import asyncio
from vtsserving._runtime.process import Stop, serve_until
class App:
    async def start(self): print(faults())
    async def drain(self): pass
    async def close(self): pass
async def main():
    stop = Stop()
    await serve_until(App(), stop, stop.set)
asyncio.run(main())
"""

ANOTHER_C_LIBRARY = (
    """
import os
def confstr(name): raise ValueError("unrecognized configuration name")
os.confstr = confstr
"""
    + ALONE
)


def page_faults(program: str, **variables: str) -> int:
    """Pages that a process of its own faults in while it takes and frees ROUNDS pairs of blocks."""
    result = subprocess.run(
        [sys.executable, "-c", FAULTS + program],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return int(result.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("program", [ALONE, SERVING], ids=["alone", "serving"])
def test_freed_blocks_keep_their_pages(program: str) -> None:
    assert page_faults(program) < 10 * PAGES


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"},
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_what_the_user_set_stays(variables: dict[str, str]) -> None:
    assert page_faults(ALONE, **variables) > ROUNDS * PAGES


@pytest.mark.slow
def test_nothing_changes_with_another_c_library() -> None:
    assert page_faults(ANOTHER_C_LIBRARY) > ROUNDS * PAGES
