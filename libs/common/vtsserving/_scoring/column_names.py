"""Unique names of a file's columns: a name that is there again gets a number.

The number stands behind a NUL, which no name of a file has that anybody wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MARK: Final = "\0"


def unique_names(names: Sequence[str]) -> list[str]:
    """The same names, those that are there again with their numbers."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}{_MARK}{seen[name]}")
    return found


def as_written(name: str) -> str:
    """A name as the file has it."""
    return name.partition(_MARK)[0]


def repeated(names: Sequence[str]) -> list[str]:
    """The names that are there more than once, as the file has them."""
    return list(dict.fromkeys(as_written(name) for name in names if _MARK in name))
