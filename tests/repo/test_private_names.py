"""Names that begin with an underscore belong to those who define them: we use none of another library's.

What an object is cannot be known from the source. So a private name must be one that our source defines: anywhere for
`self`, `cls` and `super()`, because a class inherits across files, and in the same file for every other object.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

import pytest

from support.source_tree import PACKAGES, modules, within

DOCUMENTED: Final = {"_asdict", "_exit", "_fields", "_make", "_replace"}
"""Public in spite of their names: methods of named tuples, and `os._exit`."""

EXEMPT: Final = {
    "vtsserving._bus.nats_transport": "nats-py has no public way to send without its own queue and flusher",
    "vtsserving._saving.pipeline_settings": "Transformers has no public way to read the settings of a pipeline",
}
"""Modules that may use private names, each with the reason."""

_BY_NAME: Final = {"getattr", "setattr", "hasattr", "delattr"}


def is_private(name: str) -> bool:
    """Whether a name, or a part of a dotted one, begins with an underscore."""
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def is_own(value: ast.expr) -> bool:
    """Whether an attribute is of the object whose class is being written."""
    if isinstance(value, ast.Call):
        value = value.func
    return isinstance(value, ast.Name) and value.id in {"self", "cls", "super"}


def defined(tree: ast.AST) -> set[str]:
    """Names that a file gives to functions, classes, variables, slots and attributes of `self`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            found.add(node.attr)
        elif isinstance(node, ast.Assign) and "__slots__" in (getattr(t, "id", "") for t in node.targets):
            found.update(text.value for text in ast.walk(node.value) if isinstance(text, ast.Constant))
    return found


def used(tree: ast.AST) -> Iterator[tuple[int, ast.expr, str]]:
    """Private names that a file takes from objects: line, object and name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if is_private(node.attr):
                yield node.lineno, node.value, node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in _BY_NAME and len(node.args) > 1:
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield node.lineno, node.args[0], str(name.value)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Private modules and names that a file imports from outside the product: line and dotted name."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if is_private(name) and not within(name, *PACKAGES):
                yield node.lineno, name


def offences(sources: dict[str, str]) -> dict[str, list[str]]:
    """What each module uses although neither it nor, for `self`, any other module defines it.

    Args:
        sources: text by dotted module name.
    """
    trees = {module: ast.parse(text, module) for module, text in sources.items()}
    own = {module: defined(tree) for module, tree in trees.items()}
    anywhere = set().union(*own.values())
    found: dict[str, list[str]] = {}
    for module, tree in trees.items():
        for line, value, name in used(tree):
            if name not in DOCUMENTED and name not in (anywhere if is_own(value) else own[module]):
                found.setdefault(module, []).append(f"{module}:{line} uses {ast.unparse(value)}.{name}")
        for line, name in imported(tree):
            found.setdefault(module, []).append(f"{module}:{line} imports {name}")
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, list[str]]:
    return offences({module: path.read_text() for module, path in modules()})


def test_no_private_name_of_another_library_is_used(found: dict[str, list[str]]) -> None:
    assert [line for module, lines in found.items() if module not in EXEMPT for line in lines] == []


def test_every_exemption_is_needed(found: dict[str, list[str]]) -> None:
    assert [module for module in EXEMPT if module not in found] == []


@pytest.mark.parametrize(
    "line",
    [
        "self.client._http.clear()",
        "client._put_object()",
        "client.pool()._queue = 1",
        "getattr(client, '_code', 0)",
        "hasattr(client, '_code')",
        "self._of_a_foreign_base()",
        "super()._of_a_foreign_base()",
        "import _thread",
        "import asyncio._run as run",
        "from uvicorn._types import Scope",
        "from uvicorn import _types",
    ],
)
def test_what_is_not_ours_is_found(line: str) -> None:
    assert list(offences({"a": line, "b": "class Other:\n def _mine(self): self._put_object_ = 1"})) == ["a"]


@pytest.mark.parametrize(
    "line",
    [
        "self._inherited()",
        "super()._inherited()",
        "def _mine(self): other._mine()",
        "class Slots:\n __slots__ = ('_slot',)\n def same(self, other): return other._slot",
        "entry._replace(size=1)",
        "from __future__ import annotations",
        "from vtsserving._runtime import process",
        "type(self).__name__",
    ],
)
def test_what_is_ours_or_public_is_allowed(line: str) -> None:
    assert offences({"a": line, "b": "class Base:\n def _inherited(self): ..."}) == {}
