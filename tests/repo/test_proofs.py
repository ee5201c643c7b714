from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from support.proofs import Ledger, Proof, append


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], pytest.TestReport]:
    """A function: the report of this test's call, with what it has recorded, as another process receives it."""

    def made(outcome: str) -> pytest.TestReport:
        node = request.node
        sent = pytest.TestReport(
            "tests/a.py::t",
            ("tests/a.py", 1, "t"),
            {},
            outcome,
            None,
            "call",
            user_properties=node.user_properties,
        )
        received = pytest.TestReport._from_json(json.loads(json.dumps(sent._to_json())))
        node.user_properties.clear()
        return received

    return made


def test_ordinary_runs_are_quick_and_always_use_the_same_seed(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.delenv("VTSSERVING_PROVE", raising=False)
    monkeypatch.delenv("VTSSERVING_PROVE_SEED", raising=False)
    first, second = Ledger.from_environment(), Ledger.from_environment()
    assert first.seed == second.seed
    assert Proof(request.node, first).count(full=10_000, quick=10) == 10


def test_proving_runs_are_full_size_and_repeat_a_given_seed(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("VTSSERVING_PROVE", "1")
    monkeypatch.setenv("VTSSERVING_PROVE_SEED", "7")
    proof = Proof(request.node, Ledger.from_environment())
    assert proof.count(full=10_000, quick=10) == 10_000
    assert proof.seed == 7


def test_a_run_is_appended_with_seed_machine_and_outcome(
    tmp_path: Path, request: pytest.FixtureRequest, report: Callable[[str], pytest.TestReport]
) -> None:
    ledger = Ledger(proving=True, seed=7)
    Proof(request.node, ledger).record("all right", requests=10, wrong=0, recovery_s=1.23456)
    ledger.add(report("passed"))
    path = tmp_path / "docs" / "proofs.md"
    append(path, ledger)
    append(path, ledger)
    text = path.read_text()
    assert text.count("# Proofs\n") == 1
    assert text.count("Seed 7; ") == 2
    row = "| all right | requests=10, wrong=0, recovery_s=1.235 | passed | `tests/a.py::t` |"
    assert text.count(row) == 2


def test_a_run_on_another_s3_server_than_the_tests_own_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(proving=True, seed=7)
    monkeypatch.setenv("VTSSERVING_TEST_S3_NAME", "Some S3 1.2")
    append(tmp_path / "proofs.md", ledger)
    assert "S3" not in (tmp_path / "proofs.md").read_text()
    monkeypatch.setenv("VTSSERVING_TEST_S3", "http://127.0.0.1:1")
    append(tmp_path / "proofs.md", ledger)
    assert "; S3: Some S3 1.2.\n" in (tmp_path / "proofs.md").read_text()
