"""Models come and go: idle ones, too many for the memory, devices, threads, warm-up, environment."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support.runner_models import save
from support.waiting import eventually
from support.wire_frames import loaded
from vtsserving._packing.package import pack
from vtsserving._packing.package_tags import dependencies_of
from vtsserving.exceptions import IntegrityError, StoreUnavailable, VersionNotFound

ONE = (np.array([[1.0]]),)


def reporter(expression: str) -> Any:
    """A model whose answer is the value of an expression in its process, as text."""

    class Reporter:
        def predict(self, x: Any) -> list[str]:
            import os
            import sys

            return [str(eval(expression, {"os": os, "sys": sys, "x": x}))] * len(x)

    return Reporter()


async def report(rig: Any, model: Any) -> str:
    grant = await rig.batcher.load(model)
    (answer,) = await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
    return answer[0]


def test_an_unused_model_leaves_and_comes_back(with_runner):
    model = save("idle", reporter("1"))

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        assert (await rig.batcher.event("gone")).epoch == grant.epoch
        await rig.batcher.until("a heartbeat without it", lambda: loaded(rig.batcher.beats[-1]) == [])
        answer = None
        # A stay may end before the request comes: the runner hands it back, and a batcher loads again.
        for _ in range(20):
            grant = await rig.batcher.load(model)
            (answer,) = await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
            if answer is not None:
                break
        assert answer is not None and answer[0] == "1"

    with_runner(scenario, idle_unload_s=0.05)


def test_a_preloaded_model_stays_however_idle_it_is(with_runner):
    model = save("kept", reporter("1"))

    async def scenario(rig):
        beats = len(rig.batcher.beats)
        await rig.batcher.until("three heartbeats", lambda: len(rig.batcher.beats) > beats + 3)
        assert loaded(rig.batcher.beats[-1]) == [str(model.tag)]

    with_runner(scenario, preload=("kept",), idle_unload_s=0.01, memory_limit_bytes=1)


def test_when_memory_is_short_the_least_recently_used_model_leaves(with_runner):
    models = [save(name, reporter(f"'{name}'")) for name in ("one", "two", "three")]

    async def scenario(rig):
        for model in (models[0], models[1], models[0]):
            await report(rig, model)
        assert await report(rig, models[2]) == "three"
        gone = await rig.batcher.event("gone")
        assert gone.model == "two"
        names = [tag.partition(":")[0] for tag in loaded(rig.batcher.beats[-1])]
        assert sorted(names) == ["one", "three"]

    # Processes of some 50 MB; each is taken for 128 MB before it is there, so the third one is too many.
    with_runner(scenario, memory_limit_bytes=200 * 2**20)


def test_models_used_within_one_turn_of_the_loop_keep_their_order(with_runner):
    models = [save(name, reporter("1")) for name in ("one", "two")]

    async def scenario(rig):
        for model in models:
            await rig.batcher.load(model)
        one, two = (rig.app._models.find(model.digest) for model in models)
        for hosted in (one, two, one, two, one):
            hosted.finished(hosted.replicas[0])
        assert two.used_s < one.used_s

    with_runner(scenario)


def test_free_memory_counts_the_runners_own_limit(with_runner):
    async def scenario(rig):
        await rig.batcher.until("a heartbeat", lambda: rig.batcher.beats)
        assert rig.batcher.beats[-1].free_bytes == 12345

    with_runner(scenario, memory_limit_bytes=12345)


def test_a_model_gets_the_threads_it_asks_for_and_no_credentials(with_runner, monkeypatch):
    monkeypatch.setenv("VTSSERVING_STORE_TOKEN", "secret")
    monkeypatch.setenv("MODEL_DATA_DIR", "/data")
    model = save(
        "env",
        reporter(
            "[os.environ.get(k) for k in ('OMP_NUM_THREADS', 'VTSSERVING_STORE_TOKEN', 'MODEL_DATA_DIR')]"
        ),
        options={"threads": 2},
    )

    async def scenario(rig):
        assert await report(rig, model) == "['2', None, '/data']"

    with_runner(scenario, model_environment=("MODEL_DATA_DIR",))


def test_a_model_leads_a_process_group_of_its_own_and_its_prints_do_not_reach_standard_output(with_runner):
    model = save(
        "group", reporter("(os.getpgid(0) == os.getpid(), os.fstat(1).st_ino == os.fstat(2).st_ino)")
    )

    async def scenario(rig):
        assert await report(rig, model) == "(True, True)"

    with_runner(scenario)


def test_a_device_that_this_runner_lacks_is_a_load_failure(with_runner, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    model = save("gpu", reporter("1"), options={"device": "cuda:0"})

    async def scenario(rig):
        failed = await rig.batcher.load(model)
        assert failed.event == "failed"
        assert "no GPU" in failed.message

    with_runner(scenario)


def test_each_replica_sees_its_device(with_runner, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6")
    model = save(
        "gpus", reporter("os.environ['CUDA_VISIBLE_DEVICES']"), options={"device": ["cuda:1", "cuda:0"]}
    )

    async def scenario(rig):
        rig.batcher.command("load", model)
        await rig.batcher.until("two grants", lambda: len(rig.batcher.of("credit")) == 2)
        grants = sorted(rig.batcher.of("credit"), key=lambda grant: grant.epoch & 255)
        answers = [await rig.batcher.done(rig.batcher.send(model, grant, [ONE])) for grant in grants]
        assert answers == [[["6"]], [["5"]]]

    with_runner(scenario)


@pytest.mark.parametrize("example", [np.zeros((1, 1)), None], ids=["example", "none"])
def test_a_model_is_called_with_its_example_before_it_counts_as_warm(with_runner, tmp_path: Path, example):
    log = str(tmp_path / "calls")

    class Remembers:
        def predict(self, x: Any) -> Any:
            with open(log, "a") as file:
                file.write("called\n")
            return x

    model = save("remembers", Remembers(), input_example=example)
    before = Path(log).read_text() if Path(log).exists() else ""

    async def scenario(rig):
        await rig.batcher.load(model)

    with_runner(scenario)
    after = Path(log).read_text() if Path(log).exists() else ""
    assert after.removeprefix(before) == ("called\n" if example is not None else "")


def test_a_model_whose_warm_up_raises_is_served_all_the_same(with_runner, tmp_path: Path):
    flag = tmp_path / "raise once"
    path = str(flag)

    class Picky:
        def predict(self, x: Any) -> Any:
            import os

            if os.path.exists(path):
                os.remove(path)
                raise ValueError("not yet")
            return x

    model = save("picky", Picky(), input_example=np.zeros((1, 1)))
    flag.touch()

    async def scenario(rig):
        grant = await rig.batcher.load(model)
        assert not flag.exists()
        (answer,) = await rig.batcher.done(rig.batcher.send(model, grant, [ONE]))
        assert answer.tolist() == [[1.0]]

    with_runner(scenario)


class Shelf:
    """A source in the test's hand: what it is told to raise, and what it was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.error: Exception | None = None
        self.released: list[str] = []

    def fetch(self, name: str, version: str, digest: str) -> Path:
        if self.error is not None:
            raise self.error
        return self.path

    def settings(self, name: str, version: str) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {}

    def release(self, digest: str) -> None:
        self.released.append(digest)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreUnavailable("the store is down"), "store_unavailable"),
        (VersionNotFound("no such version"), "model_load_failed"),
        (RuntimeError("a surprise"), "model_load_failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_keeps_a_model_from_being_fetched_is_told(with_runner, error, code):
    model = save("fetched", reporter("1"))
    shelf = Shelf(model.path)
    shelf.error = error

    async def scenario(rig):
        failed = await rig.batcher.load(model)
        assert (failed.event, failed.code) == ("failed", code)
        assert str(error) in failed.message
        await eventually(lambda: shelf.released == [model.digest])

    with_runner(scenario, source=shelf)


def test_an_unloaded_model_is_released(with_runner):
    model = save("released", reporter("1"))
    shelf = Shelf(model.path)

    async def scenario(rig):
        assert await report(rig, model) == "1"
        assert shelf.released == []
        rig.batcher.command("unload", model)
        await eventually(lambda: shelf.released == [model.digest])

    with_runner(scenario, source=shelf)


def test_a_version_that_was_replaced_leaves_when_nobody_calls_it_and_its_heir_is_kept(with_runner):
    old = save("swapped", reporter("1"))
    new = save("swapped", reporter("2"))

    async def scenario(rig):
        assert await report(rig, old) == "1"
        assert await report(rig, new) == "2"
        rig.batcher.command("release", old)
        gone = await rig.batcher.event("gone")
        assert gone.digest == old.digest
        beats = len(rig.batcher.beats)
        await rig.batcher.until("two more heartbeats", lambda: len(rig.batcher.beats) > beats + 2)
        assert loaded(rig.batcher.beats[-1]) == [str(new.tag)]
        # Whoever asks for it by its version gets it again.
        assert await report(rig, old) == "1"

    # Idle ones leave, preloaded ones stay: the new version takes that over.
    with_runner(scenario, preload=(str(old.tag),), superseded_unload_s=0.05, idle_unload_s=0.5)


def test_a_runner_says_what_it_has(with_runner):
    async def scenario(rig):
        await rig.batcher.until("its traits", lambda: rig.batcher.traits)
        version = sys.version_info
        assert f"python={version.major}.{version.minor}" in rig.batcher.traits
        assert "scikit-learn=1" in rig.batcher.traits

    with_runner(scenario)


def test_models_that_a_class_needs_are_fetched_with_it_and_released_with_the_last_one_that_needs_them(
    with_runner, tmp_path: Path
):
    need, place = save("needed", reporter("1")), str(tmp_path / "elsewhere")

    class Uses(vtsserving.Runnable):
        def __init__(self, number: int, place: str) -> None:
            assert str(vtsserving.models.get("needed:latest").path) == place

        @vtsserving.Runnable.method
        def predict(self, x: Any) -> Any:
            return x

    first, second = (
        pack(vtsserving.Runner(Uses, runnable_init_params={"number": number, "place": place}, models=[need]))
        for number in (1, 2)
    )
    elsewhere = {model.digest: model.path for model in (first, second)}
    elsewhere[need.digest] = Path(shutil.copytree(need.path, place))
    shelf = Shelf(first.path)
    shelf.fetch = lambda name, version, digest: elsewhere[digest]  # type: ignore[method-assign]

    async def scenario(rig):
        for model in (first, second):
            loaded = await rig.batcher.load(model)
            assert loaded.event == "credit", loaded.message
        rig.batcher.command("unload", first)
        await eventually(lambda: shelf.released == [first.digest])
        rig.batcher.command("unload", second)
        await eventually(lambda: sorted(shelf.released[1:]) == sorted([second.digest, need.digest]))

    with_runner(scenario, source=shelf)


@pytest.mark.parametrize(
    "needs",
    [
        [{"tag": "m:v1", "digest": "sha256:../../x", "aliases": []}],
        [{"tag": "../m:v1", "digest": "sha256:" + "0" * 64, "aliases": []}],
        [{"tag": "m", "digest": "sha256:" + "0" * 64, "aliases": []}],
        [{}] * 65,
        [7],
        7,
    ],
    ids=str,
)
def test_a_manifest_that_needs_the_impossible_is_refused_before_anything_is_fetched(needs):
    with pytest.raises(IntegrityError):
        dependencies_of({"needs": needs})
