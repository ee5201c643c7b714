"""Loading and unloading over HTTP, through gateway, batcher and runner, on both buses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.buses import BusWorld
from support.client_environment import client_interpreter
from support.runner_models import GATE, open_gate, save, trouble
from support.waiting import eventually
from vtsserving._catalog.catalog import LocalCatalog
from vtsserving._local_store.store import LocalStore
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.orders import HOLD_S
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_gateway.app import GatewayApp
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Stack:
    """A gateway, batchers and runners; asks the gateway."""

    def __init__(self, gateway: GatewayApp, batchers: list[BatcherApp], runners: list[RunnerApp]) -> None:
        self.gateway, self.batchers, self.runners = gateway, batchers, runners
        self.http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", timeout=60.0)

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body)
        answer = await self.http.request(method, path, content=content)
        return answer.status_code, answer.json() if answer.content else None

    async def call(self, tag: str, first: float = 1.0) -> Any:
        """The doubled first value, or the error's code."""
        status, body = await self.ask("POST", f"/v1/models/{tag}/predict", [[first, 1.0]])
        return body[0][0] / 2 if status == 200 else body["error"]["code"]

    async def state(self, tag: str) -> tuple[str, str]:
        _, body = await self.ask("GET", f"/v1/models/{tag}")
        return body["state"], body["reason"]

    def processes(self) -> int:
        return sum(bool(f.pid) for runner in self.runners for f in runner._models.figures())


Scenario = Callable[[Stack], Awaitable[None]]


@pytest.fixture(params=["inprocess", "nats"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    def run(scenario: Scenario, *, batchers: int = 1, runners: int = 1) -> None:
        async def main(world: BusWorld) -> None:
            store = LocalStore()
            gateway = GatewayApp(await world.bus(), LocalCatalog(store), GatewaySettings(port=0))
            lower = [BatcherApp(await world.bus(), BatcherSettings()) for _ in range(batchers)]
            holders = [
                RunnerApp(await world.bus(), LocalSource(store), RunnerSettings(), LocalCatalog(store))
                for _ in range(runners)
            ]
            apps = [gateway, *lower, *holders]
            try:
                for app in apps:
                    await app.start()
                await eventually(lambda: gateway.client.batchers_alive == batchers)
                await eventually(lambda: gateway.fleet.alive == runners)
                stack = Stack(gateway, lower, holders)
                async with stack.http:
                    await scenario(stack)
            finally:
                for app in apps:
                    await app.close()

        BusWorld(request.param, tmp_path).run(main)

    return run


def test_a_model_is_loaded_and_unloaded_by_order(run: Callable[..., None], tmp_path: Path) -> None:
    tag = save("model", trouble(tmp_path)).tag

    async def scenario(stack: Stack) -> None:
        assert (await stack.state("model"))[0] == "not_loaded"
        status, body = await stack.ask("PUT", "/v1/models/model/loaded")
        assert (status, body["tag"], body["state"], body["reason"]) == (200, str(tag), "ready", "")
        assert stack.processes() == 1
        assert (await stack.ask("PUT", "/v1/models/model/loaded"))[0] == 200
        assert stack.processes() == 1, "loading what is loaded changes nothing"
        assert await stack.call("model", 3.0) == 3.0
        status, body = await stack.ask("DELETE", "/v1/models/model/loaded")
        assert (status, body["state"], body["runners"]) == (200, "not_loaded", 0)
        assert stack.processes() == 0
        assert (await stack.ask("DELETE", "/v1/models/model/loaded"))[0] == 200, "nor does unloading twice"

    run(scenario)


def test_after_unloading_a_call_is_refused_for_a_moment_and_later_ones_load_again(
    run: Callable[..., None], tmp_path: Path
) -> None:
    save("model", trouble(tmp_path))

    async def scenario(stack: Stack) -> None:
        assert await stack.call("model", 3.0) == 3.0
        await stack.ask("DELETE", "/v1/models/model/loaded")
        unloaded_s = time.monotonic()
        answers: list[Any] = []
        while not answers or answers[-1] == "model_unloading":
            if time.monotonic() - unloaded_s < HOLD_S / 2:
                assert stack.processes() == 0
            answers.append(await stack.call("model", 4.0))
        assert answers[0] == "model_unloading"
        assert answers[-1] == 4.0
        assert time.monotonic() - unloaded_s >= HOLD_S

    run(scenario)


def test_unloading_finishes_what_came_before_it(run: Callable[..., None], tmp_path: Path) -> None:
    save("model", trouble(tmp_path))

    async def scenario(stack: Stack) -> None:
        assert await stack.call("model", 3.0) == 3.0
        held = asyncio.ensure_future(stack.call("model", GATE))
        await eventually(lambda: stack.batchers[0].depth()[1] == 1)
        queued = [asyncio.ensure_future(stack.call("model", float(n))) for n in range(5)]
        await eventually(lambda: sum(stack.batchers[0].depth()) >= 2)
        unloading = asyncio.ensure_future(stack.ask("DELETE", "/v1/models/model/loaded"))

        async def is_unloading() -> bool:
            return (await stack.state("model"))[0] == "unloading"

        while not await is_unloading():
            await asyncio.sleep(0.01)
        assert await stack.call("model", 9.0) == "model_unloading"
        assert (await stack.ask("PUT", "/v1/models/model/loaded"))[1]["error"]["code"] == "model_unloading"
        assert not unloading.done()
        open_gate(tmp_path)
        assert await held == GATE
        assert await asyncio.gather(*queued) == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert (await unloading)[0] == 200
        assert stack.processes() == 0

    run(scenario)


def test_a_model_that_cannot_be_loaded_answers_with_the_reason(run: Callable[..., None]) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            return exec, ("raise RuntimeError('no licence for this model')",)

        def predict(self, x: Any) -> Any: ...

    save("broken", Broken(), check=False)

    async def scenario(stack: Stack) -> None:
        status, body = await stack.ask("PUT", "/v1/models/broken/loaded")
        assert (status, body["error"]["code"]) == (503, "model_load_failed")
        assert "no licence for this model" in body["error"]["message"]
        status, body = await stack.ask("POST", "/v2/repository/models/broken/load")
        assert status == 503
        assert "no licence for this model" in body["error"]
        await eventually(lambda: stack.gateway.fleet.state(_tag("broken")).name == "failed")
        assert "no licence for this model" in (await stack.state("broken"))[1]
        index = (await stack.ask("POST", "/v2/repository/index"))[1]
        shown = next(each for each in index if each["name"] == "broken")
        assert shown["state"] == "UNAVAILABLE"
        assert "no licence for this model" in shown["reason"]
        assert (await stack.ask("GET", "/v2/models/broken/ready"))[0] == 503

    run(scenario)


def test_the_open_inference_protocol_loads_and_unloads(run: Callable[..., None], tmp_path: Path) -> None:
    save("model", trouble(tmp_path))

    async def scenario(stack: Stack) -> None:
        index = "/v2/repository/index"
        assert (await stack.ask("POST", index, {"ready": True}))[1] == []
        assert await stack.ask("POST", "/v2/repository/models/model/load") == (200, None)
        (shown,) = (await stack.ask("POST", index, {"ready": True}))[1]
        assert (shown["name"], shown["state"], shown["reason"]) == ("model", "READY", "")
        assert (await stack.ask("GET", "/v2/models/model/ready"))[0] == 200
        wanted = {"parameters": {"unload_dependents": False}}
        assert await stack.ask("POST", "/v2/repository/models/model/unload", wanted) == (200, None)
        assert (await stack.ask("POST", index, {"ready": True}))[1] == []
        status, body = await stack.ask(
            "POST", "/v2/repository/models/model/load", {"parameters": {"config": "{}"}}
        )
        assert (status, "not supported" in body["error"]) == (400, True)
        for op in ("load", "unload"):
            assert (await stack.ask("POST", f"/v2/repository/models/nothing/{op}"))[0] == 404

    run(scenario)


TRITONCLIENT = """
import json, sys
import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

client = http.InferenceServerClient(sys.argv[1])
states = [client.is_model_ready("model")]
client.load_model("model")
index = client.get_model_repository_index()
states += [client.is_model_ready("model"), "READY" in [each["state"] for each in index if each["name"] == "model"]]
given = http.InferInput("x", [1, 2], "FP64")
given.set_data_from_numpy(np.array([[3.0, 1.0]]))
answers = [client.infer("model", [given], model_version=version) for version in ("", "latest", "stable", sys.argv[2])]
late = []
gate = http.InferInput("x", [1, 2], "FP64")
gate.set_data_from_numpy(np.array([[606.0, 1.0]]))  # waits for a file
try:
    client.infer("model", [gate], timeout=200_000)
except InferenceServerException as error:
    late.append(error.status())
open(sys.argv[3], "w").close()
client.unload_model("model")
states.append(client.is_model_ready("model"))
refused = []
for order in (lambda: client.load_model("nothing"), lambda: client.load_model("model", config="{}")):
    try:
        order()
    except InferenceServerException as error:
        refused.append(error.status())
print(json.dumps([states, [answer.as_numpy("output").tolist() for answer in answers], refused, late]))
"""

TRITONCLIENT_AIO = """
import asyncio, json, sys
import tritonclient.http.aio as http

async def main():
    async with http.InferenceServerClient(sys.argv[1]) as client:
        await client.load_model("model")
        states = [await client.is_model_ready("model")]
        await client.unload_model("model")
        print(json.dumps([*states, await client.is_model_ready("model")]))

asyncio.run(main())
"""


def test_tritonclient_loads_and_unloads(run: Callable[..., None], tmp_path: Path) -> None:
    python = client_interpreter("tritonclient")
    model = save("model", trouble(tmp_path))
    LocalStore().set_alias(model.tag, "stable")

    async def scenario(stack: Stack) -> None:
        async def client(program: str) -> Any:
            arguments = (f"127.0.0.1:{stack.gateway.port}", str(model.info.ordinal), str(tmp_path / "gate"))
            process = await asyncio.create_subprocess_exec(
                python, "-c", program, *arguments, stdout=asyncio.subprocess.PIPE
            )
            out, _ = await process.communicate()
            assert process.returncode == 0
            return json.loads(out)

        states, answers, refused, late = await client(TRITONCLIENT)
        assert states == [False, True, True, False]
        assert answers == [[[6.0, 2.0]]] * 4
        assert refused == ["404", "400"]
        assert late == ["504"]
        assert await client(TRITONCLIENT_AIO) == [True, False]

    run(scenario)


def test_orders_find_the_owner_among_batchers_and_unload_from_every_runner(
    run: Callable[..., None], tmp_path: Path
) -> None:
    names = [f"model{n}" for n in range(3)]
    for name in names:
        save(name, trouble(tmp_path))

    async def scenario(stack: Stack) -> None:
        loaded = await asyncio.gather(*(stack.ask("PUT", f"/v1/models/{name}/loaded") for name in names))
        assert [status for status, _ in loaded] == [200] * 3
        for runner in stack.runners:
            await runner.preload(names[:1])
        await eventually(lambda: len(stack.gateway.fleet.runners(_tag(names[0]))) == 2)
        done = await asyncio.gather(*(stack.ask("DELETE", f"/v1/models/{name}/loaded") for name in names))
        assert [status for status, _ in done] == [200] * 3
        assert stack.processes() == 0

    run(scenario, batchers=2, runners=2)


def test_an_order_survives_the_loss_of_its_batcher(run: Callable[..., None], tmp_path: Path) -> None:
    save("model", trouble(tmp_path))

    async def scenario(stack: Stack) -> None:
        owner = stack.gateway.client._batchers.owner(_tag("model"))
        await next(batcher for batcher in stack.batchers if batcher.id == owner).close()
        status, body = await stack.ask("PUT", "/v1/models/model/loaded")
        assert (status, body["state"]) == (200, "ready")

    run(scenario, batchers=2)


def test_the_time_limit_of_an_order_is_the_requests(run: Callable[..., None], tmp_path: Path) -> None:
    save("model", trouble(tmp_path))

    async def scenario(stack: Stack) -> None:
        headers = {"X-Request-Timeout": "0.001"}
        answer = await stack.http.put("/v1/models/model/loaded", headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
        answer = await stack.http.put("/v1/models/model/loaded", headers={"X-Request-Timeout": "soon"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_deadline")
        await eventually(lambda: bool(stack.gateway.fleet.runners(_tag("model"))), within_s=30)

    run(scenario)


def _tag(name: str) -> str:
    return str(LocalStore().get(name).tag)
