"""Names of release 0.1.0 go on meaning the same modules and classes: in imports, and in the pickles that it wrote."""

from __future__ import annotations

import base64
import importlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import vtsserving
from support.first_release import PICKLES, SAME_PYTHON, FirstRelease, unpack
from vtsserving import _aliases

SDK = vtsserving.__name__


def loaded(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTSSERVING_HOME", str(unpack("home", tmp_path)))
    return tmp_path / "home"


# --- what 0.1.0 wrote ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICKLES["public"])
def test_a_public_class_is_found_where_it_was_and_is_the_class_of_now(name: str) -> None:
    path = PICKLES["public"][name]
    assert loaded(PICKLES["references"][path]) is getattr(vtsserving, name)
    module, _, attribute = path.rpartition(".")
    assert getattr(importlib.import_module(module), attribute) is getattr(vtsserving, name)


def test_every_public_name_of_the_first_release_is_public_now() -> None:
    assert set(PICKLES["public"]) <= set(vtsserving.__all__)


@pytest.mark.parametrize("module", PICKLES["modules"])
def test_a_module_of_the_first_release_can_be_imported_by_its_name(module: str) -> None:
    found = importlib.import_module(module)
    assert importlib.import_module(found.__name__) is found


@pytest.mark.parametrize("module", [f"{SDK}.exceptions", f"{SDK}.io", f"{SDK}.client"])
def test_what_a_public_module_defined_is_there(module: str) -> None:
    paths = [path for path in PICKLES["references"] if path.startswith(f"{module}.")]
    assert paths
    for path in paths:
        home, _, name = path.rpartition(".")
        assert loaded(PICKLES["references"][path]) is getattr(importlib.import_module(home), name)


@pytest.mark.parametrize("kind", ["pickle", "cloudpickle"])
@pytest.mark.parametrize("name", PICKLES["instances"])
def test_an_instance_that_was_pickled_is_what_it_was(name: str, kind: str, home: Path) -> None:
    record = PICKLES["instances"][name]
    value = loaded(record[kind])
    assert type(value).__name__ in (name, "ModelNotFound")
    assert not record["repr"] or repr(value) == record["repr"]


def test_pickled_instances_are_used_like_new_ones(home: Path) -> None:
    values = {name: loaded(record["pickle"]) for name, record in PICKLES["instances"].items()}
    assert values["Tag"] == vtsserving.Tag("iris", "second")
    assert values["ModelSignature"] == vtsserving.ModelSignature(True, (1, 0))
    assert values["ModelOptions"] == vtsserving.ModelOptions(max_batch_size=8, device="cpu")
    model = vtsserving.models.get("twice:latest")
    assert values["Model"] == model
    assert values["ModelInfo"] == model.info
    assert values["ModelContext"] == model.info.context
    assert values["Manifest"] == model.manifest
    assert values["Cookie"] == vtsserving.Cookie("name", "value")
    assert isinstance(values["NotFound"], vtsserving.exceptions.ModelNotFound)
    assert (values["Runner"].models, values["Runner"].options.max_batch_size) == ((model,), 4)


def test_a_class_that_was_carried_by_value_has_our_class_as_its_base() -> None:
    if not SAME_PYTHON:
        # Byte code of another Python: refused with the models that hold it, and not unpickled here.
        assert b"_make_skeleton" in base64.b64decode(PICKLES["subclass"])
        return
    doubler = loaded(PICKLES["subclass"])
    assert issubclass(doubler, vtsserving.Runnable)
    runner = vtsserving.Runner(doubler)
    runner.init_local()
    assert runner.double.run(np.array([1, 2])).tolist() == [2, 4]


# --- what is written now ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICKLES["public"])
def test_a_pickle_names_a_public_class_as_the_first_release_did(name: str) -> None:
    module, _, attribute = PICKLES["public"][name].rpartition(".")
    found = getattr(vtsserving, name)
    assert (found.__module__, found.__qualname__) == (module, attribute)
    assert pickle.dumps(found, 4) == base64.b64decode(PICKLES["references"][PICKLES["public"][name]])


def test_the_first_release_reads_what_is_pickled_now(home: Path, tmp_path: Path) -> None:
    class Tripler(vtsserving.Runnable):
        @vtsserving.Runnable.method(batchable=True)
        def triple(self, rows: Any) -> Any:
            return rows * 3

    model = vtsserving.models.get("twice:latest")
    values = (
        Tripler,
        vtsserving.Tag("a", "b"),
        model,
        model.info,
        model.to_runner(),
        vtsserving.ModelOptions(),
    )
    (tmp_path / "values.pkl").write_bytes(cloudpickle.dumps(values, 4))
    code = (
        "import pickle, sys, vtsserving\n"
        f"values = pickle.load(open({str(tmp_path / 'values.pkl')!r}, 'rb'))\n"
        "assert issubclass(values[0], vtsserving.Runnable)\n"
        "print(vtsserving.__file__, *map(repr, values[1:3]))\n"
    )
    ended = FirstRelease(tmp_path / "first").python(code)
    assert ended.code == 0, ended.err
    assert str(tmp_path / "first") in ended.out
    assert repr(model) in ended.out


# --- how ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that has moved, with its modules: `before` is its former name, `after` the present one."""
    package = tmp_path / "after_pkg"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from after_pkg.thing import Thing\n")
    (package / "thing.py").write_text("class Thing:\n    pass\n\n\nLOADED = object()\n")
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "deep.py").write_text("import after_pkg.thing\n\nDEEP = after_pkg.thing.Thing\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(_aliases.MOVED, f"{SDK}.before_pkg", "after_pkg")
    monkeypatch.setitem(_aliases.MOVED, f"{SDK}.flat", "after_pkg.inner.deep")
    yield f"{SDK}.before_pkg"
    for name in [
        n
        for n in sys.modules
        if n.partition(".")[0] == "after_pkg" or n.startswith((f"{SDK}.before_pkg", f"{SDK}.flat"))
    ]:
        del sys.modules[name]
    for name in ("before_pkg", "flat"):
        vars(vtsserving).pop(name, None)


def test_a_former_name_gives_the_very_module(moved: str) -> None:
    former = importlib.import_module(f"{moved}.thing")
    present = importlib.import_module("after_pkg.thing")
    assert former is present
    assert (present.__name__, present.__spec__.name) == ("after_pkg.thing", "after_pkg.thing")  # type: ignore[union-attr]
    assert importlib.import_module(f"{SDK}.flat") is importlib.import_module("after_pkg.inner.deep")
    assert importlib.reload(former) is present


def test_all_ways_to_import_lead_there(moved: str) -> None:
    namespace: dict[str, Any] = {}
    exec(
        f"from {SDK} import before_pkg, flat\nfrom {moved}.inner import deep\nimport {moved}.thing", namespace
    )
    assert namespace["before_pkg"] is importlib.import_module("after_pkg")
    assert namespace["flat"] is namespace["deep"] is importlib.import_module("after_pkg.inner.deep")
    assert namespace["vtsserving"].before_pkg.thing is importlib.import_module("after_pkg.thing")


def test_a_former_name_is_an_attribute_of_the_package_without_an_import(moved: str) -> None:
    assert vtsserving.flat is importlib.import_module("after_pkg.inner.deep")


def test_what_was_pickled_under_a_former_name_is_loaded(moved: str) -> None:
    written = f"c{moved}.thing\nThing\n.".encode()
    assert pickle.loads(written) is importlib.import_module("after_pkg").Thing


def test_a_name_that_never_was_is_not_found(moved: str) -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{moved}.nothing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{SDK}.before_pkgs")
    assert not hasattr(vtsserving, "before_pkgs")


def test_threads_that_import_former_and_present_names_get_one_module(moved: str) -> None:
    names = [f"{moved}.thing", "after_pkg.thing", f"{moved}.inner.deep", f"{SDK}.flat"] * 4
    found: list[Any] = []
    at_once = threading.Barrier(len(names))

    def work(name: str) -> None:
        at_once.wait(10)
        found.append(importlib.import_module(name))

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == len(names)
    assert len(set(map(id, found))) == 2
    assert {module.__spec__.name for module in found} == {"after_pkg.thing", "after_pkg.inner.deep"}


def test_a_class_that_moved_is_pickled_under_its_former_name(
    moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thing = _aliases.stable(importlib.import_module("after_pkg.thing").Thing)
    assert thing.__module__ == f"{moved}.thing"
    for dumps in (pickle.dumps, cloudpickle.dumps):
        raw = dumps(thing, 4)
        assert b"before_pkg.thing" in raw
        assert b"after_pkg" not in raw
        assert pickle.loads(raw) is thing


def test_a_module_that_became_a_package_keeps_its_name_in_pickles(
    moved: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_aliases.SPLIT, "after_pkg.inner", "after_pkg.inner.deep")
    monkeypatch.delitem(_aliases.MOVED, f"{SDK}.flat")
    monkeypatch.delitem(_aliases.MOVED, moved)
    assert _aliases.first_name("after_pkg.inner.deep") == "after_pkg.inner"
    assert _aliases.name_now("after_pkg.inner") == "after_pkg.inner"


def test_former_names_cost_an_import_of_the_package_nothing() -> None:
    code = f"import sys; before = set(sys.modules); import {SDK}; print(*sorted(set(sys.modules) - before))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name for name in ended.stdout.split() if name.startswith(SDK)}
    assert ours == {SDK, f"{SDK}._aliases", f"{SDK}.version"}


def test_each_former_name_of_the_table_is_one_that_a_release_had_and_leads_to_a_module() -> None:
    for before, now in _aliases.MOVED.items():
        assert before in PICKLES["modules"], before
        assert importlib.import_module(now).__name__ == now
    for before, now in _aliases.SPLIT.items():
        assert before in PICKLES["modules"], before
        assert now.startswith(f"{before}.")
        assert importlib.import_module(now).__name__ == now
