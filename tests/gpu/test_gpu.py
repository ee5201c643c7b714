"""Models on an NVIDIA GPU: right answers, dtypes, devices, and a request that needs more memory than there is.

Run by `make test-gpu`, which installs torch; on a machine without a GPU every test is skipped and says so.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import vtsserving
from support.bound_runners import placed
from vtsserving.exceptions import ModelFailed
from vtsserving.runner.runner import Runner

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(300),
    # What the frameworks themselves warn of.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

GPU: Final = "cuda"


@pytest.fixture(scope="module")
def torch() -> Any:
    """The torch package, on a machine with a GPU that it can use."""
    found = pytest.importorskip("torch", reason="torch is not installed: make test-gpu installs it")
    if not found.cuda.is_available():
        pytest.skip("torch sees no NVIDIA GPU here")
    return found


@pytest.fixture
def put(torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Runner], None]]:
    """Binds runners to model processes on this machine."""
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    with placed("embedded", tmp_path) as bind:
        yield bind


def save_net(torch: Any, **options: Any) -> vtsserving.Model:
    """A module with fixed weights that also tells where it computes, and takes memory when a row asks for it."""

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(7)
            self.layers = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))

        def forward(self, rows: Any) -> Any:
            return self.layers(rows)

        def where(self, rows: Any) -> Any:
            return [str(next(self.parameters()).device)] * len(rows)

        def same(self, rows: Any) -> Any:
            assert str(rows.device) == str(next(self.parameters()).device)
            return rows.clone()

        def hungry(self, rows: Any) -> Any:
            if bool((rows < 0).any()):
                torch.empty(1 << 50, dtype=torch.uint8, device=rows.device)
            return rows * 2

    methods = ("__call__", "where", "same", "hungry")
    return vtsserving.pytorch.save_model(
        "net", Net(), signatures={name: {"batchable": True} for name in methods}, options=options
    )


def test_answers_are_those_of_the_processor(torch: Any, put: Callable[[Runner], None]) -> None:
    model = save_net(torch, device=GPU)
    rows = np.random.default_rng(7).normal(size=(200, 4)).astype(np.float32)
    with torch.inference_mode():
        wanted = model.load_model(device="cpu")(torch.from_numpy(rows)).numpy()
    runner = model.to_runner()
    put(runner)
    assert set(runner.where.run(rows)) == {"cuda:0"}
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        parts = list(threads.map(lambda i: runner.run(rows[i : i + 5]), range(0, 200, 5)))
    result = np.concatenate(parts)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int64", "uint8", "bool"]
)
def test_a_tensor_comes_back_from_the_gpu_with_its_dtype(
    torch: Any, put: Callable[[Runner], None], dtype: str
) -> None:
    runner = save_net(torch, device=GPU).to_runner()
    put(runner)
    rows = torch.tensor([[0, 1], [1, 1]]).to(getattr(torch, dtype))
    result = runner.same.run(rows)
    assert isinstance(result, torch.Tensor)
    assert (result.dtype, result.device.type) == (rows.dtype, "cpu")
    assert torch.equal(result, rows)
    if dtype != "bfloat16":  # numpy has no such type
        assert runner.same.run(rows.numpy()).dtype == rows.numpy().dtype


def test_each_process_of_a_list_of_devices_has_its_own(torch: Any, put: Callable[[Runner], None]) -> None:
    gpus = torch.cuda.device_count()
    devices = [*(f"{GPU}:{i}" for i in range(gpus)), "cpu"]
    runner = save_net(torch, device=devices).to_runner()
    put(runner)
    rows = np.zeros((1, 4), np.float32)
    seen: set[str] = set()
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for _ in range(200):
            seen.update(*threads.map(lambda _: runner.where.run(rows), range(16)))
            if seen == {"cuda:0", "cpu"}:  # each process sees one GPU, as its first
                break
    assert seen == {"cuda:0", "cpu"}


def test_a_request_that_needs_too_much_memory_fails_alone(torch: Any, put: Callable[[Runner], None]) -> None:
    runner = save_net(torch, device=GPU, max_wait_ms=200).to_runner()
    put(runner)
    requests = [np.full((1, 4), float(i), np.float32) for i in range(24)]
    requests[5] = requests[17] = np.full((1, 4), -1.0, np.float32)

    def call(rows: Any) -> Any:
        try:
            return runner.hungry.run(rows)
        except ModelFailed as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        answers = list(threads.map(call, requests))
    for i, answer in enumerate(answers):
        if i in (5, 17):
            assert isinstance(answer, ModelFailed)
            assert "OutOfMemory" in answer.message or "memory" in answer.message
        else:
            assert np.array_equal(answer, requests[i] * 2)
    assert np.array_equal(runner.hungry.run(requests[0]), requests[0] * 2)


def test_a_class_sees_a_gpu_only_if_it_says_that_it_can_use_one(
    torch: Any, put: Callable[[Runner], None]
) -> None:
    class Blind(vtsserving.Runnable):
        @vtsserving.Runnable.method
        def gpus(self) -> int:
            import torch

            return torch.cuda.device_count()

    class Seeing(Blind):
        SUPPORTED_RESOURCES = ("nvidia.com/gpu", "cpu")

    from vtsserving._packing.package import pack

    for cls, wanted in ((Blind, 0), (Seeing, 1)):
        runner = Runner(cls)
        pack(runner)
        put(runner)
        assert runner.run() == wanted
