"""Damaged bodies of every form: none ends the gateway, and none is answered with a fault of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.damaged_requests import run, sound_bodies
from support.proofs import Proof
from support.python_process import install, python_with

pytestmark = pytest.mark.prove


@pytest.mark.timeout(600)
def test_a_damaged_body_gets_an_answer_and_never_500(proof: Proof) -> None:
    statuses, wrong = run(sound_bodies, proof.count(full=1_000, quick=40), proof.seed)
    for form, found in statuses.items():
        proof.record(
            f"damaged {form}", **{f"answers_{status}": count for status, count in sorted(found.items())}
        )
    assert not wrong, "\n".join(wrong[:5])
    assert all(max(found) >= 400 for found in statuses.values()), statuses


@pytest.mark.slow
@pytest.mark.frameworks("own")
@pytest.mark.timeout(1_200)
def test_a_damaged_arrow_or_parquet_body_gets_an_answer_and_never_500(proof: Proof, tmp_path: Path) -> None:
    folder = install(tmp_path / "packages")
    count = proof.count(full=1_000, quick=60)
    output = python_with(
        folder, "-m", "support.damaged_requests", str(count), str(proof.seed), timeout_s=1_100
    )
    found = json.loads(output.splitlines()[-1])
    for form, statuses in found["statuses"].items():
        proof.record(f"damaged {form}", **{f"answers_{status}": count for status, count in statuses.items()})
    assert not found["wrong"], "\n".join(found["wrong"][:5])
    assert len(found["statuses"]) == 12
