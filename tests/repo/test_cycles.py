"""No import goes round in a circle, for types included; inside of functions it may."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from support import source_tree
from support.source_tree import PACKAGES, circle, house_of, internal_imports, modules

FILES = dict(modules())
EAGER = [one for one in internal_imports() if not one.is_lazy]


def package_of(module: str) -> str:
    """The package that a module is in; a package is in itself, and a module at the top of its house stands alone."""
    parent = module.rpartition(".")[0]
    return module if FILES[module].name == "__init__.py" or parent in PACKAGES else parent


@pytest.mark.parametrize("house", PACKAGES)
def test_no_module_imports_itself_by_way_of_others(house: str) -> None:
    assert circle((one.source, one.target) for one in EAGER if house_of(one.source) == house) == []


@pytest.mark.parametrize("house", PACKAGES)
def test_no_package_imports_itself_by_way_of_others(house: str) -> None:
    pairs = {(package_of(one.source), package_of(one.target)) for one in EAGER}
    assert circle(sorted((a, b) for a, b in pairs if house_of(a) == house_of(b) == house and a != b)) == []


def test_no_house_imports_itself_by_way_of_others() -> None:
    pairs = {(house_of(one.source), house_of(one.target)) for one in internal_imports()}
    assert circle(sorted((a, b) for a, b in pairs if a != b)) == []


def test_a_circle_is_found_with_its_way_round() -> None:
    assert circle([("a", "b"), ("b", "c"), ("a", "c")]) == []
    found = circle([("x", "a"), ("a", "b"), ("b", "c"), ("c", "a")])
    assert found[0] == found[-1]
    assert set(itertools.pairwise(found)) == {("a", "b"), ("b", "c"), ("c", "a")}


def test_imports_for_types_count_and_those_within_functions_are_lazy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_tree, "PACKAGES", {"house": tmp_path})
    (tmp_path / "__init__.py").touch()
    for name, text in {
        "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.b import B\n",
        "b": "def f():\n    import house.a\n    from house import c\n    import os\n",
        "c": "class C:\n    from house import a\n    def f(self):\n        from house.a import g\n",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    assert internal_imports() == [
        ("house.a", "house.b", False),
        ("house.b", "house.a", True),
        ("house.b", "house.c", True),
        ("house.c", "house.a", False),
    ]
