"""Runner handles on custom Runnables, and options of runners on models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from vtsserving.exceptions import InvalidArgument, InvalidSignature, MethodNotFound, RunnerNotInitialized
from vtsserving.runner.runner import Runner

pytestmark = pytest.mark.fast


class Scaler(vtsserving.Runnable):
    def __init__(self, factor: int = 2) -> None:
        self.factor = factor

    @vtsserving.Runnable.method(batchable=True, batch_dim=(0, 1))
    def scale(self, rows: list[int]) -> list[int]:
        return [row * self.factor for row in rows]

    @vtsserving.Runnable.method
    def name(self) -> str:
        return "scaler"

    def helper(self) -> None: ...


def test_marked_methods_are_signatures_and_others_are_not() -> None:
    runner = Runner(Scaler)
    assert runner.name == "scaler"
    assert runner.signatures == {
        "name": vtsserving.ModelSignature(),
        "scale": vtsserving.ModelSignature(True, (0, 1)),
    }
    with pytest.raises(AttributeError, match="helper"):
        _ = runner.helper


def test_the_class_is_constructed_with_the_given_parameters() -> None:
    runner = Runner(Scaler, name="tripler", runnable_init_params={"factor": 3})
    with pytest.raises(RunnerNotInitialized, match="'tripler'"):
        runner.scale.run([1])
    runner.init_local()
    assert runner.scale.run([1, 2]) == [3, 6]
    assert asyncio.run(runner.scale.async_run([1, 2])) == [3, 6]
    # The runner's own name is not hidden by the method of that name, which stays reachable.
    assert runner.name == "tripler"
    assert runner.methods["name"].run() == "scaler"


def test_another_handle_can_be_bound() -> None:
    class Recorder:
        def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return method, args, kwargs

        async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return self.call(method, args, kwargs)

    runner = Runner(Scaler)
    runner.bind(Recorder())
    assert runner.scale.run([1], extra=2) == ("scale", ([1],), {"extra": 2})


def test_what_is_no_runnable_is_refused() -> None:
    class Empty(vtsserving.Runnable): ...

    for bad in (Empty, dict, Scaler(), "Scaler"):
        with pytest.raises(InvalidArgument):
            Runner(bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        Runner(Scaler, options={"replicas": 0})


def test_a_runner_without_a_place_to_run_says_how_to_get_one() -> None:
    runner = Runner(Scaler, name="lonely")
    for call in (runner.scale.run, lambda rows: asyncio.run(runner.scale.async_run(rows))):
        with pytest.raises(RunnerNotInitialized, match=r"'lonely'.*init_local\(\).*service"):
            call([1])


def test_run_calls_the_only_method_and_of_several_none() -> None:
    class Single(vtsserving.Runnable):
        @vtsserving.Runnable.method
        def shout(self, text: str) -> str:
            return text.upper()

    runner = Runner(Single)
    runner.init_local()
    assert runner.run("hi") == "HI"
    assert asyncio.run(runner.async_run("hi")) == "HI"
    with pytest.raises(MethodNotFound, match="name, scale"):
        Runner(Scaler).run()


def test_limits_are_given_to_the_class_the_model_or_one_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    configs = {"scale": {"max_batch_size": 8, "max_latency_ms": 100}}
    custom = Runner(Scaler, max_batch_size=32, max_latency_ms=500, method_configs=configs)
    assert (custom.options.max_batch_size, custom.options.max_latency_ms) == (32, 500)
    assert custom.options.of_method("name").max_batch_size == 32
    own = custom.options.of_method("scale")
    assert (own.max_batch_size, own.max_latency_ms, own.max_wait_ms) == (8, 100, 0)

    model = vtsserving.picklable_model.save_model("demo", len, options={"max_batch_size": 8, "timeout_s": 5})
    runner = model.to_runner(
        max_batch_size=4, method_configs={"__call__": {"max_wait_ms": 2}}, options={"threads": 3}
    )
    assert runner.overrides == {
        "max_batch_size": 4,
        "method_configs": {"__call__": {"max_wait_ms": 2}},
        "threads": 3,
    }
    assert (runner.options.timeout_s, runner.options.of_method("__call__").max_wait_ms) == (5, 2)


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"max_batch_size": 0}, "max_batch_size is a number from 1"),
        ({"max_latency_ms": -1}, "max_latency_ms is a number from"),
        ({"method_configs": {"train": {"max_batch_size": 8}}}, "'train'; the methods are name, scale"),
        ({"method_configs": {"scale": {"replicas": 2}}}, "'replicas'; a method has max_batch_size"),
        ({"method_configs": {"scale": {"max_wait_ms": "2"}}}, "max_wait_ms is a number"),
        ({"method_configs": ["scale"]}, "method_configs is a dict like"),
    ],
)
def test_impossible_limits_are_refused_with_what_is_possible(limits: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidArgument, match=complaint):
        Runner(Scaler, **limits)


def test_a_class_says_which_devices_and_threads_it_can_use() -> None:
    class Wide(Scaler):
        SUPPORTED_RESOURCES = ("nvidia.com/gpu", "cpu")
        SUPPORTS_CPU_MULTI_THREADING = True

    assert (Runner(Scaler).options.device, Runner(Scaler).options.threads) == ("cpu", 1)
    assert (Runner(Wide).options.device, Runner(Wide).options.threads) == (None, None)
    assert Runner(Wide, options={"threads": 2, "device": "cuda:1"}).options.threads == 2


def test_a_chosen_limit_of_rows_holds_in_this_process_too() -> None:
    class Counting(vtsserving.Runnable):
        def __init__(self) -> None:
            self.calls: list[int] = []

        @vtsserving.Runnable.method(batchable=True, batch_dim=(1, 0))
        def columns(self, x: Any, factor: int = 1) -> Any:
            self.calls.append(x.shape[1])
            return x.sum(axis=0) * factor

    runner = Runner(Counting, max_batch_size=3)
    runner.init_local()
    x = np.arange(14.0).reshape(2, 7)
    calls: list[int] = runner.handle.target.calls  # type: ignore[attr-defined]
    for expected in ([3, 2, 1, 3, 3, 1], [3, 3, 1]):  # the first call shows how results follow rows
        del calls[:]
        assert runner.columns.run(x, factor=2).tolist() == (2 * x.sum(axis=0)).tolist()
        assert calls == expected


class OfManyForms(vtsserving.Runnable):
    """Results that do not follow rows as batch_dim would have it."""

    @vtsserving.Runnable.method(batchable=True)
    def centered(self, x: Any) -> Any:
        return x - x.mean(axis=0)

    @vtsserving.Runnable.method(batchable=True)
    def states(self, x: Any) -> Any:
        return np.stack([x, x * 2]), x.sum(axis=1)

    @vtsserving.Runnable.method(batchable=True)
    def refuses_few(self, x: Any) -> Any:
        if len(x) < 5:
            raise ValueError("too few")
        return x + len(x)

    @vtsserving.Runnable.method(batchable=True, result=[{"axis": 1}, {"axis": 0}])
    def declared(self, x: Any) -> Any:
        assert len(x) <= 4
        return self.states(x)


@pytest.mark.parametrize("limit", [1, 2, 4])
@pytest.mark.parametrize("method", ["centered", "states", "refuses_few", "declared"])
def test_a_call_that_is_cut_gives_what_it_gives_whole(method: str, limit: int) -> None:
    runner = Runner(OfManyForms, max_batch_size=limit)
    runner.init_local()
    x = np.arange(30.0).reshape(10, 3) ** 2
    whole = getattr(OfManyForms(), "states" if method == "declared" else method)(x)
    for _ in range(2):
        np.testing.assert_equal(getattr(runner, method).run(x), whole)


def test_a_private_method_cannot_be_marked() -> None:
    with pytest.raises(InvalidSignature):

        class Bad(vtsserving.Runnable):
            @vtsserving.Runnable.method
            def _hidden(self) -> None: ...


def test_a_runners_options_override_the_models_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path))
    model = vtsserving.picklable_model.save_model("demo", len, options={"max_batch_size": 8, "timeout_s": 5})
    assert model.to_runner().options.max_batch_size == 8
    runner = Runner.of_model(model, name="other", options={"max_batch_size": 16})
    assert (runner.name, runner.options.max_batch_size, runner.options.timeout_s) == ("other", 16, 5)
    assert runner.models == (model,)


@pytest.mark.parametrize(
    ("device", "name"),
    [(0, "cuda:0"), ("1", "cuda:1"), ([0, "cpu"], ("cuda:0", "cpu")), ("cuda", "cuda"), (None, None)],
)
def test_a_device_is_a_name_a_number_or_a_list_of_both(device: Any, name: Any) -> None:
    assert Runner(Scaler, options={"device": device}).options.device == name


@pytest.mark.parametrize("device", [-1, True, "", [], [None], 1.0])
def test_what_is_no_device_is_refused(device: Any) -> None:
    with pytest.raises(InvalidArgument, match="device is a name like"):
        Runner(Scaler, options={"device": device})


def test_a_method_called_run_is_reached_like_every_other_and_directly() -> None:
    class Session(vtsserving.Runnable):
        @vtsserving.Runnable.method
        def run(self, rows: list[int]) -> list[int]:
            return rows[::-1]

    runner = Runner(Session)
    runner.init_local()
    assert runner.run.run([1, 2]) == [2, 1]  # type: ignore[attr-defined]
    assert asyncio.run(runner.run.async_run([1, 2])) == [2, 1]  # type: ignore[attr-defined]
    assert runner.run([1, 2]) == [2, 1]
