"""Custom Runnables behind a Service: packed as hidden models, computed in model processes, here and in a cluster."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

import vtsserving
from support.cluster import row_and_answer, save_model
from support.command_line import CommandLine
from support.nats_server import NatsServer
from support.projects import Project
from support.stores import StoreProcess
from support.supervisor import Program, Supervisor, free_port, http_ok
from vtsserving._bus.nats import NatsBus
from vtsserving._local_store.store import LocalStore
from vtsserving._packing.fingerprint import fingerprint
from vtsserving._packing.package import pack
from vtsserving._packing.package_tags import dependencies_of, packed_tag
from vtsserving._wire.model_reports import ready_tags
from vtsserving.exceptions import InvalidArgument, InvalidTag
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_embedded.app import EmbeddedApp
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.cache import StoreSource
from vtsserving_runner.settings import RunnerSettings

pytestmark = pytest.mark.timeout(120)

GATEWAY = [sys.executable, "-m", "vtsserving_gateway"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VTSSERVING_GATEWAY__GRACE_S", "0")
    LocalStore().set_alias(save_model("linear"), "live")
    return Project(tmp_path / "project", monkeypatch)


@pytest.fixture
def vts(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)


async def answers_as_the_class_does(client: httpx2.AsyncClient) -> None:
    rows = [row_and_answer(number) for number in range(40)]
    found = await asyncio.gather(*(client.post("/score", json=[row]) for row, _ in rows))
    assert [answer.json() for answer in found] == [[pytest.approx(20 * wanted)] for _, wanted in rows]
    whole = await client.post("/score", json=[row for row, _ in rows])
    assert whole.json() == pytest.approx([20 * wanted for _, wanted in rows])

    found = await asyncio.gather(*(client.post("/columns", json=[[i], [i]]) for i in range(40)))
    sizes, pids = zip(*(answer.json()[0] for answer in found), strict=True)
    assert max(sizes) > 1, "calls of several requests share a batch"
    assert max(sizes) <= 16
    assert len(set(pids)) == 1
    assert pids[0] != os.getpid(), "it is computed in a model process"
    answer = await client.post("/describe", json="?")
    assert answer.json() == {"name": "scorer?", "threads": "3"}


async def shows_nothing_of_the_class(client: httpx2.AsyncClient) -> None:
    assert [m["name"] for m in (await client.get("/v1/models")).json()["models"]] == ["linear"]
    tag = LocalStore().list(hidden=True)[0].tag
    assert tag.name == "packed.scorer"
    for url in (f"/v1/models/{tag}/score", f"/v2/models/{tag.name}/infer"):
        assert (await client.post(url, json=[[1.0, 2.0, 3.0, 4.0]])).status_code == 404


def test_embedded_a_class_is_packed_and_served(project: Project) -> None:
    service = project.load()

    async def scenario() -> None:
        app = EmbeddedApp([], port=0, service=service)
        try:
            await app.start()
            # What the class uses runs within its own process.
            warm = sorted(ready_tags(app._runner._models.reports()))
            assert [tag.partition(":")[0] for tag in warm] == ["packed.scorer"]
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{app.port}", trust_env=False) as client:
                await answers_as_the_class_does(client)
                await shows_nothing_of_the_class(client)
        finally:
            await app.close()

    asyncio.run(scenario())
    local = project.runner()
    local.init_local()
    row, wanted = row_and_answer(7)
    assert local.score.run(np.array([row])).tolist() == [pytest.approx(20 * wanted)]


def test_in_a_cluster_the_store_has_what_services_push_sent(
    project: Project, tmp_path: Path, vts: CommandLine
) -> None:
    nats = NatsServer(tmp_path)
    nats.start()
    settings = {"VTSSERVING_STORE__DIR": str(tmp_path / "store"), "VTSSERVING_NATS_URL": nats.url}

    async def serve(store: StoreProcess) -> None:
        bus = await NatsBus.connect(nats.url, timeout_s=10)
        source = StoreSource(store.url, tmp_path / "cache")
        apps: list[Any] = [BatcherApp(bus, BatcherSettings()), RunnerApp(bus, source, RunnerSettings())]
        try:
            for app in apps:
                await app.start()
            async with Supervisor(tmp_path) as supervisor:
                port = free_port()
                started = Program(GATEWAY, gateway(store, port), http_ok(port, "/readyz"))
                await supervisor.start("gateway", started)
                # Ready means that the class is constructed, on a runner that nobody had told of it.
                (tag,) = ready_tags(apps[1]._models.reports())
                assert tag.partition(":")[0] == "packed.scorer"
                url = f"http://127.0.0.1:{port}"
                async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
                    await answers_as_the_class_does(client)
        finally:
            for app in apps:
                await app.close()
            await bus.close()
            source.close()

    def gateway(store: StoreProcess, port: int) -> dict[str, str]:
        """Its environment: nothing but addresses; its local store is empty."""
        return {
            **os.environ,
            "VTSSERVING_HOME": str(tmp_path / "nothing"),
            "VTSSERVING_SERVICE": project.target,
            "VTSSERVING_STORE_URL": store.url,
            "VTSSERVING_NATS_URL": nats.url,
            "VTSSERVING_GATEWAY__PORT": str(port),
        }

    try:
        with StoreProcess(tmp_path, settings) as store:
            vtsserving.models.push("linear", store_url=store.url)
            LocalStore().set_alias("linear", "live")
            ended = subprocess.run(
                GATEWAY, env=gateway(store, 0), capture_output=True, text=True, timeout=60, check=False
            )
            assert ended.returncode == 3
            assert f"run: vtsserving services push {project.target}" in ended.stderr.splitlines()[-1]
            first = vts("services", "push", project.target, "--store", store.url)
            assert first.code == 0, first.err
            assert [line.split()[0] for line in first.out.splitlines()] == ["The", "Pushed"]
            second = vts("services", "push", project.target, "--store", store.url)
            assert [line.split()[0] for line in second.out.splitlines()] == ["The", "The"]
            asyncio.run(serve(store))
            stays_hidden_in(store, vts)
    finally:
        nats.kill()


def stays_hidden_in(store: StoreProcess, vts: CommandLine) -> None:
    listed = vts("models", "list", "-q", "--store", store.url).out.split()
    assert [tag.partition(":")[0] for tag in listed] == ["linear"]
    every = vts("models", "list", "-q", "--hidden", "--store", store.url).out.split()
    assert sorted(tag.partition(":")[0] for tag in every) == ["linear", "packed.scorer"]
    assert "packed." not in httpx2.get(f"{store.url}/", trust_env=False).text
    assert vts("models", "prune", "--keep", "0", "-y", "--store", store.url).code == 0
    assert "packed.scorer" in vts("models", "list", "-q", "--hidden", "--store", store.url).out


def test_a_packed_class_is_hidden_and_not_pruned_here(project: Project, vts: CommandLine) -> None:
    packed = vts("services", "pack", project.target)
    assert packed.out == f"Packed runner 'scorer' as {packed_tag(project.runner())}\n"
    assert [model.tag.name for model in vtsserving.models.list()] == ["linear"]
    assert vts("models", "list", "-q").out.split() == [str(vtsserving.models.get("linear").tag)]
    assert "packed.scorer:" in vts("models", "list", "-q", "--hidden").out
    vts("models", "prune", "--keep", "0", "-y")
    assert vts("models", "prune", "packed.scorer", "--keep", "0", "-y").code == 2
    assert len(vtsserving.models.list(hidden=True)) == 2, "the alias keeps the one, its kind the other"
    for save in (
        vtsserving.picklable_model.save_model,
        lambda name, _: vtsserving.models.create(name).__enter__(),
    ):
        with pytest.raises(InvalidTag, match="kept for packed runners"):
            save("packed.mine", len)


def test_the_same_class_is_the_same_model_and_any_change_another_one(project: Project) -> None:
    first = pack(project.runner())
    assert pack(project.runner()) == first
    assert len(vtsserving.models.list(hidden=True)) == 2
    (need,) = dependencies_of(first.manifest.extra)
    assert (need.tag, need.aliases) == (vtsserving.models.get("linear").tag, ("live",))
    assert (first.info.options.threads, first.info.options.max_batch_size) == (3, 16)

    seen = {str(packed_tag(project.runner()))}
    text = (project.folder / "project_service.py").read_text()
    scales = (project.folder / "project_scales.py").read_text()
    for name, changed in [
        ("project_service.py", text.replace('"by": 2.0', '"by": 3.0')),
        ("project_service.py", text.replace("max_batch_size=16", "max_batch_size=17")),
        ("project_service.py", text.replace("scorer{suffix}", "scorer-{suffix}")),
        ("project_scales.py", scales.replace("10.0", "11.0")),
    ]:
        project.write(name, changed)
        seen.add(str(packed_tag(project.runner())))
        project.write("project_service.py", text)
    assert len(seen) == 5


class Tool(vtsserving.Runnable):
    def __init__(self, **parameters: Any) -> None:
        self.parameters = parameters

    @vtsserving.Runnable.method
    def use(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 2.0}),
        ({"x", "y", "z"}, {"z", "x", "y"}, {"x", "y"}),
        (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2)),
        (Path("/a"), Path("/a"), Path("/b")),
        ([b"1", (None, True)], [b"1", (None, True)], [b"1", (None, 1)]),
        (vtsserving.Tag("a", "b"), vtsserving.Tag("a", "b"), vtsserving.Tag("a", "c")),
    ],
    ids=["dict", "set", "array", "path", "nested", "object"],
)
def test_parameters_are_told_apart_by_their_content(one: Any, same: Any, other: Any) -> None:
    def print_of(value: Any) -> str:
        return fingerprint(vtsserving.Runner(Tool, runnable_init_params={"value": value}))

    assert print_of(one) == print_of(same) != print_of(other)


def test_functions_without_a_name_of_their_own_are_told_apart_by_their_code() -> None:
    def print_of(value: Any) -> str:
        return fingerprint(vtsserving.Runner(Tool, runnable_init_params={"value": value}))

    def adder(number: int) -> Callable[[int], int]:
        return lambda x: x + number

    assert len({print_of(one) for one in (lambda x: x + 1, lambda x: x + 2, lambda x: x * 2)}) == 3
    assert print_of(adder(1)) == print_of(adder(1)) != print_of(adder(2))
    assert print_of(len) != print_of(max)


def test_a_parameter_without_content_is_named() -> None:
    runner = vtsserving.Runner(Tool, runnable_init_params={"log": open(os.devnull)})  # noqa: SIM115
    with (
        runner.runnable_init_params["log"],
        pytest.raises(InvalidArgument, match=r"runnable_init_params\['log'\]"),
    ):
        pack(runner)


def test_a_class_that_cannot_be_constructed_says_why_when_the_service_starts(project: Project) -> None:
    text = (project.folder / "project_service.py").read_text()
    project.write("project_service.py", text.replace("self.by = by", "raise RuntimeError('no licence')"))
    service = project.load()

    async def scenario() -> None:
        app = EmbeddedApp([], port=0, service=service)
        try:
            with pytest.raises(vtsserving.exceptions.ModelLoadFailed, match="RuntimeError: no licence"):
                await app.start()
        finally:
            await app.close()

    asyncio.run(scenario())
