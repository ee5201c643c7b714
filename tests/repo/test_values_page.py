from __future__ import annotations

import subprocess
import sys

from support.source_tree import REPOSITORY


def test_the_page_of_values_is_what_the_tests_run() -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "values_page.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
