"""The product's own source files and what they import, for tests of the repository's rules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

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
    """Every module of the seven packages: dotted name and file."""
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
