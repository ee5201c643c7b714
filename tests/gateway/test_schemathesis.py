"""The OpenAPI document against the gateway, by schemathesis, in an environment of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.client_environment import interpreter_with
from support.served_gateway import ServedGateway

PACKAGE = "schemathesis>=4.30,<5"

# Not `positive_data_acceptance`: what a model takes is more than its schema can say.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method"
)

WITHOUT_SPECS = r"^/v1/models/(free|whole|many|mixed|failing)/"
"""Models that nothing is recorded of: what they are sent is for them to refuse, which is a 500."""

pytestmark = [pytest.mark.frameworks, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def schemathesis() -> Path:
    """The command, installed where it cannot change this environment."""
    return interpreter_with("schemathesis", PACKAGE).with_name("schemathesis")


@pytest.mark.parametrize("known", [False, True], ids=["any names", "names that exist"])
def test_no_answer_is_undocumented(
    schemathesis: Path, gateway: ServedGateway, tmp_path: Path, known: bool
) -> None:
    names = {"tag": "iris", "method": "predict", "model": "iris", "version": "v1"} if known else {}
    lines = "".join(f'"path.{name}" = "{value}"\n' for name, value in names.items())
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{lines}")
    gateway.run(lambda: gateway.backend.loaded.append("iris:v1"))
    gateway.run(lambda: setattr(gateway.backend, "obeys", True))
    url = f"http://127.0.0.1:{gateway.port}/openapi.json"
    options = ["--phases", "examples,coverage,fuzzing", "--checks", CHECKS, "--max-examples", "20"]
    quiet = ["--exclude-path-regex", WITHOUT_SPECS, "--suppress-health-check", "all", "--seed", "1"]
    done = subprocess.run(
        [str(schemathesis), "run", url, *options, *quiet],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-6000:]
