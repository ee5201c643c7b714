from __future__ import annotations

import subprocess
import sys

from support.source_tree import REPOSITORY


def test_the_page_of_the_wire_is_what_code_and_vectors_say() -> None:
    command = [sys.executable, str(REPOSITORY / "scripts" / "wire_page.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
