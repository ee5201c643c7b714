"""Write the table of docs/values.md from the kinds of values that the tests run; `--check` says if it is stale.

What stands between `<!-- generated -->` and `<!-- end -->` is replaced; everything else is written by hand.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.value_kinds import KINDS, NONE  # type: ignore[import-not-found]  # noqa: E402

PAGE: Final = REPOSITORY / "docs" / "values.md"
BLOCK: Final = re.compile(r"(<!-- generated -->\n).*?(<!-- end -->)", re.DOTALL)


def table() -> str:
    """A row for each kind."""
    lines = [
        "| kind | JSON | npy | Arrow | OIP | msgpack, the client, the model | JSON, CSV to a recorded column "
        "| merged by rows |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(cells(kind))} |" for kind in KINDS]
    return "\n".join(lines) + "\n"


def cells(kind: Any) -> tuple[str, ...]:
    """One kind of value in each form."""
    has_json = kind.json is not None or kind.name in ("None", "NaT", "NA")
    return (
        kind.name,
        f"`{json.dumps(kind.json)}`" if has_json else "none",
        "406" if kind.npy == NONE else f"`{kind.npy}`",
        "yes" if kind.arrow else "406",
        kind.oip or "none",
        kind.client,
        "the same" if kind.column else "",
        "yes" if kind.rows else "",
    )


def main() -> int:
    """Write the page, or say whether it is stale."""
    before = PAGE.read_text()
    text = BLOCK.sub(lambda found: found.group(1) + table() + found.group(2), before)
    if before == text:
        return 0
    if "--check" in sys.argv[1:]:
        print("docs/values.md is not what the tests run; run: make docs", file=sys.stderr)
        sys.stderr.writelines(
            difflib.unified_diff(
                before.splitlines(True), text.splitlines(True), "values.md", "generated", n=0
            )
        )
        return 1
    PAGE.write_text(text)
    print("wrote docs/values.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
