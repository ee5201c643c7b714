"""Fixtures of tests that run commands: a private store, and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command_line import CommandLine
from vtsserving._local_store.store import LocalStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    """The user's own store, empty."""
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    return LocalStore()


@pytest.fixture
def vts(store: LocalStore, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Runs commands on that store."""
    return CommandLine(capsys)
