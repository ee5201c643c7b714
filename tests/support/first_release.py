"""What release 0.1.0 wrote (tests/vectors/v0_1), and that release itself, to run beside this one."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from support.command_line import Ended
from support.source_tree import REPOSITORY
from support.stores import answers, wait_until
from support.supervisor import free_port

VECTORS: Final = REPOSITORY / "tests/vectors/v0_1"
WHEEL: Final = VECTORS / "vtsserving-0.1.0-py3-none-any.whl"
START_TIMEOUT_S: Final = 90.0

LIGHT: Final = frozenset(("vtsserving.sklearn", "vtsserving.picklable_model"))
"""Framework modules whose frameworks `make test` installs."""


def read_json(name: str) -> Any:
    """A JSON file of the vectors."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


EXPECTED: Final = read_json("expected.json")
TOKENS: Final = read_json("tokens.json")
PICKLES: Final = read_json("pickles.json")
MADE_WITH: Final[tuple[int, int]] = tuple(map(int, read_json("made.json")["python"].split(".")[:2]))  # type: ignore[assignment]
SAME_PYTHON: Final = sys.version_info[:2] == MADE_WITH
"""Whether pickles that carry code can be read here."""

MODELS: Final[dict[str, dict[str, Any]]] = {one["tag"]: one for one in EXPECTED["models"]}
DIGESTS: Final[dict[str, str]] = {
    one["tag"]: one["digest"] for one in (*EXPECTED["models"], *EXPECTED["packed"])
}
"""Of every model, the packed class included."""

IRIS: Final[str] = next(tag for tag in MODELS if tag.startswith("iris:") and tag != "iris:second")


def unpack(name: str, folder: Path) -> Path:
    """Lay down one of the trees: `home`, `store`, `backup` or `project`; returns where it is."""
    with tarfile.open(VECTORS / f"{name}.tar.gz") as tar:
        how: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
        tar.extractall(folder, **how)
    return folder / name


def files_below(path: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a directory with its content and modification time; locks, which say nothing, left out."""
    return {
        str(file.relative_to(path)): (file.read_bytes(), file.stat().st_mtime_ns)
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.suffix != ".lock"
    }


def post(url: str, body: Any, *, token: str = "", method: str = "POST") -> tuple[int, Any]:
    """Send JSON; returns status and the answer's JSON."""
    headers = {"content-type": "application/json", "x-request-timeout": "60"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None if method == "GET" else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=70) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")


@contextlib.contextmanager
def serving(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, ready: str = "/readyz"
) -> Iterator[str]:
    """A command that serves until it is interrupted, on a free port; yields its address when it is ready.

    Args:
        folder: for its log.
        arguments: of the command line, without the port.
        env: more environment; `release` gives that of 0.1.0.
        ready: the path that answers 200 when it is ready.
    """
    port = free_port()
    log = folder / f"served-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "vtsserving_cli", *arguments, "--port", str(port)],
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(
            lambda: process.poll() is not None or answers(url + ready),
            within_s=START_TIMEOUT_S,
            what=f"{arguments}",
        )
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        yield url
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, log.read_text(errors="replace")[-3000:]
    finally:
        process.kill()
        process.wait()


class FirstRelease:
    """Release 0.1.0 as it was published, with this environment's dependencies."""

    def __init__(self, folder: Path) -> None:
        """Unpack the wheel into `folder`."""
        with zipfile.ZipFile(WHEEL) as wheel:
            wheel.extractall(folder)
        self.env = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run its command line."""
        return self._run("-m", "vtsserving_cli", *arguments, env=env)

    def python(self, code: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run code that imports it."""
        return self._run("-c", code, env=env)

    def _run(self, *arguments: str, env: Mapping[str, str] | None) -> Ended:
        ended = subprocess.run(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
            env={**os.environ, **self.env, **(env or {})},
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)
