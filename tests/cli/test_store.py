"""`vtsserving store`: what it says is what one can type."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path

import pytest

from support.command_line import CommandLine, Terminal
from support.supervisor import free_port


@pytest.mark.usefixtures("store")
def test_the_welcome_of_a_guarded_store_has_the_command_that_makes_a_token(
    vts: CommandLine, tmp_path: Path
) -> None:
    kept = tmp_path / "my store"
    guarded = {"VTSSERVING_AUTH": "required"}
    serve = Terminal("store", "serve", "--dir", str(kept), "--port", str(free_port()), env=guarded)
    try:
        serve.wait_for("It needs a token: ")
        serve.wait_for("\n", within_s=5)
        found = re.search(r"It needs a token: vtsserving (.+)\r", serve.text)
        assert found is not None, serve.text
        made = vts(*shlex.split(found[1]))
        assert made.code == 0, made.err
        assert " NAME " in vts("store", "token", "list", "--dir", str(kept)).out
        serve.process.send_signal(signal.SIGINT)
    finally:
        assert serve.end() == 0


@pytest.mark.parametrize("words", [("fsck",), ("gc", "--dry-run"), ("token", "list")])
def test_who_names_no_storage_hears_of_dir(vts: CommandLine, words: tuple[str, ...]) -> None:
    refused = vts("store", *words)
    assert refused.code == 2
    assert "name a directory with --dir" in refused.err
