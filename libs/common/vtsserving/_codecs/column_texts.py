"""Texts of a CSV body to plain values, by the dtype that their column has: nothing is guessed where that is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from vtsserving.exceptions import WrongType

MISSING: Final = frozenset(
    (
        "",
        "#N/A",
        "#NA",
        "-NaN",
        "-nan",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "NaT",
        "None",
        "n/a",
        "nan",
        "null",
    )
)
"""Texts that stand for a missing value in a column that is not text; there, only the empty text does."""

INT64_END: Final = 2**63
UINT64_END: Final = 2**64

_WHOLE: Final = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_NUMBER: Final = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,5})?|[+-]?(?:inf|infinity)", re.ASCII | re.IGNORECASE
)
_TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}

Parse = Callable[[Sequence[str], str], Sequence[Any]]


def parser(dtype: Any) -> Parse:
    """The parser of a column's texts into plain values, `(texts, where)`.

    Args:
        dtype: of the column; None: not known, so the texts decide, as pandas would.
    """
    if dtype is None:
        return _guessed
    if dtype is str or str(dtype) in ("str", "string"):
        return _texts
    kind = getattr(getattr(dtype, "subtype", dtype), "kind", "O")
    if type(dtype).__name__ in ("PeriodDtype", "IntervalDtype"):
        return _marked
    return {"i": _numbers, "u": _numbers, "f": _numbers, "b": _truths, "O": _texts, "U": _texts}.get(
        kind, _marked
    )


def _texts(texts: Sequence[str], where: str) -> Sequence[Any]:
    return [text or None for text in texts]


def _marked(texts: Sequence[str], where: str) -> Sequence[Any]:
    return [None if text in MISSING else text for text in texts]


def _numbers(texts: Sequence[str], where: str) -> Sequence[Any]:
    return [number(text, row, where) for row, text in enumerate(texts)]


def number(text: str, row: int, where: str) -> int | float | None:
    """One number, 1 and 0 of true and false; None: it is missing.

    Raises:
        WrongType: it is not a number.
    """
    text = text.strip()
    if text in MISSING:
        return None
    if _WHOLE.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    if text.lower() in ("true", "false"):
        return int(_TRUTH[text.lower()])
    raise WrongType(f"{where}, row {row} is {text!r:.80}; expected a number")


def _truths(texts: Sequence[str], where: str) -> Sequence[Any]:
    found: list[bool | None] = []
    for row, text in enumerate(texts):
        value = None if text in MISSING else _TRUTH.get(text.strip().lower())
        if value is None and text not in MISSING:
            raise WrongType(f"{where}, row {row} is {text!r:.80}; expected true or false")
        found.append(value)
    return found


def _guessed(texts: Sequence[str], where: str) -> Sequence[Any]:
    """Numbers if all are, else true and false if all are, else texts."""
    given = [text for text in texts if text not in MISSING]
    if given and all(_NUMBER.fullmatch(text.strip()) for text in given):
        found = _numbers(texts, where)
        # Digits that no number has room for are no number.
        if not any(isinstance(item, int) and not -INT64_END <= item < UINT64_END for item in found):
            return found
    if given and all(text.lower() in ("true", "false") for text in given):
        return _truths(texts, where)
    if not given:
        return [np.nan] * len(texts)
    return _marked(texts, where)
