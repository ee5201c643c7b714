"""Runners' calls are checked as calls of the gateway are; mistakes of a Service's code are not its callers'."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pandas as pd
import pydantic
import pytest

import vtsserving
from support.cluster import save_model
from vtsserving.exceptions import VtsServingException
from vtsserving.io import JSON, File
from vtsserving_embedded.app import EmbeddedApp

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

Scenario = Callable[[httpx2.AsyncClient], Awaitable[None]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    monkeypatch.setenv("VTSSERVING_GATEWAY__GRACE_S", "0")


def serve(svc: vtsserving.Service, scenario: Scenario) -> None:
    async def main() -> None:
        app = EmbeddedApp([], port=0, service=svc)
        try:
            await app.start()
            url = f"http://127.0.0.1:{app.port}"
            async with httpx2.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
                await scenario(client)
            await app.drain()
        finally:
            await app.close()

    asyncio.run(main())


BAD_ROWS: dict[str, Any] = {
    "too narrow": [[1.0, 2.0]],
    "text": [["a", "b", "c", "d"]],
    "ragged": [[1.0, 2.0, 3.0, 4.0], [1.0]],
    "one row without brackets": [1.0, 2.0, 3.0, 4.0],
}


def test_bad_input_is_the_same_error_everywhere() -> None:
    tag = save_model("linear")
    runner = vtsserving.models.get(tag).to_runner()
    local = vtsserving.models.get(tag).to_runner()
    local.init_local()
    svc = vtsserving.Service("checked", runners=[runner])

    @svc.api(input=JSON(), output=JSON())
    def blocking(rows: Any) -> Any:
        return runner.predict.run(rows)

    @svc.api(input=JSON(), output=JSON())
    async def awaited(rows: Any) -> Any:
        return await runner.predict.async_run(rows)

    async def scenario(client: httpx2.AsyncClient) -> None:
        caller = vtsserving.Client(str(client.base_url))
        for name, rows in BAD_ROWS.items():
            with pytest.raises(VtsServingException) as refused:
                local.predict.run(rows)
            code = refused.value.code
            for path in ("/blocking", "/awaited", f"/v1/models/{tag}/predict"):
                answer = await client.post(path, json=rows)
                assert (answer.status_code, answer.json()["error"]["code"]) == (422, code), (name, path)
            with pytest.raises(type(refused.value)):
                await asyncio.to_thread(caller.predict, tag, rows)
        assert (await client.post("/awaited", json=[[1, 2, 3, 4]])).status_code == 200
        caller.close()

    serve(svc, scenario)


def test_columns_go_to_the_model_by_name_and_missing_ones_are_named() -> None:
    from sklearn.linear_model import LinearRegression

    fitted = LinearRegression().fit(pd.DataFrame({"a": [1.0, 2, 4], "b": [1.0, 0, 1]}), [1.0, 2, 3])
    saved = vtsserving.sklearn.save_model("columns", fitted, signatures={"predict": {"batchable": True}})
    runner, local = saved.to_runner(), saved.to_runner()
    local.init_local()
    svc = vtsserving.Service("columns", runners=[runner])

    @svc.api(input=JSON(), output=JSON())
    async def turned(records: Any) -> Any:
        return (await runner.predict.async_run(pd.DataFrame(records))).tolist()

    async def scenario(client: httpx2.AsyncClient) -> None:
        right = fitted.predict(pd.DataFrame({"a": [3.0], "b": [5.0]})).tolist()
        for record in ({"a": 3.0, "b": 5.0}, {"b": 5.0, "a": 3.0}):
            assert (await client.post("/turned", json=[record])).json() == right
            assert local.predict.run(pd.DataFrame([record])).tolist() == right
        for record, named in (({"a": 3.0}, "misses 'b'"), ({"a": 3.0, "b": 1.0, "c": 1.0}, "unknown 'c'")):
            answer = await client.post("/turned", json=[record])
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_shape")
            assert named in answer.json()["error"]["message"]

    serve(svc, scenario)


class Flower(pydantic.BaseModel):
    name: str
    sizes: list[int]


def test_pydantic_objects_become_their_fields_and_files_their_bytes() -> None:
    def look(value: Any) -> Any:
        return [type(value).__name__, len(value), repr(value)]

    saved = vtsserving.picklable_model.save_model("look", look)
    runner, local = saved.to_runner(), saved.to_runner()
    local.init_local()
    svc = vtsserving.Service("look", runners=[runner])

    @svc.api(input=JSON(pydantic_model=Flower), output=JSON())
    async def flower(given: Flower) -> Any:
        return [await runner.async_run(given), await runner.async_run([given, given])]

    @svc.api(input=File(), output=JSON())
    def file(given: Any) -> Any:
        return runner.run(given)

    async def scenario(client: httpx2.AsyncClient) -> None:
        fields = {"name": "iris", "sizes": [1, 2]}
        expected = [["dict", 2, repr(fields)], ["list", 2, repr([fields, fields])]]
        assert (await client.post("/flower", json=fields)).json() == expected
        assert [local.run(Flower(**fields)), local.run([Flower(**fields)] * 2)] == expected
        answer = await client.post(
            "/file", content=b"a\0b", headers={"content-type": "application/octet-stream"}
        )
        assert answer.json() == ["bytes", 3, repr(b"a\0b")]

    serve(svc, scenario)


def test_an_authors_mistake_is_an_error_of_the_server() -> None:
    saved = vtsserving.picklable_model.save_model(
        "two",
        {"a": 1},
        signatures={"get": {}, "keys": {}},
    )
    runner = saved.to_runner()
    linear = vtsserving.models.get(save_model("linear")).to_runner()
    svc = vtsserving.Service("wrong", runners=[runner, linear])
    stranger = saved.to_runner(name="stranger")

    @svc.api(input=JSON(), output=JSON())
    async def no_method(value: Any) -> Any:
        return await runner.async_run(value)

    @svc.api(input=JSON(), output=JSON())
    async def unsendable(value: Any) -> Any:
        return await linear.predict.async_run(object())

    @svc.api(input=JSON(), output=JSON())
    async def blocks(value: Any) -> Any:
        return linear.predict.run(np.ones((1, 4)))

    @svc.api(input=JSON(), output=JSON())
    async def unknown_name(value: Any) -> Any:
        return await linear.predict.async_run(np.ones((1, 4)), nonsense=3)

    @svc.api(input=JSON(), output=JSON())
    async def foreign(value: Any) -> Any:
        return await stranger.get.async_run(value)

    async def scenario(client: httpx2.AsyncClient) -> None:
        for path in ("/no_method", "/unsendable", "/blocks", "/unknown_name", "/foreign"):
            answer = await client.post(path, json=1)
            assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error"), path

    serve(svc, scenario)
