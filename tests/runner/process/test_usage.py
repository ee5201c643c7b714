"""What a process takes, and when it has gone too far."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vtsserving_runner.process.usage import MAX_MORE_FILES, MAX_MORE_THREADS, Allowance, Usage, usage_of

pytestmark = pytest.mark.fast

WARM = Usage(1_000, 10, 20)


def test_this_process_has_memory_a_thread_and_files():
    usage = usage_of(os.getpid())
    assert usage.rss_bytes > 1 << 20
    assert usage.threads >= 1
    assert usage.files >= 3


def test_a_process_that_is_gone_takes_nothing(tmp_path: Path):
    assert usage_of(1, tmp_path) == Usage()


@pytest.mark.parametrize(
    ("now", "batches", "reason"),
    [
        (WARM, 0, ""),
        (WARM._replace(rss_bytes=1_500), 99, ""),
        (WARM._replace(rss_bytes=1_501), 0, "memory grew"),
        (WARM._replace(threads=10 + MAX_MORE_THREADS), 0, ""),
        (WARM._replace(threads=11 + MAX_MORE_THREADS), 0, "threads grew"),
        (WARM._replace(files=21 + MAX_MORE_FILES), 0, "open files grew"),
        (WARM, 100, "100 batches"),
        (Usage(), 0, ""),
    ],
)
def test_what_is_too_much(now, batches, reason):
    found = Allowance(growth_bytes=500, batches=100).exceeded(WARM, now, batches)
    assert found.startswith(reason)
    assert bool(found) is bool(reason)


def test_without_limits_only_leaks_of_threads_and_files_count():
    assert Allowance().exceeded(WARM, WARM._replace(rss_bytes=1 << 60), 1 << 60) == ""
