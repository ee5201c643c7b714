"""Modules made of torch's own layers: read as data, never as code, whatever their file or their record says."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import vtsserving
from support.sdk import save_copy
from vtsserving._saving.framework import load_for_serving
from vtsserving.exceptions import IncompatibleEnvironment, IntegrityError, VtsServingException

pytestmark = [
    pytest.mark.frameworks("torch"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


class Canary:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def layers() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.Flatten(), nn.LayerNorm(8), nn.LSTM(8, 5, batch_first=True)
    )


def with_file(write: Callable[[Path], None]) -> vtsserving.Model:
    """A model that is recorded as data, with another file than the one that was recorded as such."""
    saved = vtsserving.pytorch.save_model("layers", layers())
    assert not saved.info.runs_code
    write(saved.path / "model.pt")
    return save_copy(saved, {})


def test_its_values_come_back_in_order_and_in_kind() -> None:
    import torch

    module = layers().double().eval()
    saved = vtsserving.pytorch.save_model("layers", module)
    loaded = vtsserving.pytorch.load_model("layers")
    assert not saved.info.runs_code
    assert str(loaded) == str(module)
    rows = torch.rand(3, 2, 4, dtype=torch.float64)
    assert torch.equal(loaded.eval()(rows)[0], module(rows)[0])
    assert [(key, value.dtype) for key, value in loaded.state_dict().items()] == [
        (key, value.dtype) for key, value in module.state_dict().items()
    ]


@pytest.mark.parametrize(
    "hide",
    [
        lambda module, canary: canary,
        lambda module, canary: setattr(module, "extra", canary) or module,
        lambda module, canary: module.register_forward_hook(canary) and module,
    ],
    ids=["instead of the module", "as an attribute", "as a hook"],
)
def test_a_file_that_needs_more_than_layers_is_never_unpickled(
    hide: Callable[[Any, Canary], Any], tmp_path: Path
) -> None:
    import torch

    class Callback(Canary):
        def __call__(self, *args: Any) -> None: ...

    canary = tmp_path / "canary"
    model = with_file(lambda path: torch.save(hide(layers(), Callback(canary)), path))
    for load in (lambda: vtsserving.pytorch.load_model("copy"), lambda: load_for_serving(model.path)):
        with pytest.raises(IntegrityError, match="its file needs more; nothing was loaded"):
            load()
    assert not canary.exists()
    torch.load(model.path / "model.pt", weights_only=False)
    assert canary.exists(), "the file would have run its code"


def test_a_bare_pickle_in_the_place_of_torchs_file_is_never_unpickled(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    with_file(lambda path: path.write_bytes(pickle.dumps(Canary(canary))))
    with pytest.raises(VtsServingException, match="copy"):
        vtsserving.pytorch.load_model("copy")
    assert not canary.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch.nn.functional", "relu"),
        ("torch.nn.modules.module", "warnings"),
        ("torch.nn.modules.module", "_forward_unimplemented"),
        ("torch.nn.modules.transformer", "ModuleList"),
        ("no_such_package", "Layer"),
    ],
    ids=["a function", "a module imported there", "a function there", "a class imported there", "nothing"],
)
def test_only_classes_of_layers_count_as_layers(module: str, name: str) -> None:
    model = with_file(
        lambda path: replace_global(path, "torch.nn.modules.flatten Flatten", f"{module} {name}")
    )
    with pytest.raises(IntegrityError, match="its file needs more"):
        vtsserving.pytorch.load_model(model.tag)


def replace_global(path: Path, old: str, new: str) -> None:
    """Let the pickle in torch's file name another global where it names one now."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    (pickled,) = (member for member in members if member.endswith("data.pkl"))
    before, after = (b"c" + pair.replace(" ", "\n").encode() + b"\n" for pair in (old, new))
    assert before in members[pickled]
    members[pickled] = members[pickled].replace(before, after)
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def test_a_torch_that_cannot_keep_the_promise_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch import serialization

    vtsserving.pytorch.save_model("layers", layers())
    monkeypatch.delattr(serialization, "get_unsafe_globals_in_checkpoint")
    with pytest.raises(IncompatibleEnvironment, match=r"needs torch 2\.6 or newer; 2\.\d+"):
        vtsserving.pytorch.load_model("layers")
    assert vtsserving.pytorch.save_model("older", layers()).info.runs_code
