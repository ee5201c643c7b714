"""Importing the package: light, lazy, and with a fixed public surface."""

from __future__ import annotations

import json
import subprocess
import sys

import vtsserving

HEAVY = {
    "numpy",
    "pydantic",
    "yaml",
    "sklearn",
    "torch",
    "msgpack",
    "pandas",
    "asyncio",
    "cloudpickle",
    "filelock",
}


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = json.loads(run("import sys, json, vtsserving; print(json.dumps(sorted(sys.modules)))"))
    assert HEAVY.isdisjoint(loaded)
    assert {name for name in loaded if name.startswith("vtsserving.")} == {
        "vtsserving._aliases",
        "vtsserving.version",
    }


def test_using_the_store_from_python_imports_no_framework() -> None:
    loaded = json.loads(
        run(
            "import sys, json, vtsserving\n"
            "vtsserving.models.list(); vtsserving.sklearn; vtsserving.Runner\n"
            "print(json.dumps(sorted(sys.modules)))"
        )
    )
    assert {"numpy", "pydantic", "sklearn", "torch"}.isdisjoint(loaded)


def test_every_public_name_loads() -> None:
    for name in vtsserving.__all__:
        assert getattr(vtsserving, name) is not None
    assert dir(vtsserving) == sorted(vtsserving.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(vtsserving, "no_such_name")
