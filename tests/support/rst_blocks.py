"""The code blocks of a reStructuredText page, by section and position."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import NamedTuple


class Block(NamedTuple):
    """One code block.

    Attributes:
        key: `section/number`, counted from 1 within the section.
        language: what the directive says.
        text: the code, without the page's indentation.
    """

    key: str
    language: str
    text: str


def code_blocks(page: Path) -> list[Block]:
    """All code blocks of a page, in order."""
    lines = page.read_text().splitlines()
    section, count, blocks = "", 0, []
    for at, line in enumerate(lines):
        if at and re.fullmatch(r"([-=^])\1{2,}", line) and len(lines[at - 1]) == len(line):
            section, count = lines[at - 1], 0
        directive = re.fullmatch(r"\.\. code:: (\w+)", line)
        if directive:
            count += 1
            blocks.append(Block(f"{section}/{count}", directive[1], _body(lines[at + 1 :])))
    return blocks


def _body(lines: list[str]) -> str:
    body: list[str] = []
    for line in lines:
        if line and not line.startswith(" "):
            break
        body.append(line)
    return textwrap.dedent("\n".join(body)).strip("\n")
