"""Fill the file columns of ARCHITECTURE.md's two path tables from the markers in the files; `--check` only compares.

A file on a path ends the first line of its docstring with its step, `[R6]`, or with several, `[R10, M8]`. What the
steps do is written by hand in the tables; which files they are is not.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "ARCHITECTURE.md"
MARKER: Final = re.compile(r"\[([RM]\d+(?:, [RM]\d+)*)\]$")
FIRST: Final = {
    "M1": "framework.py",
    "M2": "local_store.py",
    "M3": "registry.py",
    "M5": "registry.py",
    "M6": "blobs.py",
}
"""The file of a step to read first; the others follow by name."""


def marked_files() -> dict[str, list[Path]]:
    """Files by step."""
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in ("libs", "services", "cli"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            doc = ast.get_docstring(ast.parse(path.read_text(), str(path))) or ""
            marker = MARKER.search(doc.partition("\n")[0].strip())
            for step in marker.group(1).split(", ") if marker else ():
                found[step].append(path)
    return found


def cell(step: str, paths: list[Path]) -> str:
    """`folder/` `a.py`, `b.py`."""
    folders = {path.parent for path in paths}
    if len(folders) > 1:
        raise SystemExit(f"step {step} is spread over folders: {', '.join(str(f) for f in sorted(folders))}")
    names = sorted((path.name for path in paths), key=lambda name: (name != FIRST.get(step), name))
    folder = folders.pop().relative_to(REPOSITORY).as_posix()
    return f"`{folder}/` " + ", ".join(f"`{name}`" for name in names)


def filled(page: str) -> str:
    """The page with the file columns as the markers say."""
    for step, paths in marked_files().items():
        row = re.compile(rf"^\| {step} \| .+? \| ", re.MULTILINE)
        if not row.search(page):
            raise SystemExit(
                f"ARCHITECTURE.md has no row {step}, the step of {paths[0].relative_to(REPOSITORY)}"
            )
        page = row.sub(f"| {step} | {cell(step, paths)} | ", page)
    return page


def main() -> int:
    before = PAGE.read_text()
    after = filled(before)
    if after == before:
        return 0
    if "--check" in sys.argv[1:]:
        print("ARCHITECTURE.md's path tables are not what the files say; run: make docs", file=sys.stderr)
        return 1
    PAGE.write_text(after)
    print("wrote ARCHITECTURE.md's path tables")
    return 0


if __name__ == "__main__":
    sys.exit(main())
