"""What every framework module promises, one suite for all of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vtsserving
from support import framework_cases
from support.framework_cases import HEAVY, LIGHT, Case
from support.framework_groups import of_module
from support.sdk import save_copy
from vtsserving._saving.framework import MODULES, load_for_serving
from vtsserving._saving.input_example import warmup_calls
from vtsserving.exceptions import IntegrityError, InvalidSignature, ModelNotFound, VtsServingException

# What the frameworks themselves warn of, in versions that this suite pins.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)

ROWS = [pytest.param(row, id=name) for name, row in LIGHT.items()] + [
    pytest.param(row, id=name, marks=pytest.mark.frameworks(*of_module(row[0])))
    for name, row in HEAVY.items()
]


class Bound:
    """A case with its framework module."""

    def __init__(self, row: Any, path: Path) -> None:
        name, build = row
        self.module = importlib.import_module(f"vtsserving.{name}")
        self.case: Case = build(path)

    def save(self, **details: Any) -> vtsserving.Model:
        # Served models do not find the tests, so what is defined there travels with the model.
        modules = {"external_modules": [framework_cases], **details}
        model: vtsserving.Model = self.module.save_model("demo", self.case.model, **modules)
        return model


@pytest.fixture(params=ROWS)
def bound(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bound:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))
    return Bound(request.param, tmp_path)


def same(result: Any, expected: Any) -> bool:
    """Equal values of equal types; numbers of arrays bit for bit."""
    if isinstance(expected, np.ndarray):
        return result.dtype == expected.dtype and np.array_equal(result, expected)
    return bool(result == expected)


def test_every_framework_module_has_a_row_and_every_row_a_module() -> None:
    assert {module for module, _ in (*LIGHT.values(), *HEAVY.values())} == set(MODULES)
    assert set(MODULES) <= set(vtsserving.__all__)


def test_a_saved_model_gives_the_same_answers_when_served(bound: Bound) -> None:
    model = bound.save()
    served = load_for_serving(model.path)
    assert same(getattr(served, bound.case.method)(*bound.case.args), bound.case.expected)


def test_a_local_runner_gives_the_same_answers(bound: Bound) -> None:
    bound.save()
    runner = bound.module.get("demo:latest").to_runner()
    runner.init_local()
    call = runner.run if bound.case.method in ("__call__", "run") else getattr(runner, bound.case.method).run
    assert same(call(*bound.case.args), bound.case.expected)


def test_arrays_that_are_read_only_are_served_as_well(bound: Bound) -> None:
    served = load_for_serving(bound.save().path)
    args = [arg.copy() if isinstance(arg, np.ndarray) else arg for arg in bound.case.args]
    for arg in args:
        if isinstance(arg, np.ndarray):
            arg.setflags(write=False)
    assert same(getattr(served, bound.case.method)(*args), bound.case.expected)


def test_the_loaded_object_has_the_type_that_was_saved(bound: Bound) -> None:
    loaded = bound.module.load_model(bound.save().tag)
    if bound.module is not importlib.import_module("vtsserving.onnx"):
        saved = bound.case.model
        assert type(loaded).__name__ in (type(saved).__name__, "RecursiveScriptModule")


def test_the_record_says_how_it_was_saved(bound: Bound) -> None:
    info = bound.save(options={"max_batch_size": 4}).info
    assert info.module == bound.module.__name__
    assert list(info.signatures) == [bound.case.method]
    assert info.context.framework_name == bound.module.FRAMEWORK.name
    assert list(info.context.framework_versions) == list(bound.module.FRAMEWORK.distributions)
    assert info.options.max_batch_size == 4
    assert info.runs_code is bound.case.runs_code


def test_signatures_of_two_models_do_not_mix(bound: Bound) -> None:
    method = bound.case.method
    first = bound.save(signatures={method: {"batchable": True, "batch_dim": 1}})
    second = bound.save()
    assert first.info.signatures[method] == vtsserving.ModelSignature(True, (1, 1))
    assert second.info.signatures[method] == vtsserving.ModelSignature()


def test_warm_up_calls_can_be_made(bound: Bound) -> None:
    model = bound.save(input_example=bound.case.args)
    (call,) = warmup_calls(model)
    served = load_for_serving(model.path)
    assert same(getattr(served, call.method)(*call.args), bound.case.expected)
    for spec in warmup_calls(bound.save()):
        getattr(served, spec.method)(*spec.args)


def test_a_signature_that_the_model_lacks_saves_nothing(bound: Bound) -> None:
    with pytest.raises(InvalidSignature, match="no_such_method"):
        bound.save(signatures={"no_such_method": {"batchable": True}})
    assert vtsserving.models.list() == []


def test_a_damaged_file_is_refused_before_it_is_loaded(bound: Bound) -> None:
    model = bound.save()
    entry = max(model.manifest.files, key=lambda one: one.size)
    file = model.path / entry.path
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    for load in (lambda: bound.module.load_model(model.tag), lambda: load_for_serving(model.path)):
        with pytest.raises(IntegrityError, match="damaged"):
            load()


@pytest.mark.parametrize("lie", [{"runs_code": False}, {"runs_code": False, "weights_only": True}], ids=str)
def test_a_record_that_denies_the_code_in_its_files_loads_nothing(bound: Bound, lie: dict[str, Any]) -> None:
    copy = save_copy(bound.save(), lie)
    if not bound.case.runs_code:
        load_for_serving(copy.path)
        return
    for load in (lambda: bound.module.load_model(copy.tag), lambda: load_for_serving(copy.path)):
        with pytest.raises(IntegrityError, match="nothing was loaded"):
            load()


def test_another_modules_model_is_not_found(bound: Bound) -> None:
    with vtsserving.models.create("other"):
        pass
    with pytest.raises(ModelNotFound, match="other"):
        bound.module.get("other")


def test_an_object_of_another_kind_is_refused(bound: Bound) -> None:
    if bound.case.wrong is not None:
        with pytest.raises(VtsServingException):
            bound.module.save_model("demo", bound.case.wrong)
        assert vtsserving.models.list() == []
