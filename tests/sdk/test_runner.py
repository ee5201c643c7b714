"""Runner handles on custom Runnables, and options of runners on models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import vtsserving
from vtsserving.exceptions import InvalidArgument, InvalidSignature, RunnerNotInitialized
from vtsserving.runner import Runner


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
