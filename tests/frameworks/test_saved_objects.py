"""The object that is saved: it stays as it is, and what is served has its weights, bit for bit."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import vtsserving
from support import framework_cases
from support.framework_cases import HEAVY, LIGHT
from support.framework_groups import of_module
from vtsserving._saving.framework import load_for_serving

# What the frameworks themselves warn of, in versions that this suite pins.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)

ROWS = np.random.default_rng(8).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def state_of(model: Any) -> Any:
    """Everything about an object that can be compared."""
    torch = sys.modules.get("torch")
    inner = getattr(model, "model", model)
    if torch is not None and isinstance(inner, torch.nn.Module):
        return torch_state(inner, torch), sorted(vars(model)), getattr(model, "call_count", 0)
    if hasattr(model, "SerializeToString"):
        return model.SerializeToString()
    return cloudpickle.dumps(model), sorted(vars(model)) if hasattr(model, "__dict__") else None


def torch_state(module: Any, torch: Any) -> Any:
    tensors = {name: (one.dtype, one.device, one.tolist()) for name, one in module.state_dict().items()}
    # Buffers that no file holds, too.
    tensors.update({name: (one.dtype, one.device, one.tolist()) for name, one in module.named_buffers()})
    return tensors, [part.training for part in module.modules()], torch.get_default_dtype()


@pytest.mark.parametrize(
    "name",
    [
        *LIGHT,
        *(
            pytest.param(name, marks=pytest.mark.frameworks(*of_module(row[0])))
            for name, row in HEAVY.items()
        ),
    ],
)
def test_saving_changes_nothing_of_the_object(name: str, tmp_path: Path) -> None:
    module, build = {**LIGHT, **HEAVY}[name]
    case = build(tmp_path)
    args = case.args[0].copy() if isinstance(case.args[0], np.ndarray) else case.args[0]
    before = state_of(case.model)
    saved = importlib.import_module(f"vtsserving.{module}").save_model(
        "kept", case.model, input_example=args, external_modules=[framework_cases]
    )
    assert saved.info.extra["check"]["result"] == "equal"
    assert state_of(case.model) == before
    assert np.array_equal(args, case.args[0])


def layers() -> Any:
    """A network whose layers have statistics, buffers and modes, not all of the same."""
    import torch

    torch.manual_seed(9)
    normal = torch.nn.InstanceNorm1d(6, track_running_stats=True)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 6),
        torch.nn.BatchNorm1d(6),
        torch.nn.Sequential(torch.nn.Dropout(0.4), torch.nn.Linear(6, 6), normal),
        torch.nn.Linear(6, 2),
    )
    net[2].eval()
    net[2][0].train()
    net[0].weight.requires_grad_(False)
    return net


def counting() -> Any:
    """A module that keeps statistics in evaluation mode, too, and in attributes that are not buffers."""
    import torch

    class Counting(torch.nn.Module):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner
            self.register_buffer("calls", torch.zeros(()))
            self.register_buffer("unsaved", torch.zeros(2), persistent=False)
            self.plain = torch.zeros(2)
            self.history: list[int] = []

        def forward(self, rows: Any) -> Any:
            self.calls += 1
            self.unsaved += 1
            self.plain += 1
            self.history.append(len(rows))
            self.last = rows
            self.inner[3].weight.data.clamp_(-10, 10)
            return self.inner(rows)

    return Counting(layers())


def lightning() -> Any:
    import pytorch_lightning
    import torch

    class Module(pytorch_lightning.LightningModule):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner
            self.outputs: list[Any] = []

        def forward(self, rows: Any) -> Any:
            self.outputs.append(rows)
            return self.inner(rows)

    module = Module(layers())
    assert isinstance(module, torch.nn.Module)
    return module


def scripted() -> Any:
    import torch

    return torch.jit.script(layers())


def traced() -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(layers(), torch.from_numpy(ROWS), check_trace=False)


MODULES = {
    "layers of torch": ("pytorch", layers),
    "a class of one's own": ("pytorch", counting),
    "lightning": ("pytorch_lightning", lightning),
    "scripted": ("torchscript", scripted),
    "traced": ("torchscript", traced),
}


@pytest.mark.parametrize(
    ("module", "build"),
    [
        pytest.param(*row, id=name, marks=pytest.mark.frameworks(*of_module(row[0])))
        for name, row in MODULES.items()
    ],
)
def test_modes_and_statistics_of_a_network_in_training_stay(module: str, build: Any) -> None:
    import torch

    net = build()
    before, gradients = torch_state(net, torch), [one.requires_grad for one in net.parameters()]
    assert any(before[1])
    assert not all(before[1]) or module == "torchscript"
    details = {"input_example": ROWS, "external_modules": [], "labels": {"stage": "training"}}
    saved = getattr(vtsserving, module).save_model("kept", net, **details)
    assert saved.info.extra["check"]["result"] == "equal"
    assert torch_state(net, torch) == before
    assert [one.requires_grad for one in net.parameters()] == gradients
    if hasattr(net, "history"):
        assert (net.history, net.plain.tolist(), hasattr(net, "last")) == ([], [0, 0], False)


@pytest.mark.frameworks("torch")
def test_a_network_can_go_on_training_after_it_was_saved() -> None:
    import torch

    net = layers()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        loss = net(torch.from_numpy(ROWS)).square().mean()
        vtsserving.pytorch.save_model("step", net, input_example=ROWS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(loss)


def tied(dtype: str) -> Any:
    """Two layers with one tensor for weights, and a view of another one."""
    import torch

    torch.manual_seed(5)
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    net[1].weight = net[0].weight
    return net.to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "form",
    [
        pytest.param(form, marks=pytest.mark.frameworks(*of_module(form)))
        for form in ("pytorch", "torchscript", "pytorch_lightning")
    ],
)
def test_shared_weights_and_dtypes_come_back(form: str, dtype: str) -> None:
    import torch

    net = tied(dtype)
    if form == "torchscript":
        model: Any = torch.jit.script(net)
    elif form == "pytorch_lightning":
        model = lightning()
        model.inner = net
    else:
        model = net
    example = torch.from_numpy(ROWS).to(getattr(torch, dtype))
    saved = getattr(vtsserving, form).save_model("tied", model, input_example=example)
    assert saved.info.extra["check"]["result"] == "equal"
    loaded = getattr(vtsserving, form).load_model(saved.tag)
    before, after = model.state_dict(), loaded.state_dict()
    assert before.keys() == after.keys()
    for name, weight in before.items():
        assert after[name].dtype == weight.dtype == getattr(torch, dtype)
        assert torch.equal(after[name], weight)
    inner = getattr(loaded, "inner", loaded)
    assert getattr(inner, "0").weight.data_ptr() == getattr(inner, "1").weight.data_ptr()
    with torch.inference_mode():
        assert torch.equal(load_for_serving(saved.path)(example), model.eval()(example))
