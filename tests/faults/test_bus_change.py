"""Two gateways, batchers and runners on a cluster of two nats-servers: one of these leaves, and comes back, under load.

Everybody who was connected to it changes to the other one. Single servers that die or hang: test_scarcity.py.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from support.cluster import save_model
from support.load import Load, Report
from support.proofs import Proof
from support.running_cluster import RunningCluster, own_home, running
from support.two_of_each import LOAD_TIMEOUT_S, check, record
from support.waiting import eventually

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(480)]

LAME_DUCK_S = 60.0
"""A lame duck closes the connections of its clients one by one, for seconds, before it ends."""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """The cluster of all tests here."""
    folder, home = tmp_path_factory.mktemp("two"), tmp_path_factory.mktemp("home")
    with own_home(home):
        tag = save_model("linear")
    with running(folder, home, tag, buses=2) as cluster:
        yield cluster


@pytest.mark.prove
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGTERM, id="ended"),
        pytest.param(signal.SIGUSR2, id="lame duck"),
        pytest.param(signal.SIGKILL, id="killed"),
    ],
)
def test_a_change_to_another_nats_server_costs_no_request(
    two: RunningCluster, proof: Proof, number: signal.Signals
) -> None:
    async def leave(name: str) -> None:
        supervisor = two.cluster.supervisor
        pid = supervisor.pid(name)
        supervisor.kill(name, number)
        await eventually(lambda: supervisor.running(name) not in (None, pid), within_s=LAME_DUCK_S)
        await supervisor.ready(name)

    async def scenario() -> Report:
        async with Load.closed(two.cluster.target(LOAD_TIMEOUT_S), clients=8) as load:
            await load.progress(200)
            for _ in range(proof.count(full=5, quick=1)):
                for name in two.cluster.bus_names:
                    await leave(name)
                    await load.progress(200)
            return await load.stop()

    report = two.run(scenario())
    record(proof, f"two of each on two nats-servers, {number.name} to each in turn", report)
    check(report)
    assert len(report.of("right")) == len(report.answers), report
