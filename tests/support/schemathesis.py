"""Schemathesis against a gateway, in an environment of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from support.client_environment import interpreter_with

PACKAGE: Final = "schemathesis>=4.30,<5"

# Not `positive_data_acceptance`: what a model takes is more than its schema can say.
CHECKS: Final = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method"
)
TIMEOUT_S: Final = 400.0

HOOKS: Final = """
import schemathesis

@schemathesis.serializer(
    "application/x-npy", "application/msgpack", "application/vnd.apache.parquet", "application/pdf"
)
def as_it_is(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
"""
"""What schemathesis cannot write: bytes that are none of these, mostly, so that they are refused."""


def command() -> Path:
    """The command, installed where it cannot change the environment of the tests."""
    return interpreter_with("schemathesis", PACKAGE).with_name("schemathesis")


def findings(
    port: int, folder: Path, *, only: str = "", without: str = "", names: Mapping[str, str] | None = None
) -> str:
    """What schemathesis finds wrong with a gateway; empty if it finds nothing.

    Args:
        port: of the gateway, on this machine.
        folder: for its files.
        only: regular expression of the paths to call; empty: all.
        without: regular expression of the paths to leave out; empty: none.
        names: path parameters that are always these.
    """
    (folder / "hooks.py").write_text(HOOKS)
    lines = "".join(f'"path.{name}" = "{value}"\n' for name, value in (names or {}).items())
    (folder / "schemathesis.toml").write_text(f'hooks = "hooks.py"\n[parameters]\n{lines}')
    options = ["--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--max-examples", "20"]
    options += ["--suppress-health-check", "all", "--seed", "1"]
    options += ["--include-path-regex", only] if only else []
    options += ["--exclude-path-regex", without] if without else []
    done = subprocess.run(
        [str(command()), "run", f"http://127.0.0.1:{port}/openapi.json", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return "" if done.returncode == 0 else done.stdout[-12_000:]
