"""Hot swap: a name that moves to another version under load fails nobody; each answer says which version it is of."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from support.cluster import Cluster, row_and_answer, save_model
from support.load import Load, Report, Target
from support.stores import StoreProcess
from support.supervisor import Program, Supervisor, command_line, descendants, free_port, http_ok
from support.waiting import eventually
from vtsserving import models, picklable_model
from vtsserving._model.tag import Tag
from vtsserving._store_client.client import RegistryClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

TIMEOUT_S = 10.0

SHIFT = 0.25
"""What the second version adds to the answers of the first."""

SPREAD_S = 2.0
"""The store announces the change to every gateway; within this time after the first one, all have switched."""


SIGNATURES = {"predict": {"batchable": True}}


def workers(pid: int) -> int:
    """How many model processes a process has."""
    return sum("vtsserving_runner.child.worker" in command_line(child) for child in descendants(pid))


class CannotBeLoaded:
    """A model that is saved as well as any other, and raises when it is loaded."""

    def predict(self, rows: object) -> object:
        return rows

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (int, ("no number",))


async def until_answer_of(load: Load, tag: Tag) -> None:
    """Return when an answer of a version is there."""
    await eventually(lambda: str(tag.version) in load.versions, within_s=60.0, what=f"an answer of {tag}")


def check(report: Report, old: Tag, new: Tag) -> None:
    """Nobody failed, each answer is that of the version in its header, none is of the old one after the switch."""
    failed = [
        (round(a.began_s - report.answers[0].began_s, 1), a.detail)
        for a in report.answers
        if a.kind != "right"
    ]
    assert not failed, f"{failed[:8]} {report}"
    assert {answer.version for answer in report.answers} == {str(old.version), str(new.version)}, report
    switched_s = min(answer.ended_s for answer in report.answers if answer.version == new.version)
    late = [a for a in report.answers if a.version == old.version and a.began_s > switched_s + SPREAD_S]
    assert not late, f"{len(late)} answers of {old} after the switch"


def test_a_model_that_is_saved_anew_while_it_is_served_takes_over_without_a_failed_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    first = Tag.parse(save_model("linear"))
    port = free_port()
    argv = [sys.executable, "-m", "vtsserving_cli", "serve", "linear:latest", "--port", str(port)]
    env = {**os.environ, "VTSSERVING_RUNNER__SUPERSEDED_UNLOAD_S": "1"}

    shifts: dict[str, float] = {}

    async def scenario() -> None:
        async with Supervisor(tmp_path) as supervisor, httpx2.AsyncClient(timeout=30) as http:
            await supervisor.start("serve", Program(argv, env, http_ok(port, "/readyz")))
            target = Target(
                port, "/v1/models/linear/predict", TIMEOUT_S, row_and_answer, lambda v: shifts.get(v, 0.0)
            )

            async def successor() -> dict[str, str]:
                """What is told of the version that is to take over."""
                answer = await http.get(f"http://127.0.0.1:{port}/v1/models/linear")
                return dict(answer.json().get("successor", {}))

            async with Load.opened(target, per_s=60) as load:
                await until_answer_of(load, first)
                broken = picklable_model.save_model(
                    "linear", CannotBeLoaded(), signatures=SIGNATURES, check=False
                )
                while (await successor()).get("state") != "failed":
                    await asyncio.sleep(0.1)
                told = await successor()
                assert (told["tag"], "no number" in told["reason"]) == (str(broken.tag), True)
                assert "swap_failed" in supervisor.log("serve")
                assert set(load.versions) == {first.version}, "the old version goes on"
                second = Tag.parse(save_model("linear", SHIFT))
                shifts[str(second.version)] = SHIFT
                await until_answer_of(load, second)
                await load.progress(100)
                pid = supervisor.pid("serve")
                await eventually(lambda: workers(pid) == 1, what="the old version has left")
                report = await load.stop()
            print(report)
            check(report, first, second)

    print(asyncio.run(scenario()))


def test_a_pushed_version_takes_over_in_a_cluster_without_a_failed_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Tag.parse(save_model("linear"))
    shifts: dict[str, float] = {}

    async def scenario(cluster: Cluster, store: StoreProcess) -> None:
        async with cluster:
            target = replace(cluster.target(TIMEOUT_S), shift=lambda version: shifts.get(version, 0.0))
            async with Load.opened(target, per_s=60) as load:
                await until_answer_of(load, first)
                second = Tag.parse(await asyncio.to_thread(save_model, "linear", SHIFT))
                shifts[str(second.version)] = SHIFT
                await asyncio.to_thread(models.push, second)
                with RegistryClient(store.url) as client:
                    client.set_alias(second, "prod")
                began_s = time.monotonic()
                await until_answer_of(load, second)
                print(f"switched after {time.monotonic() - began_s:.1f} s")
                await load.progress(200)
                report = await load.stop()
            print(report)
            check(report, first, second)

    (tmp_path / "logs").mkdir()
    cluster = Cluster(tmp_path / "logs", tmp_path / "elsewhere", "linear:prod", twins=True)
    settings = {"VTSSERVING_STORE__DIR": str(tmp_path / "store"), "VTSSERVING_NATS_URL": cluster.nats_url}
    with StoreProcess(tmp_path, settings) as store:
        monkeypatch.setenv("VTSSERVING_STORE_URL", store.url)
        models.push(first)
        with RegistryClient(store.url) as client:
            client.set_alias(first, "prod")
        asyncio.run(scenario(cluster, store))
