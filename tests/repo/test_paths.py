"""ARCHITECTURE.md's two paths: the named functions are where the tables say, and are called in that order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import vtsserving
from support.path_recorder import Place, Recorder, place_of
from support.sdk import iris_classifier, iris_rows
from support.served_stack import ServedStack
from support.source_tree import REPOSITORY
from support.stores import ThreadedStore, store_settings
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._store_client.catalog import StoreCatalog
from vtsserving_runner.app import RunnerApp
from vtsserving_runner.models.cache import StoreSource
from vtsserving_runner.settings import RunnerSettings

ROW = re.compile(r"^\| ([RM])(\d+) \| `([^`]+/)` \| `([^`]+\.py)` `([^`]+)` \|", re.MULTILINE)


class Station(NamedTuple):
    """A row of a table."""

    path: str
    number: int
    folder: str
    file: str
    function: str

    def __str__(self) -> str:
        return f"{self.path}{self.number}"

    @property
    def place(self) -> Place:
        return place_of(REPOSITORY / self.folder / self.file, self.function)


def stations(path: str) -> list[Station]:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    return [Station(p, int(n), *rest) for p, n, *rest in ROW.findall(text) if p == path]


@pytest.fixture
def recorder(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Recorder]:
    recorder = Recorder({one.place: str(one) for one in stations(request.param)}, tmp_path)
    for name, value in recorder.environment.items():
        monkeypatch.setenv(name, value)
    recorder.start()
    yield recorder
    recorder.stop()


def in_order(recorder: Recorder, path: str, since_ns: int) -> list[str]:
    """The stations as they were passed for the first time."""
    first = recorder.first_calls(since_ns)
    assert [str(one) for one in stations(path) if str(one) not in first] == []
    return sorted(first, key=lambda name: first[name])


def predict(url: str, rows: int) -> Any:
    body = json.dumps(iris_rows()[:rows].tolist()).encode()
    with urllib.request.urlopen(f"{url}/v1/models/iris_clf:latest/predict", body, timeout=30) as response:
        return json.loads(response.read())


@pytest.mark.fast
@pytest.mark.parametrize("path", ["R", "M"])
def test_every_row_names_a_function_that_its_folder_defines(path: str) -> None:
    rows = stations(path)
    assert [one.number for one in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 8
    for one in rows:
        assert one.place


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["R"], indirect=True)
def test_a_request_passes_the_rows_of_its_path_in_their_order(recorder: Recorder) -> None:
    vtsserving.sklearn.save_model("iris_clf", iris_classifier(), signatures={"predict": {"batchable": True}})
    with ServedStack(tags=["iris_clf"]) as stack:
        assert predict(stack.url, 1) == [0]  # what the URL means is looked up once
        since_ns = time.monotonic_ns()
        assert predict(stack.url, 2) == [0, 0]
    assert in_order(recorder, "R", since_ns) == [str(one) for one in stations("R")]


@pytest.mark.slow
@pytest.mark.parametrize("recorder", ["M"], indirect=True)
def test_a_model_passes_the_rows_of_its_path_in_their_order(recorder: Recorder, tmp_path: Path) -> None:
    since_ns = time.monotonic_ns()
    model = vtsserving.sklearn.save_model("iris_clf", iris_classifier(), input_example=np.zeros((1, 4)))
    with ThreadedStore(store_settings(tmp_path / "store")) as store:
        vtsserving.models.push(model.tag, store_url=store.url)

        async def load() -> None:
            settings = RunnerSettings(preload=(str(model.tag),))
            with (
                contextlib.closing(StoreSource(store.url, tmp_path / "cache")) as source,
                contextlib.closing(StoreCatalog(store.url)) as catalog,
            ):
                runner = RunnerApp(InProcessBus(), source, settings, catalog)
                try:
                    await runner.start()
                finally:
                    await runner.close()

        asyncio.run(load())
    assert in_order(recorder, "M", since_ns) == [str(one) for one in stations("M")]
