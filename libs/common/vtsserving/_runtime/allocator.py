"""Keeps freed memory in the process, for the sake of large bodies.

glibc takes blocks above 128 KiB straight from the kernel and gives them back when they are freed: each request of
600 KB then faults its pages in again, which is half of what it costs. It raises that threshold by itself, but only
as far as the largest block that was freed so far, and trims the heap at twice of it.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

MMAP_THRESHOLD_BYTES: Final = 32 * 1024 * 1024
"""Smaller blocks come from the heap; glibc allows no more on 64-bit machines."""

TRIM_THRESHOLD_BYTES: Final = 64 * 1024 * 1024
"""Most free memory at the end of a heap that a process keeps."""

# From malloc.h: number, value, and the two ways in which a user may have set it.
_OPTIONS: Final = (
    (-3, MMAP_THRESHOLD_BYTES, "MALLOC_MMAP_THRESHOLD_", "glibc.malloc.mmap_threshold"),
    (-1, TRIM_THRESHOLD_BYTES, "MALLOC_TRIM_THRESHOLD_", "glibc.malloc.trim_threshold"),
)


def keep_freed_memory() -> None:
    """Set the thresholds of glibc's allocator for this process; does nothing with another C library.

    What the user set, by `MALLOC_MMAP_THRESHOLD_`, `MALLOC_TRIM_THRESHOLD_` or `GLIBC_TUNABLES`, stays.
    """
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return
        mallopt = ctypes.CDLL(None).mallopt
    except (ValueError, OSError, AttributeError):  # the name is unknown to musl; no such function
        return
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    for number, value, variable, tunable in _OPTIONS:
        if variable not in os.environ and tunable not in tunables:
            mallopt(number, value)
