"""Tables in Arrow and Parquet: by name, with every digit, to models and Services; within bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.python_process import install, python_with

pytestmark = [pytest.mark.frameworks("own"), pytest.mark.slow, pytest.mark.timeout(600)]


def test_tables_are_read_as_they_were_and_bombs_refused_before_memory_is_spent(tmp_path: Path) -> None:
    output = python_with(install(tmp_path), "-m", "support.arrow_tables", timeout_s=300)
    grown = json.loads(output.splitlines()[-1])
    assert len(grown) == 12
