"""The OpenAPI document against the store, by schemathesis, in an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.sdk import save_text
from support.stores import ThreadedStore
from vtsserving._local_store.store import LocalStore
from vtsserving._store_client import transfer

PACKAGE = "schemathesis>=4.30,<5"

# Not `positive_data_acceptance`: which names and digests exist is more than a schema can say.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method"
)

pytestmark = [pytest.mark.frameworks("own"), pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def schemathesis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed where it cannot change this environment."""
    folder = tmp_path_factory.mktemp("schemathesis")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", PACKAGE], check=True)
    return folder / "bin" / "schemathesis"


@pytest.mark.parametrize("known", [False, True], ids=["any names", "names that exist"])
def test_no_answer_is_undocumented(
    schemathesis: Path, store: ThreadedStore, local: LocalStore, tmp_path: Path, known: bool
) -> None:
    model = transfer.push(save_text(local, "m:1").tag, store_url=store.url, store=local)
    names = {
        "name": "m",
        "ref": "latest",
        "version": "1",
        "alias": "prod",
        "digest": f"sha256:{model.manifest.files[0].sha256}",
    }
    lines = "".join(f'"path.{name}" = "{value}"\n' for name, value in names.items()) if known else ""
    (tmp_path / "schemathesis.toml").write_text(f"[parameters]\n{lines}")
    # The stream of events never ends, so it cannot be called this way.
    options = [
        "--exclude-path",
        "/api/v1/events",
        "--phases",
        "examples,coverage,fuzzing",
        "--checks",
        CHECKS,
    ]
    done = subprocess.run(
        [
            str(schemathesis),
            "run",
            f"{store.url}/openapi.json",
            *options,
            *("--max-examples", "20", "--suppress-health-check", "all", "--seed", "1"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-6000:]
