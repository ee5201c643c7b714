"""What requests become in the model's hands, over HTTP and both buses: the specification's arrays, in arrival order."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

import vtsserving
from support.buses import BusWorld
from support.waiting import eventually
from vtsserving._catalog.catalog import LocalCatalog
from vtsserving._local_store.store import LocalStore
from vtsserving_batcher.app import BatcherApp
from vtsserving_batcher.settings import BatcherSettings
from vtsserving_gateway.app import GatewayApp
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.source import LocalSource
from vtsserving_runner.settings import RunnerSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


class Case(NamedTuple):
    """Requests that come one after the other, and what the model is called with.

    Attributes:
        method: of the model.
        batch_dim: of its signature.
        bodies: of the requests; a new one is sent when the one before waits.
        rows: of all requests that share the first batch.
        calls: the arguments of all calls, in order.
        answers: to the requests.
    """

    method: str
    batch_dim: Any
    bodies: list[Any]
    rows: int
    calls: list[Any]
    answers: list[Any]


def tens(nested: Any) -> Any:
    return [tens(item) for item in nested] if isinstance(nested, list) else 10 * nested


FIRST, SECOND = [[1, 2], [3, 4]], [[5, 6]]
COLUMN = [[5], [6]]
CUBE, SLICE = [[[1, 2], [3, 4]]], [[[5], [6]]]

CASES = {
    "the page's rows": Case(
        "predict", 0, [FIRST, SECOND], 3, [[[[1, 2], [3, 4], [5, 6]], 1]], [tens(FIRST), tens(SECOND)]
    ),
    "the page's rows, the other way round": Case(
        "predict", 0, [SECOND, FIRST], 3, [[[[5, 6], [1, 2], [3, 4]], 1]], [tens(SECOND), tens(FIRST)]
    ),
    "the page's columns": Case(
        "columns", 1, [FIRST, COLUMN], 3, [[[[1, 2, 5], [3, 4, 6]], 1]], [tens(FIRST), tens(COLUMN)]
    ),
    "the page's columns, the other way round": Case(
        "columns", 1, [COLUMN, FIRST], 3, [[[[5, 1, 2], [6, 3, 4]], 1]], [tens(COLUMN), tens(FIRST)]
    ),
    "the third axis": Case(
        "cubes", 2, [CUBE, SLICE], 3, [[[[[1, 2, 5], [3, 4, 6]]], 1]], [tens(CUBE), tens(SLICE)]
    ),
    "columns in, rows out": Case(
        "turned",
        (1, 0),
        [FIRST, COLUMN],
        3,
        [[[[1, 2, 5], [3, 4, 6]], 1]],
        [[[10, 30], [20, 40]], [[50, 60]]],
    ),
    "several arguments, by position and by name": Case(
        "added",
        0,
        [
            {"args": [[1, 2]], "kwargs": {"y": [10, 20]}},
            {"args": [[3]], "kwargs": {"y": [30]}},
        ],
        3,
        [[[1, 2, 3], [10, 20, 30]]],
        [[11, 22], [33]],
    ),
    "arguments without rows that are equal": Case(
        "predict",
        0,
        [{"args": [FIRST], "kwargs": {"factor": 2}}, {"args": [SECOND], "kwargs": {"factor": 2}}],
        3,
        [[[[1, 2], [3, 4], [5, 6]], 2]],
        [[[20, 40], [60, 80]], [[100, 120]]],
    ),
    "arguments without rows that differ": Case(
        "apart",
        0,
        [{"args": [[[1, 2]]], "kwargs": {"factor": 2}}, {"args": [SECOND], "kwargs": {"factor": 3}}],
        1,
        [[[[1, 2]], 2], [[[5, 6]], 3]],
        [[[20, 40]], [[150, 180]]],
    ),
}


def described(case: Case) -> dict[str, Any]:
    """The signature of a method that takes arrays and whose result follows its rows."""
    names = ("x", "y") if case.method == "added" else ("x",)
    dims = case.batch_dim if isinstance(case.batch_dim, tuple) else (case.batch_dim, case.batch_dim)
    return {
        "batchable": True,
        "batch_dim": case.batch_dim,
        "arguments": {name: {"kind": "rows", "type": "tensor"} for name in names},
        "result": {"axis": dims[1]},
    }


def save_recorder(seen: Path) -> vtsserving.Model:
    """A model that writes down what it is called with; a batch leaves as soon as it has its case's rows."""
    file_name = str(seen)

    class Recorder:
        def _note(self, *values: Any) -> None:
            import json

            with open(file_name, "a") as file:
                file.write(json.dumps([getattr(v, "tolist", lambda v=v: v)() for v in values]) + "\n")

        def predict(self, x: Any, factor: Any = 1) -> Any:
            self._note(x, factor)
            return x * factor * 10

        columns = cubes = apart = predict

        def turned(self, x: Any) -> Any:
            self._note(x, 1)
            return x.T * 10

        def added(self, x: Any, y: Any) -> Any:
            self._note(x, y)
            return x + y

    cases = {case.method: case for case in CASES.values()}
    return vtsserving.picklable_model.save_model(
        "recorder",
        Recorder(),
        signatures={name: described(case) for name, case in cases.items()},
        options={
            "max_wait_ms": 20_000,
            "method_configs": {name: {"max_batch_size": case.rows} for name, case in cases.items()},
        },
    )


@pytest.mark.parametrize("bus", ["inprocess", "nats-uvloop"])
def test_requests_become_the_arrays_that_the_signature_says(
    bus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    seen = tmp_path / "seen"
    tag = str(save_recorder(seen).tag)

    async def scenario(world: BusWorld) -> None:
        known = LocalCatalog(LocalStore())
        gateway = GatewayApp(await world.bus(), known, GatewaySettings(port=0, grace_s=0))
        batcher = BatcherApp(await world.bus(), BatcherSettings())
        source = LocalSource(LocalStore())
        runner = RunnerApp(await world.bus(), source, RunnerSettings(preload=(tag,)), known)
        apps = (gateway, batcher, runner)
        try:
            for app in apps:
                await app.start()
            await eventually(lambda: gateway.ready)
            for name, case in CASES.items():
                seen.write_text("")
                before = batcher.counters.entries
                url = f"http://127.0.0.1:{gateway.port}/v1/models/recorder/{case.method}"
                async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
                    answers = []
                    for number, body in enumerate(case.bodies, 1):
                        answers.append(asyncio.create_task(client.post(url, json=body)))
                        await eventually(lambda n=before + number: batcher.counters.entries == n)
                    assert [(await answer).json() for answer in answers] == case.answers, name
                calls = [json.loads(line) for line in seen.read_text().splitlines()]
                assert calls == case.calls, name
        finally:
            for app in apps:
                await app.close()

    BusWorld(bus, tmp_path).run(scenario)
