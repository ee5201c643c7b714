"""Pickled models: code by value, other Python versions, and errors that name the cause."""

from __future__ import annotations

import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import vtsserving
from vtsserving._saving import pickles
from vtsserving.exceptions import InvalidSignature, ModelLoadFailed, PythonVersionMismatch, SerializationError

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTSSERVING_HOME", str(tmp_path / "home"))


def test_a_function_is_called_by_run() -> None:
    saved = vtsserving.picklable_model.save_model("doubler", lambda rows: [row * 2 for row in rows])
    assert list(saved.info.signatures) == ["__call__"]
    runner = saved.to_runner()
    runner.init_local()
    assert runner.run([1, 2]) == [2, 4]


def test_methods_of_an_object_are_called_by_name() -> None:
    class Model:
        def classify(self, rows: list[int]) -> list[str]:
            return ["odd" if row % 2 else "even" for row in rows]

    vtsserving.picklable_model.save_model("parity", Model(), signatures={"classify": {"batchable": True}})
    runner = vtsserving.picklable_model.get("parity").to_runner()
    runner.init_local()
    assert runner.classify.run([1, 2]) == ["odd", "even"]
    assert "classify" in dir(runner)


def test_an_object_that_cannot_be_called_is_refused_with_what_to_write_instead() -> None:
    class Model:
        def classify(self, rows: list[int]) -> list[int]:
            return rows

    with pytest.raises(InvalidSignature, match=r"it has classify.*signatures=\{'classify': \{\}\}"):
        vtsserving.picklable_model.save_model("parity", Model())
    assert vtsserving.models.list() == []


def test_methods_that_an_object_has_from_another_are_offered_too() -> None:
    class Results:
        def __init__(self, model: Any) -> None:
            self.model = model

        def __getattr__(self, name: str) -> Any:
            if name == "model":
                raise AttributeError(name)
            return getattr(self.model, name)

        def cov_params(self) -> None: ...

    class Fitted:
        def predict(self, rows: list[int]) -> list[int]:
            return rows

    with pytest.raises(
        InvalidSignature, match=r"it has predict, cov_params: .*signatures=\{'predict': \{\}\}"
    ):
        vtsserving.picklable_model.save_model("fitted", Results(Fitted()))


def test_a_near_method_is_offered_and_plain_data_is_not_told_to_serve_its_methods() -> None:
    class Base:
        def predict(self, rows: list[int]) -> list[int]:
            return rows

    class Model(Base):
        def fit(self) -> None: ...

    with pytest.raises(InvalidSignature, match=r"did you mean 'predict'\?$"):
        vtsserving.picklable_model.save_model("parity", Model(), signatures={"predikt": {}})
    with pytest.raises(InvalidSignature, match=r"int has no such method to call$"):
        vtsserving.picklable_model.save_model("three", 3)


@pytest.mark.parametrize(
    ("value", "has_code"),
    [
        (lambda: 1, True),
        (type("Mine", (), {})(), True),
        (len, False),
        ({"a": [1, 2]}, False),
        (Path("x"), False),
    ],
    ids=["lambda", "local class", "builtin", "data", "class of a package"],
)
def test_it_is_recorded_whether_the_pickle_carries_code(value: Any, has_code: bool, tmp_path: Path) -> None:
    assert pickles.dump(value, tmp_path / "x.pkl", "it") is has_code


@pytest.mark.slow
def test_code_of_an_external_module_travels_with_the_model(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def triple(x):\n    return x * 3\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import mine, vtsserving\n"
        "vtsserving.picklable_model.save_model('plain:v1', mine.triple, check=False)\n"
        "vtsserving.picklable_model.save_model('packed:v1', mine.triple, external_modules=[mine])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert vtsserving.picklable_model.load_model("packed")(2) == 6
    assert vtsserving.models.get("packed").info.extra["pickle_by_value"]
    with pytest.raises(ModelLoadFailed, match="'mine'"):
        vtsserving.picklable_model.load_model("plain")


def test_code_of_another_python_is_refused_before_unpickling_and_data_is_warned_of() -> None:
    with pytest.raises(PythonVersionMismatch, match=r"Python 3\.1 "):
        pickles.check_python("3.1.9", True, "demo:v1")
    with pytest.warns(UserWarning, match=r"saved with Python 3\.1;"):
        pickles.check_python("3.1.9", False, "demo:v1")
    pickles.check_python(f"{sys.version_info.major}.{sys.version_info.minor}.0", True, "demo:v1")


BROKEN = {
    "empty": b"",
    "truncated": b"\x80\x05\x95\x10",
    "bad opcode": b"\xff\xff",
    "protocol 9": b"\x80\x09.",
    "missing module": b"cno_such_module\nthing\n.",
    "missing attribute": b"cos\nno_such_thing\n.",
    "raises": b"cbuiltins\nint\n(Vx\ntR.",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN.keys())
def test_a_pickle_that_cannot_be_read_is_one_error_with_its_cause(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(raw)
    with pytest.raises(ModelLoadFailed, match=r"demo:v1 cannot be loaded: \w+") as caught:
        pickles.load(tmp_path / "x.pkl", "demo:v1")
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("name", ["lock", "socket", "generator"])
def test_a_model_that_cannot_be_pickled_saves_nothing(name: str) -> None:
    import socket
    import threading

    with socket.socket() as open_socket:
        value = {"lock": threading.Lock(), "socket": open_socket, "generator": (n for n in ())}[name]
        model = types.SimpleNamespace(value=value, predict=len)
        with pytest.raises(SerializationError, match="the model cannot be pickled"):
            vtsserving.picklable_model.save_model("demo", model, signatures={"predict": {}})
    assert vtsserving.models.list() == []


def test_custom_objects_keep_keys_that_are_no_file_names() -> None:
    objects = {
        "a/b": 1,
        "..": 2,
        "A": 3,
        "a": 4,
        "caf\u00e9": 5,
        "cafe\u0301": 6,
        "con": 7,
        "x.pkl": 8,
        " ": 9,
    }
    vtsserving.picklable_model.save_model("demo", len, custom_objects=objects)
    assert vtsserving.models.get("demo").custom_objects == objects
    assert vtsserving.models.get("demo").custom_objects is not objects


@pytest.mark.parametrize("objects", [{1: 1}, {"": 1}, {"x" * 81: 1}, [1], {"\ud800": 1}], ids=repr)
def test_custom_objects_are_named_by_text(objects: Any) -> None:
    with pytest.raises(vtsserving.exceptions.InvalidArgument):
        vtsserving.picklable_model.save_model("demo", len, custom_objects=objects)
    assert vtsserving.models.list() == []
