"""Tables that are only numbered, joined as they travel: column by column, and made into one DataFrame at the end.

A DataFrame for each caller, joined by pandas, takes thirty times as long, and most tables of requests have one row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final

import numpy as np

_TIMES: Final = re.compile(r"(datetime64|timedelta64)\[(s|ms|us|ns)\]")
_LISTS: Final = ("list", "str", "string")

Column = list[Any]
Join = Callable[[Sequence[Any]], Any]


def joined_fields(parts: Sequence[list[Any]], counts: Sequence[int]) -> list[Any] | None:
    """The fields of one table with the rows of several, one after the other.

    Args:
        parts: the fields of each, see tables; with equal names and dtypes, as their head says.
        counts: their rows.

    Returns:
        None: some of it needs pandas, or is not as it should be, which whoever decodes each alone will say.
    """
    if not all(map(_is_numbered, parts, counts)):
        return None
    names = parts[0][0]
    if any(part[0] != names or len(part[1]) != len(names) for part in parts):
        return None
    columns = []
    for at in range(len(names)):
        column = _joined([part[1][at] for part in parts], counts)
        if column is None:
            return None
        columns.append(column)
    return [names, columns, ["range", [0, sum(counts), 1]], None]


def _is_numbered(fields: list[Any], count: int) -> bool:
    return (
        len(fields) == 4
        and type(fields[0]) is list
        and type(fields[1]) is list
        and fields[2] == ["range", [0, count, 1]]
        and fields[3] is None
    )


def _joined(columns: Sequence[Any], counts: Sequence[int]) -> Column | None:
    if any(type(column) is not list or len(column) != 2 for column in columns):
        return None
    kind = columns[0][0]
    if type(kind) is not str or any(column[0] != kind for column in columns):
        return None
    contents = [column[1] for column in columns]
    if kind in _LISTS:
        content = _joined_lists(contents, counts)
    elif kind in ("tensor", "array") or _TIMES.fullmatch(kind):
        content = _joined_arrays(contents, counts)
    elif kind == "masked":
        content = _joined_pairs(contents, counts)
    elif kind == "category":
        content = _joined_codes(contents, counts)
    else:
        return None
    return None if content is None else [kind, content]


def _joined_lists(items: Sequence[Any], counts: Sequence[int]) -> list[Any] | None:
    is_sound = all(type(one) is list and len(one) == count for one, count in zip(items, counts, strict=True))
    return list(chain.from_iterable(items)) if is_sound else None


def _joined_arrays(arrays: Sequence[Any], counts: Sequence[int]) -> Any:
    """One array of several of one dtype; None where they are not."""
    first = arrays[0]
    for one, count in zip(arrays, counts, strict=True):
        if type(one) is not np.ndarray or one.shape != (count,) or one.dtype != first.dtype:
            return None
    return np.concatenate(arrays)


def _joined_pairs(pairs: Sequence[Any], counts: Sequence[int]) -> list[Any] | None:
    if any(type(pair) is not list or len(pair) != 2 for pair in pairs):
        return None
    found = [_joined_arrays([pair[side] for pair in pairs], counts) for side in (0, 1)]
    return None if any(one is None for one in found) else found


def _joined_codes(parts: Sequence[Any], counts: Sequence[int]) -> list[Any] | None:
    """Codes of the same categories, which are in the head by a digest, and are compared where that is quick."""
    if any(type(part) is not list or len(part) != 3 for part in parts):
        return None
    first = parts[0]
    if any(part[2] is not first[2] or not _are_equal(part[1], first[1]) for part in parts[1:]):
        return None
    codes = _joined_arrays([part[0] for part in parts], counts)
    return None if codes is None else [codes, *first[1:]]


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two columns of categories are the same, of the kinds that most categories are."""
    if one[0] != other[0] or one[0] not in (*_LISTS, "tensor"):
        return False
    if one[0] in _LISTS:
        same_types = list(map(type, one[1])) == list(map(type, other[1]))
        return same_types and bool(one[1] == other[1])
    return one[1].dtype == other[1].dtype and bool(np.array_equal(one[1], other[1]))
