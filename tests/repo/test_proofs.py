from __future__ import annotations

from pathlib import Path

import pytest

from support.proofs import Ledger, Proof, append


def test_ordinary_runs_are_quick_and_always_use_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VTSSERVING_PROVE", raising=False)
    monkeypatch.delenv("VTSSERVING_PROVE_SEED", raising=False)
    first, second = Ledger.from_environment(), Ledger.from_environment()
    assert first.seed == second.seed
    assert Proof("t", first).count(full=10_000, quick=10) == 10


def test_proving_runs_are_full_size_and_repeat_a_given_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_PROVE", "1")
    monkeypatch.setenv("VTSSERVING_PROVE_SEED", "7")
    proof = Proof("t", Ledger.from_environment())
    assert proof.count(full=10_000, quick=10) == 10_000
    assert proof.seed == 7


def test_a_run_is_appended_with_seed_machine_and_outcome(tmp_path: Path) -> None:
    ledger = Ledger(proving=True, seed=7)
    Proof("tests/a.py::t", ledger).record("all right", requests=10, wrong=0, recovery_s=1.23456)
    ledger.settle("tests/a.py::t", "passed")
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
