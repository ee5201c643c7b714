"""Write the tables of docs/wire.md that come from the code and the frozen vectors; `--check` says if they are stale.

What stands between `<!-- generated: NAME -->` and `<!-- end -->` is replaced; everything else is written by hand.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from vtsserving._wire import limits
from vtsserving._wire.kinds import KINDS
from vtsserving._wire.tensors import DTYPES, ITEM_BYTES

REPOSITORY: Final = Path(__file__).resolve().parents[1]
PAGE: Final = REPOSITORY / "docs" / "wire.md"
VECTORS: Final = REPOSITORY / "tests" / "vectors" / "wire_v2.json"
BLOCK: Final = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

TYPES: Final = {
    "s": "str",
    "m": "str, cut",
    "i": "int",
    "b": "bool",
    "l": "array of str",
    "t": "bin, a line each",
    "I": "array of int",
    "B": "bin, a byte per entry",
    "N": "bin: u32 each",
    "R": "bin: u8 and UTF-8 per entry, or empty",
    "T": "bin: 25 bytes per entry, or empty",
    "K": "bin: a byte per entry, or empty",
    "M": "bin: models",
    "C": "bin: counters",
    "Q": "column of u64",
    "U": "column of u32",
    "H": "int: bytes of the head",
    "V": "column of u32: bytes of each body",
}
UNITS: Final = {"_us": "µs", "_ms": "ms", "_bytes": "bytes", "_rows": "rows"}
SHOWN: Final = 120


def attributes(cls: type[Any]) -> dict[str, str]:
    """What the class says of its fields."""
    text = inspect.getdoc(cls) or ""
    found: dict[str, str] = {}
    name = ""
    for line in text.partition("Attributes:\n")[2].splitlines():
        field = re.match(r" {4}(\w+): (.*)", line)
        if field:
            name = field.group(1)
            found[name] = field.group(2)
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def kinds() -> str:
    """One table per kind of frame."""
    lines: list[str] = []
    for number, (cls, letters) in KINDS.items():
        first = (inspect.getdoc(cls) or "").splitlines()[0]
        meanings = attributes(cls)
        lines += ["", f"### {number} {cls.__name__}", "", first, "", "| # | field | type | unit | meaning |"]
        lines += ["|---|---|---|---|---|"]
        for i, (field, letter) in enumerate(zip(cls._fields, letters, strict=True)):
            unit = next((unit for suffix, unit in UNITS.items() if field.endswith(suffix)), "")
            lines.append(f"| {i} | `{field}` | {TYPES[letter]} | {unit} | {meanings[field]} |")
    return "\n".join(lines[1:]) + "\n"


def limit_table() -> str:
    """The named limits with what they say of themselves."""
    tree = ast.parse(Path(limits.__file__).read_text())
    lines = ["| limit | value | meaning |", "|---|---|---|"]
    for statement, after in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr):
            name = ast.unparse(statement.target)
            doc = ast.literal_eval(after.value)
            value = f"{getattr(limits, name):,}"
            lines.append(f"| `{name}` | {value} | {' '.join(doc.split())} |")
    return "\n".join(lines) + "\n"


def dtypes() -> str:
    """The codes of dtypes."""
    lines = ["| code | dtype | bytes per item |", "|---|---|---|"]
    lines += [
        f"| {i} | {name} | {ITEM_BYTES[i] or 'its UTF-8, after the lengths'} |"
        for i, name in enumerate(DTYPES)
    ]
    return "\n".join(lines) + "\n"


def vectors() -> str:
    """The frozen vectors, long bytes cut."""
    listed = json.loads(VECTORS.read_text())["vectors"]
    lines = ["### Frames", "", "| name | kind | bytes |", "|---|---|---|"]
    lines += [f"| {v['name']} | {v['kind']} | {_hex(v['hex'])} |" for v in listed["frames"]]
    lines += ["", "### Values", "", "| name | means | bytes |", "|---|---|---|"]
    lines += [f"| {v['name']} | {_code(v['means'])} | {_hex(v['hex'])} |" for v in listed["values"]]
    lines += ["", "### Calls", "", "| name | means | rows | head | body |", "|---|---|---|---|---|"]
    lines += [
        f"| {v['name']} | {_code(v['means'])} | {v['rows']} | {_hex(v['head'])} | {_hex(v['body'])} |"
        for v in listed["calls"]
    ]
    lines += ["", "### Malformed", "", "| what is wrong | bytes | refused with |", "|---|---|---|"]
    for v in listed["malformed"]:
        repeated = f", then {_hex(v['then'])} {v['times']:,} times" if v.get("times") else ""
        lines.append(f"| {v['name']} | {_hex(v['hex'])}{repeated} | `{v['error']}` |")
    return "\n".join(lines) + "\n"


def _hex(text: str) -> str:
    if not text:
        return "none"
    return f"`{text}`" if len(text) <= SHOWN else f"`{text[:SHOWN]}`... ({len(text) // 2} bytes)"


def _code(text: str) -> str:
    shown = text.replace("|", "\\|")
    return f"`{shown}`" if len(shown) <= SHOWN else f"`{shown[:SHOWN]}`..."


BLOCKS: Final = {"kinds": kinds, "limits": limit_table, "dtypes": dtypes, "vectors": vectors}


def page(before: str) -> str:
    """The page with its generated blocks as they should be."""
    return BLOCK.sub(lambda found: found.group(1) + BLOCKS[found.group(2)]() + found.group(3), before)


def main() -> int:
    before = PAGE.read_text()
    text = page(before)
    if before == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(
            "docs/wire.md is not what the code says; run: .venv/bin/python scripts/wire_page.py",
            file=sys.stderr,
        )
        sys.stderr.writelines(
            difflib.unified_diff(before.splitlines(True), text.splitlines(True), "wire.md", "generated", n=0)
        )
        return 1
    PAGE.write_text(text)
    print("wrote docs/wire.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
