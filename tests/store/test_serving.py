"""What was pushed is served: runner and gateway as processes of their own, with nothing but the store's address."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx2
import pytest

from support.cluster import Cluster, row_and_answer, save_model
from support.stores import StoreProcess
from vtsserving import models
from vtsserving._model.tag import Tag
from vtsserving._store_client.client import RegistryClient

pytestmark = pytest.mark.timeout(180)


def test_a_runner_elsewhere_serves_what_was_pushed_also_while_the_store_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = Tag.parse(save_model("linear"))
    with StoreProcess(tmp_path, {"VTSSERVING_STORE__DIR": str(tmp_path / "store")}) as store:
        monkeypatch.setenv("VTSSERVING_STORE_URL", store.url)
        models.push(tag)
        with RegistryClient(store.url) as client:
            client.set_alias(tag, "prod")
        elsewhere = tmp_path / "elsewhere"
        asyncio.run(serve(tmp_path, elsewhere, tag, store))
        assert not (elsewhere / "models").exists()


async def serve(folder: Path, home: Path, tag: Tag, store: StoreProcess) -> None:
    (folder / "logs").mkdir()
    async with Cluster(folder / "logs", home, str(tag)) as cluster, httpx2.AsyncClient(timeout=30) as http:

        async def ask(ref: str, number: int) -> None:
            row, answer = row_and_answer(number)
            url = f"http://127.0.0.1:{cluster.port}/v1/models/{ref}/predict"
            response = await http.post(url, content=json.dumps([row]))
            assert response.status_code == 200, response.text
            assert response.json() == [answer]

        for number in range(20):
            await ask("linear:prod", number)
        store.kill()
        for number in range(20):
            await ask("linear:prod", number)
            await ask(str(tag), number)
