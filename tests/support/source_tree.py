"""The product's own source files and what they import, for tests of the repository's rules."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

REPOSITORY: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = {
    "vtsserving": REPOSITORY / "libs/common/vtsserving",
    "vtsserving_gateway": REPOSITORY / "services/gateway/vtsserving_gateway",
    "vtsserving_store": REPOSITORY / "services/store/vtsserving_store",
    "vtsserving_batcher": REPOSITORY / "services/batcher/vtsserving_batcher",
    "vtsserving_runner": REPOSITORY / "services/runner/vtsserving_runner",
    "vtsserving_embedded": REPOSITORY / "services/embedded/vtsserving_embedded",
    "vtsserving_cli": REPOSITORY / "cli/vtsserving_cli",
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the product's packages: dotted name and file."""
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__"), path


def imports(path: Path) -> set[str]:
    """Dotted names that a file imports anywhere in it, functions included; `from a import b` counts as a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and dynamic_import(node):
            found.add(dynamic_import(node))
    return found


def dynamic_import(call: ast.Call) -> str:
    """The name in import_module("name") or __import__("name"), else an empty string."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in ("import_module", "__import__") or not call.args:
        return ""
    first = call.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def within(name: str, *roots: str) -> bool:
    """Whether a dotted name is one of the roots or below it."""
    return any(name == root or name.startswith(root + ".") for root in roots)


class Import(NamedTuple):
    """One module of the product that imports another one.

    Attributes:
        source: the module that imports.
        target: the module that is imported.
        is_lazy: whether only functions import it, when they are called. An import for type checkers is not lazy.
    """

    source: str
    target: str
    is_lazy: bool

    def __str__(self) -> str:
        return f"{self.source} imports {self.target}"


def internal_imports() -> list[Import]:
    """Every import of one module of the product by another one, sorted."""
    files = dict(modules())
    found: dict[tuple[str, str], bool] = {}
    for source, path in files.items():
        for name, is_lazy in _import_statements(ast.parse(path.read_text(), str(path)), False):
            target = _module_of(name, files)
            if target and target != source:
                found[source, target] = is_lazy and found.get((source, target), True)
    return sorted(Import(*pair, is_lazy) for pair, is_lazy in found.items())


def circle(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """One way round from a node to itself, by edges that are given as (from, to); empty if there is none."""
    graph: dict[str, set[str]] = {}
    for source, target in pairs:
        graph.setdefault(source, set()).add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # graphlib follows its edges backwards.
        return [str(node) for node in reversed(error.args[1])]
    return []


def house_of(module: str) -> str:
    """The package of the product that a module belongs to."""
    return module.partition(".")[0]


def room_of(module: str) -> str:
    """The part of its house that a module belongs to: a package or a module at the top; the house for its __init__."""
    return module.split(".")[1] if "." in module else module


def _import_statements(node: ast.AST, is_lazy: bool) -> Iterator[tuple[str, bool]]:
    """Dotted names that are imported below a node, `from a import b` as a.b, and whether within a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, is_lazy) for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield from ((f"{child.module}.{alias.name}", is_lazy) for alias in child.names)
        else:
            in_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _import_statements(child, is_lazy or in_function)


def _module_of(name: str, known: Iterable[str]) -> str:
    """The module of the product that a dotted name is, or is in; empty for others."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name
