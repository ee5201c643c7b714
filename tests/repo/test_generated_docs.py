from __future__ import annotations

import subprocess
import sys

from support.source_tree import REPOSITORY


def test_error_and_settings_pages_are_what_the_code_says() -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "generate_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
