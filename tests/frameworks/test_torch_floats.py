"""Fractions that come as numpy and JSON have them, to modules whose parameters are of another dtype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from vtsserving._saving.torch_module import TorchCaller

pytestmark = [
    pytest.mark.frameworks("torch"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


def twice_plus_half(dtype: str) -> Any:
    import torch

    linear = torch.nn.Linear(1, 1, dtype=getattr(torch, dtype))
    linear.weight.data.fill_(2)
    linear.bias.data.fill_(0.5)
    return linear


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_float64_arrays_become_what_the_parameters_are(dtype: str) -> None:
    answer = TorchCaller(twice_plus_half(dtype))(np.array([[1.5], [4.0]]))
    assert answer.dtype == np.dtype(dtype)
    assert answer.tolist() == [[3.5], [8.5]]


def test_tensors_integers_and_other_floats_stay_what_they_are() -> None:
    import torch

    class Kinds(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = twice_plus_half("float32")

        def forward(self, values: Any) -> Any:
            return values

    caller = TorchCaller(Kinds())
    assert caller(torch.ones(2, dtype=torch.float64)).dtype == torch.float64
    for dtype in ("int64", "uint8", "bool", "float16"):
        assert caller(np.ones(2, dtype)).dtype == np.dtype(dtype)


def test_whole_numbers_for_a_module_of_fractions_are_refused_with_what_to_send() -> None:
    with pytest.raises(RuntimeError, match=r"Long and Float; .*send fractions \(1\.0 for 1\)"):
        TorchCaller(twice_plus_half("float32"))(np.array([[1], [2]]))


def test_a_module_of_several_dtypes_or_none_is_given_what_came() -> None:
    import torch

    both = torch.nn.ModuleList([twice_plus_half("float32"), twice_plus_half("float16")])
    both.forward = lambda values: values  # type: ignore[method-assign]
    assert TorchCaller(both)(np.ones(2)).dtype == np.float64
    assert TorchCaller(torch.nn.ReLU())(np.ones(2)).dtype == np.float64


def test_json_s_fractions_are_taken_without_an_input_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    saved = vtsserving.pytorch.save_model("line", twice_plus_half("float32"))
    runner = saved.to_runner()
    runner.init_local()
    assert runner.run(np.array([[1.5]])).tolist() == [[3.5]]


KINDS = ("float64", "float32", "float16", ">f4", "bfloat16")


def _array(kind: str, values: Any) -> Any:
    import ml_dtypes

    return np.array(values).astype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_any_fractions_fit_any_module_of_fractions(dtype: str, kind: str) -> None:
    answer = TorchCaller(twice_plus_half(dtype))(_array(kind, [[1.5], [4.0]]))
    assert str(answer.dtype).removeprefix("torch.") == dtype
    assert answer.tolist() == [[3.5], [8.5]]


@pytest.mark.parametrize("kind", [*KINDS, "int64", "int8", "bool"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_frozen_script_takes_numbers_of_any_kind(dtype: str, kind: str) -> None:
    import torch

    frozen = torch.jit.freeze(torch.jit.script(twice_plus_half(dtype).eval()))
    assert TorchCaller(frozen)(_array(kind, [[1], [0]])).tolist() == [[2.5], [0.5]]


@pytest.mark.parametrize("kind", [*KINDS, "int64", "int8", "bool"])
def test_a_quantised_module_gives_what_it_gives_for_float32(kind: str) -> None:
    import torch

    layers = torch.nn.Sequential(torch.nn.Linear(4, 2))
    module = torch.ao.quantization.quantize_dynamic(layers, {torch.nn.Linear}, dtype=torch.qint8)
    rows = np.array([[1, 0, 1, 1]])
    right = module(torch.tensor(rows, dtype=torch.float32)).detach().numpy()
    assert np.array_equal(TorchCaller(module)(_array(kind, rows)), right)
