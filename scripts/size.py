"""Refuse files and functions that have grown too long to read in one go.

Hard limits: 400 lines a file (700 in tests), 60 lines a function (docstring not counted). `--report` prints the largest
ones, so that a split can be planned before the limit bites.
"""

from __future__ import annotations

import ast
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

FILE_LINES: Final = 400
TEST_FILE_LINES: Final = 700
FUNCTION_LINES: Final = 60
REPOSITORY: Final = Path(__file__).resolve().parents[1]
TABLES: Final = ("libs/common/vtsserving/exceptions.py",)
"""Flat declarations, looked up and never read through: the file limit would only scatter them."""
FOLDERS: Final = ("libs", "services", "cli", "scripts", "benchmarks", "deploy", "examples", "tests")


class Size(NamedTuple):
    """How long one file or function is, in lines."""

    lines: int
    where: str
    limit: int


def function_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end, the docstring left out: prose is never a reason to split code."""
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def sizes(path: Path) -> Iterator[Size]:
    """The file's own size, then those of its functions."""
    name = path.relative_to(REPOSITORY).as_posix()
    text = path.read_text()
    if name not in TABLES:
        yield Size(text.count("\n"), name, TEST_FILE_LINES if name.startswith("tests/") else FILE_LINES)
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Size(function_lines(node), f"{name}:{node.lineno} {node.name}", FUNCTION_LINES)


def report(found: list[Size]) -> None:
    for kind, of_kind in (("files", True), ("functions", False)):
        some = sorted((s for s in found if (s.limit != FUNCTION_LINES) is of_kind), reverse=True)
        lines = [s.lines for s in some]
        print(f"{kind}: {len(some)}, median {statistics.median(lines):.0f}, largest:")
        for size in some[:10]:
            print(f"  {size.lines:4d}  {size.where}")


def main() -> int:
    paths = [p for folder in FOLDERS for p in sorted((REPOSITORY / folder).rglob("*.py"))]
    found = [size for path in paths for size in sizes(path)]
    if "--report" in sys.argv[1:]:
        report(found)
    over = [size for size in found if size.lines > size.limit]
    for size in over:
        print(f"size: {size.where}: {size.lines} lines, limit {size.limit}: split it", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
