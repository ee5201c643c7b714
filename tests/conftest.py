"""What every test gets: an environment without the developer's settings, a private home, and the `proof` fixture."""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import framework_groups
from support.fast import pytest_runtest_protocol  # noqa: F401  a hook: pytest finds it by name in this module
from support.proofs import (  # noqa: F401  hooks and fixtures: pytest finds them by name in this module
    proof,
    pytest_configure,
    pytest_report_header,
    pytest_sessionfinish,
    pytest_terminal_summary,
)
from support.seaweedfs import seaweedfs

# Two shared cores make single examples slow at random; a deadline would only measure the neighbours.
settings.register_profile(
    "quick", deadline=None, derandomize=True, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "full", deadline=None, max_examples=1_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("full" if os.environ.get("VTSSERVING_PROVE", "") not in ("", "0") else "quick")

# Whoever started the tests in the background may have them ignore Ctrl-C, and so every program that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Read at import: every test forgets the variables of this kind.
OTHER_S3 = os.environ.get("VTSSERVING_TEST_S3", "")
KEPT = ("VTSSERVING_PROVE", "VTSSERVING_PROVE_SEED", "VTSSERVING_TEST_NATS_SERVER")


def expected_s(item: pytest.Item) -> float:
    """What a test takes, roughly: a small part of the limit that it asks for, or what its kind takes."""
    limit = item.get_closest_marker("timeout")
    if limit is not None:
        return float(limit.args[0]) / 60
    return 1.5 if item.get_closest_marker("slow") else 0.1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs other frameworks; order files for workers by how long they take, longest first."""
    framework_groups.pytest_collection_modifyitems(config, items)
    if hasattr(config, "workerinput"):
        took_s: Counter[Path] = Counter()
        for item in items:
            took_s[item.path] += expected_s(item)
        items.sort(key=lambda item: -took_s[item.path])


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forget the developer's VTSSERVING_* settings and keep every test away from the real home; returns the home."""
    for name in [n for n in os.environ if n.startswith("VTSSERVING_") and n not in KEPT]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "vtsserving-home"
    monkeypatch.setenv("VTSSERVING_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of one S3 server for all tests; VTSSERVING_TEST_S3 names another one, with the same keys."""
    if OTHER_S3:
        yield OTHER_S3
        return
    with seaweedfs(tmp_path_factory.mktemp("s3")) as endpoint:
        yield endpoint


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a command that ran inside of the test has set up for its own logs, which outlives its output."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
