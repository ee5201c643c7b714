"""The labels of tables that are joined for one call: rows of different callers never share one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from vtsserving._wire import pandas_values, sparse, tables
from vtsserving._wire.ranges import ranges

_FIRST: Final = 1 << 40
"""Fresh labels begin here, so that a table that has them differs from one that its model numbered anew."""

_STEP: Final = 1 << 32


class SharedLabels(Exception):
    """Two callers have a label in common, and the model may look at labels: these calls are not joined."""


class JoinedLabels:
    """Joins the tables of one call, and gives each caller's own labels back with its rows."""

    def __init__(self, *, renumbers: bool) -> None:
        """Join tables whose labels overlap only if `renumbers`: the model does not look at labels."""
        self._renumbers = renumbers
        self._own: list[tuple[Any, Any]] = []

    def join(self, parts: Sequence[Any]) -> Any:
        """One table of several of equal kind, each of one caller.

        Tables that are only numbered become one that is. Labels that differ from caller to caller stay. Where two have
        the same one, all rows get fresh numbers.

        Raises:
            SharedLabels: two have the same one, and labels may not be changed.
        """
        import pandas as pd

        joined = pd.concat(list(parts), ignore_index=True)
        if all(map(tables.has_default_index, parts)):
            return joined
        joined.index = self.settled(tables.joined_index(parts), [len(part) for part in parts])
        return joined

    def settled(self, labels: Any, counts: Sequence[int]) -> Any:
        """The labels for the rows of several callers: their own, or fresh ones where two callers share one.

        Args:
            labels: an Index of all rows.
            counts: rows of each caller.

        Raises:
            SharedLabels: two have the same one, and labels may not be changed.
        """
        import pandas as pd

        if labels.is_unique:
            return labels
        own = sum(labels[start:stop].nunique(dropna=False) for start, stop in ranges(counts))
        if labels.nunique(dropna=False) == own:
            return labels
        if not self._renumbers:
            raise SharedLabels
        start = _FIRST + len(self._own) * _STEP
        fresh = pd.RangeIndex(start, start + len(labels))
        self._own.append((fresh, labels))
        return fresh

    def restored(self, result: Any) -> Any:
        """A result with the callers' labels wherever the fresh ones are; the same object if there are none."""
        if not self._own:
            return result
        if tables.is_table(result):
            return self._relabelled(result)
        if pandas_values.is_list(result):
            return next((own for fresh, own in self._own if result.equals(fresh)), result)
        if sparse.is_mapping(result):
            return {key: self.restored(item) for key, item in result.items()}
        if isinstance(result, list | tuple):
            items = [self.restored(item) for item in result]
            return items if isinstance(result, list) else tuple(items)
        return result

    def _relabelled(self, table: Any) -> Any:
        for fresh, labels in self._own:
            if len(table) == len(fresh) and table.index.equals(fresh):
                return table.set_axis(labels, axis=0)
        return table
