"""A table that is read to be sent: its rows go to the wire as they were read, and nobody makes a DataFrame of them.

Making one of a single row, only to take it apart again, costs fifteen times as much as all the rest of a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from vtsserving._codecs.column_items import Items, texts
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


class SentColumn(Column):
    """A column whose values are only sent."""

    __slots__ = ()

    def of_items(self, items: Items, where: str) -> Any:
        """As Column.of_items; what a table of records takes, which for texts is no array of pandas."""
        target = self.target
        if self.categories is None and type(target).__name__ == "StringDtype":
            place = f"{where}, column {self.name!r:.80}"
            if self.nullable is False:
                self._check_complete(items, place)
            return _Texts(list(texts(items, place)), target)
        return super().of_items(items, where)

    def _categorical(self, codes: Any) -> Any:
        return _Codes(codes, self.target)


class SentTable(Table):
    """The record of a table, of which `of_records` and its like make records where the columns are of usual dtypes."""

    @classmethod
    def of(cls, columns: Sequence[Mapping[str, Any]], *, ignores_extra: bool = False) -> SentTable:
        """The table whose columns a contract describes."""
        return cls([SentColumn.of(column) for column in columns], ignores_extra=ignores_extra)

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
