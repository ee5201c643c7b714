"""Every Python block of docs/contract.md, run as it stands, prints what the comment behind its `print` says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.source_tree import REPOSITORY

PAGE = (REPOSITORY / "docs/contract.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=[f"block-{at}" for at in range(1, len(BLOCKS) + 1)])
def test_a_block_prints_what_it_says(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    script = tmp_path / "block.py"
    script.write_text(block)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^ *print\(.*\)  # (.*)$", block, re.MULTILINE)
    assert said
    assert done.stdout.splitlines() == said
    assert "UserWarning" not in done.stderr


def test_the_page_has_its_examples() -> None:
    assert len(BLOCKS) == 5
