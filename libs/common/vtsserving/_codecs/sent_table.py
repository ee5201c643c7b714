"""A table that is read to be sent: its rows go to the wire as they were read, and nobody makes a DataFrame of them.

Making one of a single row, only to take it apart again, costs fifteen times as much as all the rest of a request.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from vtsserving._codecs.column_items import Items
from vtsserving._codecs.columns import Column, pandas_module
from vtsserving._codecs.table import Table
from vtsserving._wire import table_records
from vtsserving._wire.tensors import NATIVE


class _Codes:
    """A categorical column, of codes that are known to be its own."""

    __slots__ = ("codes", "dtype")

    def __init__(self, codes: Any, dtype: Any) -> None:
        self.codes = codes
        self.dtype = dtype

    def __len__(self) -> int:
        return len(self.codes)

    def made(self) -> Any:
        """The column as pandas has it."""
        return pandas_module().Categorical.from_codes(self.codes, dtype=self.dtype)


class _Texts:
    """A column of texts, None where one is missing."""

    __slots__ = ("_items", "dtype")

    def __init__(self, items: list[str | None], dtype: Any) -> None:
        self._items = items
        self.dtype = dtype

    def __len__(self) -> int:
        return len(self._items)

    def tolist(self) -> list[str | None]:
        """The texts."""
        return self._items

    def made(self) -> Any:
        """The column as pandas has it."""
        return pandas_module().array(self._items, dtype=self.dtype)


class SentTable(Table):
    """The record of a table, of which `of_records` and its like make records where the columns are of usual dtypes."""

    def _values(self, column: Column, items: Items, where: str) -> Any:
        if column.categories is not None:
            return _Codes(column.codes(items, where), column.target)
        if type(column.target).__name__ == "StringDtype":
            return _Texts(list(column.texts(items, where)), column.target)
        return super()._values(column, items, where)

    def _frame(self, names: Sequence[Any], values: Sequence[Any], index: Any = None) -> Any:
        if self.columns:
            labels = None if index is None else pandas_module().Index(index)
            records = table_records.of_arrays(names, values, labels)
            if records is not None:
                return records
        made = [one.made() if isinstance(one, _Codes | _Texts) else one for one in values]
        return super()._frame(names, made, index)

    def _of_numbers(self, numbers: np.ndarray[Any, Any]) -> Any:
        if self._has_texts_as_names and numbers.dtype.str in NATIVE:
            return table_records.of_numbers(self.names, numbers)
        return super()._of_numbers(numbers)

    @cached_property
    def _has_texts_as_names(self) -> bool:
        return all(type(name) is str for name in self.names)
