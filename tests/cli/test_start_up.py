"""How long commands take before they do anything, on a store with many models."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from support.archives import save_model
from support.command_line import command
from support.proofs import Proof
from vtsserving._local_store.store import LocalStore

ROUNDS = 7
FLOOR = (sys.executable, "-c", "import yaml, rich, typer")


def fastest_s(commands: dict[str, Sequence[str]]) -> dict[str, float]:
    """The shortest time of each command, all of them in turn, so that a busy moment hits all alike."""
    best = dict.fromkeys(commands, float("inf"))
    for _ in range(ROUNDS):
        for name, argv in commands.items():
            started_s = time.perf_counter()
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=60)
            best[name] = min(best[name], time.perf_counter() - started_s)
    return best


@pytest.mark.alone
@pytest.mark.prove
@pytest.mark.timeout(600)
def test_commands_start_as_fast_as_their_imports(
    store: LocalStore, proof: Proof, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As users run it: with compiled files kept between runs.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    models = proof.count(full=2_000, quick=100)
    for number in range(models):
        save_model(store, {"weights.bin": b"w"}, tag=f"model-{number % 20}")
    best = fastest_s(
        {
            "floor": FLOOR,
            "get": command("models", "get", "model-3"),
            "list 20": command("models", "list", "--limit", "20"),
            "list all as json": command("models", "list", "-o", "json"),
        }
    )
    floor = best.pop("floor")
    ratios = {name: round(value / floor, 2) for name, value in best.items()}
    proof.record(f"{models} models, time over `import yaml, rich, typer` ({floor * 1000:.0f} ms)", **ratios)
    assert ratios["get"] <= 2
    assert ratios["list 20"] <= 2
    assert ratios["list all as json"] <= 5
