"""A Series as it is recorded: every form of a table of one column becomes it, and so does a plain list of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vtsserving._codecs.columns import pandas_module
from vtsserving._codecs.csv_text import TextTable
from vtsserving._codecs.table import Record, Table
from vtsserving._wire import tables
from vtsserving.exceptions import BadShape


class SeriesRecord(Table):
    """The record of one Series: a table whose only column is handed on alone.

    Its column has the name of the Series, or the empty name; a single column of another name is taken, too.
    """

    __slots__ = ()

    def of_records(self, records: Sequence[Record], where: str) -> Any:
        """See Table."""
        if all(isinstance(record, Mapping) and len(record) == 1 for record in records):
            return self.of_rows([next(iter(record.values())) for record in records], where)
        return self._alone(super().of_records(records, where))

    def of_rows(self, rows: Sequence[Any], where: str) -> Any:
        """The Series of values, or of lists of one value each; raises as `of_records`."""
        items = [row[0] if isinstance(row, list | tuple) and len(row) == 1 else row for row in rows]
        pd = pandas_module()
        values = self.columns[0].of_items(items, where)
        return pd.Series(values, name=self._name, dtype=getattr(values, "dtype", None))

    def of_named(self, columns: Mapping[Any, Any], where: str, index: Any = None) -> Any:
        """See Table."""
        return self._alone(super().of_named(self._renamed(columns), where, index))

    def of_split(self, names: Sequence[Any], rows: Sequence[Any], where: str, index: Any = None) -> Any:
        """See Table."""
        return self._alone(super().of_split(self.names if len(names) == 1 else names, rows, where, index))

    def of_texts(self, table: TextTable, where: str) -> Any:
        """See Table."""
        only = len(table.names) == 1
        found = TextTable([str(self.names[0])], table.columns) if only else table
        return self._alone(super().of_texts(found, where))

    def of_array(self, array: np.ndarray[Any, Any], where: str) -> Any:
        """The Series of an array [rows] or [rows, 1]; raises as `of_records`."""
        if array.ndim > 2 or (array.ndim == 2 and array.shape[1] != 1) or not array.ndim:
            raise BadShape(
                f"{where}: expected one value for each row, got an array of shape {list(array.shape)}"
            )
        return self._alone(super().of_array(array.reshape(-1, 1), where))

    def of_frame(self, frame: Any, where: str) -> Any:
        """See Table; a Series keeps its own name and index."""
        if tables.is_series(frame):
            return self.columns[0].of_series(frame, where)
        if frame.shape[1] == 1:
            frame = frame.set_axis(self.names, axis=1)
        return self._alone(super().of_frame(frame, where))

    @property
    def _name(self) -> Any:
        return None if self.names[0] == "" else self.names[0]

    def _alone(self, frame: Any) -> Any:
        return frame.iloc[:, 0].rename(self._name)

    def _renamed(self, columns: Mapping[Any, Any]) -> Mapping[Any, Any]:
        return {self.names[0]: next(iter(columns.values()))} if len(columns) == 1 else columns
