"""`serve --reload`: new code is served after a change, on the same port; errors are shown and waited out."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

import vtsserving
from support.command_line import CommandLine
from support.supervisor import Program, Supervisor, command_line, descendants, free_port, http_ok
from support.waiting import eventually
from vtsserving_embedded.file_watch import snapshot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

SERVICE = """\
import vtsserving
from vtsserving.io import JSON
from words import WORD

svc = vtsserving.Service("words")

@svc.api(input=None, output=JSON())
def word():
    return WORD
"""


def test_new_code_is_served_on_the_same_port_and_errors_are_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    (tmp_path / "service.py").write_text(SERVICE)
    words, port = tmp_path / "words.py", free_port()
    words.write_text("WORD = 'first'\n")
    service = str(tmp_path / "service.py") + ":svc"
    argv = [sys.executable, "-m", "vtsserving_cli", "serve", service, "--reload", "--port", str(port)]

    async def scenario() -> None:
        async with (
            Supervisor(tmp_path) as supervisor,
            # No repetitions: a connection that is refused while the code is replaced would fail the test.
            vtsserving.AsyncClient(f"http://127.0.0.1:{port}", retries=0, timeout=60) as client,
        ):
            await supervisor.start("serve", Program(argv, os.environ, http_ok(port, "/readyz")))
            assert await client.word() == "first"

            async def becomes(expected: str) -> None:
                while await client.call_function("word", idempotent=True) != expected:
                    await asyncio.sleep(0.02)

            words.write_text("WORD = 'second'\n")
            await becomes("second")

            words.write_text("WORD = 'third\n")
            await eventually(lambda: "SyntaxError" in supervisor.log("serve"), within_s=30)
            assert await client.word() == "second", "what ran before goes on"

            words.write_text("WORDS = 'no such name'\n")
            await eventually(lambda: "ImportError" in supervisor.log("serve"), within_s=30)
            await eventually(lambda: "could not be served" in supervisor.log("serve"), within_s=30)
            waiting = asyncio.ensure_future(client.word())
            words.write_text("WORD = 'fourth'\n")
            assert await waiting == "fourth", "who came meanwhile was not turned away"

            left = descendants(supervisor.pid("serve"))
            assert await supervisor.stop("serve", signal.SIGINT) == 0
            assert not [child for child in left if command_line(child)], "children were left behind"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["service.py:svc", "--reload", "--workers", "2"], "leave --workers out"),
        (["--model", "iris:latest", "--reload"], "goes with a service"),
    ],
)
def test_what_reload_cannot_do_is_said(vts: CommandLine, arguments: list[str], said: str) -> None:
    ended = vts("serve", *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_only_python_files_of_the_project_are_watched(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "deep/b.py",
        ".hidden/c.py",
        "env/pyvenv.cfg",
        "env/lib/d.py",
        "__pycache__/e.py",
        "f.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert sorted(path.name for path in snapshot(tmp_path)) == ["a.py", "b.py"]
