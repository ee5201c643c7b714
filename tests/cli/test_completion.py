"""Completion in the shells that are here, as somebody who types sees it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.archives import save_model
from support.command_line import Terminal, run_process
from vtsserving._local_store.store import LocalStore

PROMPT = "ready> "


@pytest.fixture
def bash(store: LocalStore, tmp_path: Path) -> Iterator[Terminal]:
    """An interactive bash that has our completion, at its prompt in an empty folder."""
    program = shutil.which("bash")
    assert program is not None, "apt-get install bash"
    save_model(store, tag="iris_clf:first")
    store.set_alias("iris_clf:first", "production")
    (tmp_path / "empty").mkdir()
    script = tmp_path / "completion.bash"
    # What `--show-completion` prints where it finds bash among the processes that it was started by.
    script.write_text(run_process(env={"_VTSSERVING_COMPLETE": "source_bash"}).out or "exit 1")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    terminal = Terminal("--norc", "-i", env={"PATH": path, "PS1": PROMPT, "TERM": "dumb"}, program=[program])
    try:
        terminal.wait_for(PROMPT)
        terminal.write(f"cd {tmp_path}/empty; source {script}; echo loaded-$?\n")
        # Only at the next prompt a tab is a tab; before, the terminal takes it for text.
        terminal.wait_for(f"loaded-0\r\n{PROMPT}")
        yield terminal
    finally:
        with contextlib.suppress(OSError):  # it has ended already
            terminal.write("\x15exit\n")
        terminal.end()


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("vtsserving models get iris_clf:f", "iris_clf:first"),
        ("vtsserving models get iris_clf:p", "iris_clf:production"),
        ("vtsserving models get iris_clf:l", "iris_clf:latest"),
        ("vtsserving models delete iris_clf:latest iris_clf:f", "iris_clf:latest iris_clf:first"),
        ("vtsserving models get ir", "is_clf:"),  # a bell before it says that there are several
        ("vtsserving serve iris_clf:f", "iris_clf:first"),
        ("vtsserving models expo", "vtsserving models export"),
    ],
)
def test_a_tab_completes_tags_past_their_colon(typed: str, completed: str, bash: Terminal) -> None:
    bash.write(f"{typed}\t")
    bash.wait_for(completed)


def test_two_tabs_after_the_colon_list_what_may_follow(bash: Terminal) -> None:
    bash.write("vtsserving models get iris_clf:\t\t")
    bash.wait_for("production")
    listed = bash.text.partition("models get iris_clf:")[2].split()
    assert {"latest", "first", "production"} <= set(listed)
