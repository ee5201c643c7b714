"""A table as it is recorded: every form that one comes in becomes the frame that was recorded.

Columns are found by their names, in any order; rows and arrays, which have no names, by their positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np

from vtsserving._codecs.column_items import Items
from vtsserving._codecs.columns import Column, listed, pandas_module
from vtsserving._codecs.csv_text import TextTable
from vtsserving._codecs.json_records import row_of
from vtsserving._codecs.table_limits import MAX_TABLE_CELLS, MAX_TABLE_COLUMNS
from vtsserving._wire import tables
from vtsserving.exceptions import BadShape, Ragged, TooLarge, WrongType

Record = Mapping[str, Any]


class Table:
    """The record of one table.

    Attributes:
        columns: in the order in which the method gets them; empty: not known. Where two have one name, they go by
            their positions alone.
        ignores_extra: whether other columns are dropped instead of refused.
    """

    __slots__ = ("__dict__", "_by_text", "_other", "_repeated", "columns", "ignores_extra")

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        ignores_extra: bool = False,
        other: Callable[[Any], Column] = Column,
    ) -> None:
        """A table.

        Args:
            columns: in order; none: any may come.
            ignores_extra: whether other columns are dropped.
            other: name to column, where any may come.
        """
        self._other = other
        self.columns = tuple(columns)
        self.ignores_extra = ignores_extra
        self._by_text = {str(column.name): column.name for column in self.columns}
        counts = Counter(str(column.name) for column in self.columns)
        self._repeated = [name for name, count in counts.items() if count > 1]

    @classmethod
    def of(cls, columns: Sequence[Mapping[str, Any]], *, ignores_extra: bool = False) -> Table:
        """The table whose columns a contract describes."""
        return cls([Column.of(column) for column in columns], ignores_extra=ignores_extra)

    @property
    def names(self) -> list[str | int]:
        """Of the columns."""
        return [column.name for column in self.columns]

    @property
    def goes_by_position(self) -> bool:
        """Whether two of its columns have one name."""
        return bool(self._repeated)

    @property
    def wants_unsigned(self) -> bool:
        """Whether a column holds whole numbers beyond those of int64."""
        return any(column.dtype.lower() == "uint64" for column in self.columns)

    @cached_property
    def _row(self) -> Callable[[Any], tuple[Any, ...]]:
        return row_of([str(column.name) for column in self.columns])

    @cached_property
    def dtype(self) -> np.dtype[Any] | None:
        """The dtype of numpy that all columns share, of floating numbers; None: they have several or others."""
        first = self.columns[0] if self.columns else None
        is_plain = first is not None and all(
            column.is_plain_float and column.target == first.target for column in self.columns
        )
        return cast("np.dtype[Any]", first.target) if first is not None and is_plain else None

    # --- forms without dtypes ------------------------------------------------------------------------------------

    def of_records(self, records: Sequence[Record], where: str) -> Any:
        """The frame of one object per row.

        Raises:
            BadShape: a column is missing or unknown; the message names it. WrongType, OutOfRange: a value does not fit.
        """
        if not self.columns:
            return self._of_any_records(records, where)
        if self._repeated:
            raise self._by_name_alone(where)
        texts = [str(column.name) for column in self.columns]
        try:
            rows = list(map(self._row, records))
        except (KeyError, TypeError):
            rows = []
        if len(rows) < len(records) or (
            not self.ignores_extra and any(len(record) != len(texts) for record in records)
        ):
            for row, record in enumerate(records):
                if not isinstance(record, Mapping):
                    raise WrongType(f"{where}, row {row} is {type(record).__name__}; expected an object")
                self._places(list(record), f"{where}, row {row}")
        return self._of_rows(rows, where)

    def of_rows(self, rows: Sequence[Any], where: str) -> Any:
        """The frame of one list per row, in the recorded order; raises as `of_records`."""
        width = len(self.columns)
        for row, values in enumerate(rows):
            if not isinstance(values, list | tuple):
                raise WrongType(
                    f"{where}, row {row} is not a list; send rows like [[...]] or objects like [{{...}}]"
                )
            if not width:
                width = len(values)
            if len(values) != width:
                if self.columns:
                    raise BadShape(
                        f"{where}, row {row} has {len(values)} values; the columns are {listed(self.names)}"
                    )
                raise Ragged(f"{where}, row {row} has {len(values)} values, others have {width}")
        if not self.columns:
            _check_size(len(rows), width, where)
            return self._of_lists(list(range(width)), _turned(rows, width), where, None)
        return self._of_rows(rows, where)

    def of_named(self, columns: Mapping[Any, Any], where: str, index: Any = None) -> Any:
        """The frame of column name to values, one per row; raises as `of_records`."""
        if self._repeated:
            raise self._by_name_alone(where)
        _check_size(max(map(len, columns.values()), default=0), len(columns), where)
        names, values = list(columns), list(columns.values())
        self._check_lengths(names, values, where)
        return self._of_lists(names, values, where, index)

    def of_split(self, names: Sequence[Any], rows: Sequence[Any], where: str, index: Any = None) -> Any:
        """The frame of names and rows; raises as `of_records`."""
        for row, values in enumerate(rows):
            if not isinstance(values, list | tuple) or len(values) != len(names):
                raise Ragged(
                    f"{where}, row {row} does not have one value for each of the {len(names)} columns"
                )
        _check_size(len(rows), len(names), where)
        return self._of_lists(list(names), _turned(rows, len(names)), where, index)

    def of_texts(self, table: TextTable, where: str) -> Any:
        """The frame of a CSV; raises as `of_records`."""
        if not self.columns:
            columns = [self._other(name) for name in table.names]
            return self._frame(
                table.names,
                [one.of_texts(texts, where) for one, texts in zip(columns, table.columns, strict=True)],
            )
        places = self._places(table.names, where)
        return self._frame(
            self.names,
            [
                column.of_texts(table.columns[at], where)
                for column, at in zip(self.columns, places, strict=True)
            ],
        )

    def of_array(self, array: np.ndarray[Any, Any], where: str) -> Any:
        """The frame of an array [rows, columns], in the recorded order; raises as `of_records`."""
        pd = pandas_module()
        if array.ndim != 2 or (self.columns and array.shape[1] != len(self.columns)):
            wanted = f"{len(self.columns)} columns {listed(self.names)}" if self.columns else "two dimensions"
            raise BadShape(f"{where}: expected {wanted}, got an array of shape {list(array.shape)}")
        _check_size(array.shape[0], array.shape[1], where)
        if not self.columns:
            return pd.DataFrame(array)
        found = pd.DataFrame(array, columns=self.names)
        return self._cast(found.infer_objects() if array.dtype.kind == "O" else found, self.columns, where)

    # --- frames --------------------------------------------------------------------------------------------------

    def of_frame(self, frame: Any, where: str) -> Any:
        """A frame with the recorded columns, in their order and dtypes; its index is its own.

        Raises:
            BadShape: a column is missing, unknown or there twice; the message names it.
            WrongType, OutOfRange: a value does not fit the dtype of its column.
        """
        if tables.is_series(frame):
            return frame
        if not self.columns:
            return self._cast(frame, [self._other(name) for name in frame.columns], where)
        found, wanted = list(frame.columns), self.names
        if found != wanted:
            places = self._places(found, where)
            frame = frame.iloc[:, places]
            if list(frame.columns) != wanted:
                frame = frame.set_axis(wanted, axis=1)
        return self._cast(frame, self.columns, where)

    def _cast(self, frame: Any, columns: Sequence[Column], where: str) -> Any:
        changed = {}
        for at, column in enumerate(columns):
            series = frame.iloc[:, at]
            cast = column.of_series(series, where)
            if cast is not series:
                changed[at] = cast
        if not changed:
            return frame
        values = [changed[at] if at in changed else frame.iloc[:, at] for at in range(len(columns))]
        pd = pandas_module()
        made = pd.DataFrame(dict(enumerate(values)), index=frame.index)
        made.columns = frame.columns
        return made

    # --- names ---------------------------------------------------------------------------------------------------

    def _places(self, found: Sequence[Any], where: str) -> list[int]:
        """The positions of the recorded columns among those that came.

        Raises:
            BadShape: one is missing, unknown or there twice; or, where two recorded columns have one name, these are
                others or in another order.
        """
        if self._repeated:
            if list(map(str, found)) != list(map(str, self.names)):
                raise BadShape(
                    f"{where} has the columns {listed(found)}; as {listed(self._repeated)} is among its columns more "
                    f"than once, they must be {listed(self.names)} in this order"
                )
            return list(range(len(found)))
        known = self._by_text
        places: dict[Any, int] = {}
        unknown, twice = [], []
        wanted = set(self.names)
        for at, name in enumerate(found):
            own = name if name in wanted else known.get(name) if isinstance(name, str) else None
            if own is None:
                unknown.append(name)
            elif own in places:
                twice.append(name)
            else:
                places[own] = at
        missing = [name for name in self.names if name not in places]
        unknown = [] if self.ignores_extra else unknown
        if missing or unknown:
            what = [f"misses {listed(missing)}"] * bool(missing)
            what += [f"has the unknown {listed(unknown)}"] * bool(unknown)
            raise BadShape(f"{where} {' and '.join(what)}; its columns are {listed(self.names)}")
        if twice:
            raise BadShape(
                f"{where} has a column twice, {listed(twice)}; its columns are {listed(self.names)}"
            )
        return [places[name] for name in self.names]

    def _by_name_alone(self, where: str) -> BadShape:
        return BadShape(
            f"{where} names its columns, but {listed(self._repeated)} is among them more than once; send rows, "
            f"[[...]], with one value for each of {listed(self.names)} in this order"
        )

    # --- making --------------------------------------------------------------------------------------------------

    def _of_rows(self, rows: Sequence[Any], where: str) -> Any:
        """The frame of rows whose values are in the recorded order."""
        _check_size(len(rows), len(self.columns), where)
        plain = self._of_plain_rows(rows)
        if plain is not None:
            return plain
        columns = _turned(rows, len(self.columns))
        return self._frame(
            self.names,
            [self._values(column, items, where) for column, items in zip(self.columns, columns, strict=True)],
        )

    def _of_plain_rows(self, rows: Sequence[Any]) -> Any:
        """The usual table, numbers alone, in one step; None: it needs a closer look."""
        target = self.dtype
        if target is None or target.itemsize < 8 or not rows:
            return None
        kinds: set[type] = set()
        for row in rows:
            kinds.update(map(type, row))
        if not kinds <= {int, float, type(None)}:
            return None
        return self._of_numbers(np.array(rows, target))

    def _values(self, column: Column, items: Items, where: str) -> Any:
        """The values of one column, as `_frame` takes them."""
        return column.of_items(items, where)

    def _of_numbers(self, numbers: np.ndarray[Any, Any]) -> Any:
        return pandas_module().DataFrame(numbers, columns=self.names, copy=False)

    def _of_lists(self, names: list[Any], columns: Sequence[Any], where: str, index: Any) -> Any:
        if not self.columns:
            own = [self._other(name) for name in names]
            found = [one.of_items(list(items), where) for one, items in zip(own, columns, strict=True)]
            return self._frame(names, found, index)
        places = self._places(names, where)
        made = [
            self._values(column, columns[at], where) for column, at in zip(self.columns, places, strict=True)
        ]
        return self._frame(self.names, made, index)

    def _of_any_records(self, records: Sequence[Record], where: str) -> Any:
        names: dict[str, None] = {}
        for row, record in enumerate(records):
            if not isinstance(record, Mapping):
                raise WrongType(f"{where}, row {row} is not an object, where others are")
            names.update(dict.fromkeys(record))
            _check_size(row, len(names), where)
        _check_size(len(records), len(names), where)
        columns = [[record.get(name) for record in records] for name in names]
        return self._of_lists(list(names), columns, where, None)

    def _frame(self, names: Sequence[Any], values: Sequence[Any], index: Any = None) -> Any:
        pd = pandas_module()
        if index is None:
            made = pd.DataFrame(dict(enumerate(values)))
        else:
            index = pd.Index(index)
            made = pd.DataFrame(
                {at: pd.Series(one, index=index, dtype=one.dtype) for at, one in enumerate(values)},
                index=index,
            )
        made.columns = pd.Index(list(names))
        return made

    def _check_lengths(self, names: Sequence[Any], values: Sequence[Any], where: str) -> None:
        lengths = {len(one) for one in values}
        if len(lengths) > 1:
            shown = ", ".join(
                f"{name!r:.40} {len(one)}" for name, one in list(zip(names, values, strict=True))[:5]
            )
            raise Ragged(f"{where}: the columns have different numbers of rows: {shown}")


def _turned(rows: Sequence[Any], width: int) -> list[Any]:
    """The columns of rows."""
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _check_size(rows: int, columns: int, where: str) -> None:
    if columns > MAX_TABLE_COLUMNS:
        raise TooLarge(f"{where} has more than {MAX_TABLE_COLUMNS:,} columns")
    if rows * columns > MAX_TABLE_CELLS:
        raise TooLarge(f"{where} has more than {MAX_TABLE_CELLS:,} cells, rows times columns")
