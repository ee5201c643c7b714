"""From 0.1.0 to this release and back under load, one set beside the other, as deploy/roll.sh --beside does it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from support.cluster import row_and_answer
from support.deployed_nats import deployed_pair, environment
from support.edge import edge
from support.first_release import FirstRelease
from support.load import Load, Report, Target
from support.proofs import Proof
from support.supervisor import Program, Supervisor, free_port, http_ok, tcp_open
from support.waiting import eventually
from vtsserving._wire.limits import PROTOCOL_VERSION

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(900)]

TIMEOUT_S: Final = 20.0
CLIENTS: Final = 8
SERVICES: Final = ("batcher", "runner", "gateway")

SAVE: Final = """
import numpy as np, vtsserving.sklearn
from sklearn.linear_model import LinearRegression
model = LinearRegression()
model.coef_, model.intercept_, model.n_features_in_ = np.array([1.0, 0.001, 0.000_001, 0.5]), 0.0, 4
print(vtsserving.sklearn.save_model("linear", model, signatures={"predict": {"batchable": True}}).tag)
"""


def take_rights_of_version_2(config: Path) -> None:
    """Leave in a nats.conf the rights that it gave at 0.1."""
    text = config.read_text()
    assert f'"vts.v{PROTOCOL_VERSION}.' in text
    config.write_text(re.sub(rf'.*"vts\.v{PROTOCOL_VERSION}\..*\n', "", text))


class Change:
    """Two releases on one bus behind one edge."""

    def __init__(
        self, folder: Path, supervisor: Supervisor, releases: Mapping[str, dict[str, str]], each: int
    ) -> None:
        self.folder = folder
        self.supervisor = supervisor
        self.releases = releases
        self.each = each
        self.tag = ""
        self.running: dict[str, list[str]] = {}
        self._started = 0
        self.buses = deployed_pair(folder)
        for server in self.buses:
            server.port = free_port()
        take_rights_of_version_2(folder / "nats-0" / "nats.conf")
        self.ports = {name: [free_port() for _ in range(each)] for name in releases}
        self.kind, self.port, self.edge = edge(
            folder, [port for ports in self.ports.values() for port in ports]
        )

    @property
    def target(self) -> Target:
        return Target(self.port, f"/v1/models/{self.tag}/predict", TIMEOUT_S, row_and_answer)

    async def start_nats(self, number: int) -> None:
        server = self.buses[number]
        await self.supervisor.start(
            f"nats-{number}", Program(server.command(), os.environ, tcp_open(server.port))
        )

    async def roll_nats(self) -> None:
        """The second server takes over from the first one, which leaves as a lame duck."""
        await self.start_nats(1)
        await eventually(lambda: "Route connection created" in self.supervisor.log("nats-1"), within_s=10)
        await self.supervisor.stop("nats-0", signal.SIGUSR2)

    async def start(self, release: str) -> None:
        """Start a whole set: batchers, runners, then gateways; return when all are ready."""
        self.running[release] = []
        for service in SERVICES:
            for number in range(self.each):
                await self._start(release, service, number)

    async def end(self, release: str) -> None:
        """End a whole set, gateways first; each must finish what it took and exit 0."""
        for name in reversed(self.running.pop(release)):
            assert await self.supervisor.stop(name) == 0, name

    async def _start(self, release: str, service: str, number: int) -> None:
        port = self.ports[release][number] if service == "gateway" else free_port()
        own = f"VTSSERVING_{service.upper()}__"
        env = {
            **os.environ,
            **self.releases[release],
            **environment(service, ",".join(server.url for server in self.buses)),
            f"{own}PORT": str(port),
            **({f"{own}PRELOAD": self.tag} if service == "runner" else {}),
        }
        argv = [sys.executable, "-m", f"vtsserving_{service}"]
        self._started += 1
        name = f"{self._started} {release} {service}"
        self.running[release].append(name)
        await self.supervisor.start(name, Program(argv, env, http_ok(port, "/readyz")))


async def there_and_back(change: Change, rounds: int, requests: int) -> Report:
    """Load while the releases take over from each other; each has answered alone for `requests`."""
    await change.start_nats(0)
    await change.start("0.1")
    await change.supervisor.start("edge", change.edge)
    async with Load.closed(change.target, clients=CLIENTS) as load:
        await load.progress(requests)
        await change.roll_nats()
        for _ in range(rounds):
            for new, old in (("this", "0.1"), ("0.1", "this")):
                await change.start(new)
                await load.progress(requests)
                await change.end(old)
                await load.progress(requests)
        return await load.stop()


@pytest.mark.prove
def test_a_change_to_this_release_and_back_loses_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proof: Proof
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VTSSERVING_AUTH", "off")
    first = FirstRelease(tmp_path / "0.1")
    rounds, each = proof.count(full=3, quick=1), proof.count(full=2, quick=1)

    async def scenario() -> tuple[str, Report]:
        async with Supervisor(tmp_path) as supervisor:
            change = Change(tmp_path, supervisor, {"0.1": first.env, "this": {}}, each)
            change.tag = first.python(SAVE).out.split()[-1]
            try:
                return change.kind, await there_and_back(change, rounds, proof.count(full=1_000, quick=200))
            finally:
                for log in sorted(tmp_path.glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text(errors='replace')[-1_000:]}")

    kind, report = asyncio.run(scenario())
    print(report)
    proof.record(
        f"0.1.0 to this release and back, a set beside the other, {CLIENTS} clients, {kind}",
        changes=2 * rounds,
        of_each=each,
        requests=len(report.answers),
        not_right=len(report.answers) - len(report.of("right")),
        worst_s=max(answer.latency_s for answer in report.answers),
    )
    assert len(report.of("right")) == len(report.answers), report
