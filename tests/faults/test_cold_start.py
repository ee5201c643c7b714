"""Everything is started at once, in any order: it serves as soon as the last of what it needs is there."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import permutations
from pathlib import Path

import pytest

from support.cluster import Cluster, save_model
from support.load import Load
from support.proofs import Proof

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.prove, pytest.mark.timeout(900)]

APART_S = 0.7
"""Between the starts of two services."""

SERVES_S = 15.0
"""It serves so soon after the last start; on a machine so busy that an ordinary start takes longer, twice that long."""


def test_services_that_start_in_any_order_serve_soon_after_the_last_and_none_gives_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    tag = save_model("linear")
    orders = list(permutations(("nats", "gateway", "batcher", "runner")))
    random.Random(proof.seed).shuffle(orders)
    # One where nothing that others need is there first, and some more.
    chosen = [("gateway", "batcher", "runner", "nats"), *orders[: proof.count(full=23, quick=1)]]

    async def start(order: tuple[str, ...], folder: Path) -> float:
        async with Cluster(folder, tmp_path / "home", tag, starts=order, apart_s=APART_S) as cluster:
            async with Load.closed(cluster.target(5.0), clients=2) as load:
                await load.progress(20, within_s=60.0)
                report = await load.stop()
            assert not report.of("wrong"), report
            assert not report.late, report
            for name in order:
                assert not cluster.supervisor.exit_codes(name), (
                    f"{name} gave up: {cluster.supervisor.log(name)}"
                )
            return time.monotonic() - cluster.last_start_s

    async def ordinary() -> float:
        (tmp_path / "ordinary").mkdir()
        async with Cluster(tmp_path / "ordinary", tmp_path / "home", tag) as cluster:
            return cluster.boot_s

    limit_s = max(SERVES_S, 2 * asyncio.run(ordinary()))
    took_s = []
    for number, order in enumerate(chosen):
        folder = tmp_path / str(number)
        folder.mkdir()
        took_s.append(asyncio.run(start(order, folder)))
    proof.record("cold start in any order", orders=len(took_s), slowest_s=round(max(took_s), 1))
    assert max(took_s) < limit_s, took_s
