"""ARCHITECTURE.md's two numbered paths and the markers in the files say the same, in both directions."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

from support.source_tree import REPOSITORY, modules

pytestmark = pytest.mark.fast

ROW = re.compile(r"^\| ([RM]\d+) \| (.+?) \|", re.MULTILINE)
MARKER = re.compile(r"\[([RM]\d+(?:, [RM]\d+)*)\]$")
STEPS = [*(f"R{n}" for n in range(1, 12)), *(f"M{n}" for n in range(1, 9))]


def rows() -> list[tuple[str, list[Path]]]:
    text = (REPOSITORY / "ARCHITECTURE.md").read_text()
    return [(step, files(cell)) for step, cell in ROW.findall(text)]


def files(cell: str) -> list[Path]:
    """`folder/`: `a.py`, `b.py` as paths."""
    folder, *names = re.findall(r"`([^`]+)`", cell)
    assert folder.endswith("/"), cell
    return [REPOSITORY / folder / name for name in names]


def markers(path: Path) -> list[str]:
    """The steps at the end of a file's first line: `[R6]`, or `[R10, M8]` for a file on both paths."""
    doc = ast.get_docstring(ast.parse(path.read_text())) or ""
    found = MARKER.search(doc.partition("\n")[0].strip())
    return found.group(1).split(", ") if found else []


def test_the_tables_name_every_step_once_and_in_order() -> None:
    assert [step for step, _ in rows()] == STEPS


def test_every_file_in_the_tables_exists_and_carries_its_step() -> None:
    listed = [(step, path) for step, paths in rows() for path in paths]
    assert [str(path) for _, path in listed if not path.exists()] == []
    assert [f"{path}: not {step}" for step, path in listed if step not in markers(path)] == []


def test_every_file_with_a_marker_stands_in_the_tables() -> None:
    listed = defaultdict(list)
    for step, paths in rows():
        for path in paths:
            listed[path].append(step)
    unlisted = [
        f"{path.relative_to(REPOSITORY)}: {step}"
        for _, path in modules()
        for step in markers(path)
        if step not in listed[path]
    ]
    assert unlisted == []
