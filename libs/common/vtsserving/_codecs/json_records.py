"""Records of plain numbers: the short way of most tables in JSON; the strict one finds the exact error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np
import orjson

_NUMBERS: Final[frozenset[type]] = frozenset((int, float, type(None)))
_EXACT_END: Final = 9e18
"""The strict way says whether an integer beyond this was too long."""


def row_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a record to its values under some names, in their order; it raises as `record[name]` does."""
    if len(names) > 1:
        return itemgetter(*names)
    (name,) = names
    return lambda record: (record[name],)


class PlainRecords:
    """Reads `[{"a": 1.5, "b": null}, ...]` whose keys are the columns of one table of floating numbers."""

    def __init__(self, names: Sequence[str], dtype: np.dtype[Any]) -> None:
        """Read records of these columns, which become numbers of `dtype`, of 64 bits, in their order."""
        self._width = len(names)
        self._dtype = dtype
        self._row = row_of(names)

    def read(self, body: bytes | bytearray) -> np.ndarray[Any, Any] | None:
        """The array [rows, columns] of a JSON body, NaN where null is; None: it needs a closer look."""
        if b"\\" in body:
            return None
        try:
            records = orjson.loads(body)
            rows = [self._row(record) for record in records]
        except (ValueError, KeyError, TypeError, IndexError):
            return None
        # A key that is there twice is left once: all quotes must be those of the keys that are left.
        is_complete = type(records) is list and rows and set(map(len, records)) == {self._width}
        if not is_complete or body.count(b'"') != 2 * self._width * len(rows):
            return None
        if not all(_NUMBERS.issuperset(map(type, row)) for row in rows):
            return None
        array = np.array(rows, self._dtype)
        return None if (np.abs(array) >= _EXACT_END).any() else array
