"""Tables whose columns are of the usual dtypes, as records: those of several callers are joined as bytes.

A DataFrame for each caller, joined by pandas, takes thirty times as long, and most tables of requests have one row.

    kind   = [[name...], [column...], [kind of the labels, their name] or nil]
    column = the name of a dtype, or ["category", its name in tables.kind_of, column of its categories, ordered]
    rows   = n records, then a msgpack array with an array of n values for each column of texts or objects

| dtype | in a record |
|---|---|
| bool, int8 to uint64, float16 to float64 | the number; bool as a byte |
| datetime64[unit], timedelta64[unit] | an int64 |
| Int8 to UInt64, Float32, Float64, boolean | the number, and a byte that is 1 where it is missing |
| category | an int32 code |
| str, string, object | nothing: the values follow the records |

Numbers are little-endian, nothing lies between them, and labels come last. Names are all texts or all whole numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._wire import tables, tensors, values
from vtsserving._wire.record_kinds import (
    CODE,
    LISTED,
    MASKED,
    NAME_OF,
    NAMES,
    NUMBERS,
    RecordKind,
    array_of,
    is_plain_label,
    pack_items,
    record_dtype,
)
from vtsserving._wire.table_columns import TIMES, dtype_name, pack_column
from vtsserving._wire.tensors import NATIVE

Column = str | tuple[str, bytes]
"""A column's kind: the name of its dtype, or that of a category and what is packed of it."""

NUMBERS_HOLE: Final = 22
"""A table that is only numbered and holds numbers of one dtype: its rows travel as those of an array."""

RECORDS_HOLE: Final = 23
"""A table whose columns are of the usual dtypes: see the module."""


class RecordColumn(NamedTuple):
    """One column, or the labels, on its way out.

    Attributes:
        kind: what a head says of it.
        fields: arrays for the record, of one dimension.
        items: values that follow the records; None: there are none.
    """

    kind: Column
    fields: tuple[Any, ...]
    items: list[Any] | None = None


class Records:
    """A table that travels as records, or as the rows of an array where it holds numbers of one dtype.

    Attributes:
        names: of its columns.
        rows: how many.
        numbers: all of it as an array [rows, columns]; None: it has columns of several dtypes, or labels.
        columns: in order; none where `numbers` has them.
        labels: of its rows, and their name; None: they are only numbered.
    """

    __slots__ = ("_data", "columns", "labels", "names", "numbers", "rows")

    def __init__(
        self,
        names: tuple[Any, ...],
        rows: int,
        *,
        numbers: Any = None,
        columns: Sequence[RecordColumn] = (),
        labels: tuple[RecordColumn, Any] | None = None,
    ) -> None:
        self.names = names
        self.rows = rows
        self.numbers = numbers
        self.columns = columns
        self.labels = labels
        self._data: np.ndarray[Any, Any] | None = None

    @property
    def hole(self) -> tuple[int, bytes]:
        """Code and data of the hole of a head, which say what tables must have in common to be joined."""
        if self.numbers is not None:
            return NUMBERS_HOLE, _kind_of_numbers(self.names, self.numbers.dtype.str)
        labels = None if self.labels is None else (self.labels[0].kind, self.labels[1])
        return RECORDS_HOLE, _kind_of(self.names, tuple([column.kind for column in self.columns]), labels)

    def part(self, start: int, stop: int, where: str) -> bytes:
        """The bytes of rows [start, stop).

        Raises:
            UnsupportedValue: an object in a column cannot be sent; names `where` and the column.
        """
        if self.numbers is not None:
            return bytes(self.numbers[start:stop].tobytes())
        packed = self.columns if self.labels is None else [*self.columns, self.labels[0]]
        if self._data is None:
            fields = [field for one in packed for field in one.fields]
            self._data = np.empty(self.rows, record_dtype(tuple([field.dtype for field in fields])))
            for name, field in zip(self._data.dtype.names or (), fields, strict=True):
                self._data[name] = field
        data = self._data[start:stop].tobytes()
        listed = [
            pack_items(one.items[start:stop], f"{where}, column {name!r:.80}")
            for name, one in zip((*self.names, "index"), packed, strict=False)
            if one.items is not None
        ]
        return data + array_of(listed, where) if listed else data

    def frame(self) -> Any:
        """The DataFrame that a receiver makes of it."""
        code, kind = self.hole
        if code == NUMBERS_HOLE:
            return tables.of_numbers(self.numbers, self.names)
        known = RecordKind(values.decode_value(kind))
        return known.frame([self.part(0, self.rows, "a table")], [self.rows], None)


def records_of(table: Any) -> Records | None:
    """A DataFrame as records; None: some of it is of another dtype, or its names are neither texts nor numbers."""
    names = None if tables.is_series(table) else _names_of(table.columns)
    if names is None:
        return None
    if not tables.has_default_index(table):
        return of_arrays(names, (series for _, series in table.items()), table.index)
    numbers = tables.numbers_of_one_dtype(table) if type(names[0]) is str else None
    if numbers is not None and numbers.dtype.str in NATIVE:
        return of_numbers(names, numbers)
    return of_arrays(names, (series for _, series in table.items()))


def of_arrays(names: Sequence[Any], arrays: Iterable[Any], index: Any = None) -> Records | None:
    """Records of a table that nobody makes: its columns as arrays of numpy or pandas, and its Index.

    Args:
        names: of the columns, all texts or all whole numbers.
        arrays: one per column, all of one length.
        index: labels of the rows; None: they are only numbered.

    Returns:
        None: some of it is of another dtype.
    """
    labels = None if index is None else _pack_labels(index)
    if (labels is None) is not (index is None) or set(map(type, names)) not in NAMES:
        return None
    columns, rows = [], 0
    for array in arrays:
        column = pack(array)
        if column is None:
            return None
        columns.append(column)
        rows = len(array)
    kinds = {column.kind for column in columns}
    if labels is None and type(names[0]) is str and len(kinds) == 1 and kinds <= NUMBERS.keys():
        return of_numbers(names, np.stack([column.fields[0] for column in columns], axis=1))
    own = None if labels is None else (labels, index.name)
    return Records(tuple(names), rows, columns=columns, labels=own)


def of_numbers(names: Sequence[Any], numbers: Any) -> Records:
    """Records of an array [rows, columns] of a dtype that tensors have on the wire."""
    return Records(tuple(names), len(numbers), numbers=numbers)


def _names_of(index: Any) -> tuple[Any, ...] | None:
    """Names as a head has them; None: they are of another kind than a list of texts or numbers would be."""
    kind = type(index).__name__
    if index.name is not None or not len(index) or kind not in ("Index", "RangeIndex"):
        return None
    names = tuple(index.tolist())
    types = set(map(type, names))
    if kind == "Index" and (types not in NAMES or index.dtype != tables.dtype_of_names(types.copy().pop())):
        return None
    return names


def _pack_labels(index: Any) -> RecordColumn | None:
    has_more = hasattr(index, "levels") or getattr(index, "freqstr", None) is not None
    return None if has_more or not is_plain_label(index.name) else pack(index)


def pack(array: Any) -> RecordColumn | None:
    """A column, or labels, for records.

    Args:
        array: a Series, an Index, or an array of numpy or pandas.

    Returns:
        None: it has another dtype.
    """
    dtype = array.dtype
    if isinstance(dtype, np.dtype):
        name = NAME_OF.get(dtype.str)
        if name is not None:
            return RecordColumn(name, (np.asarray(array),))
        if dtype.kind in "mM" and dtype.isnative and TIMES.fullmatch(dtype.name):
            return RecordColumn(dtype.name, (np.asarray(array).view(np.int64),))
        return RecordColumn("object", (), array.tolist()) if dtype.kind == "O" else None
    pack_own = _OWN.get(type(dtype).__name__)
    return None if pack_own is None else pack_own(getattr(array, "array", array))


def _pack_strings(array: Any) -> RecordColumn | None:
    name = str(array.dtype)
    if name not in LISTED:
        return None
    # A numpy.str_ among them is a text; its own __str__ would drop NULs at its end.
    return RecordColumn(
        name, (), [str.__str__(item) if isinstance(item, str) else None for item in array.tolist()]
    )


def _pack_masked(array: Any) -> RecordColumn:
    dtype = array.dtype
    data = array.to_numpy(dtype=dtype.numpy_dtype, na_value=0)
    return RecordColumn(str(dtype), (data, np.asarray(array.isna(), bool)))


def _pack_category(array: Any) -> RecordColumn:
    return RecordColumn(_categories_of(_ByIdentity(array.dtype)), (np.asarray(array.codes, CODE),))


class _ByIdentity:
    """A dtype as the key of a cache that keeps it: to compare its categories would take as long as to describe them."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype

    def __hash__(self) -> int:
        return id(self.dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.dtype is self.dtype


@lru_cache(maxsize=256)
def _categories_of(key: _ByIdentity) -> Column:
    dtype = key.dtype
    categories = pack_column(dtype.categories, "categories")
    return dtype_name(dtype), values.encode_value([categories, bool(dtype.ordered)], "categories")


_OWN: Final[dict[str, Callable[[Any], RecordColumn | None]]] = {
    "StringDtype": _pack_strings,
    "CategoricalDtype": _pack_category,
    **{f"{name if name != 'boolean' else 'Boolean'}Dtype": _pack_masked for name in MASKED},
}


@lru_cache(maxsize=512)
def _kind_of(names: tuple[Any, ...], columns: tuple[Column, ...], labels: tuple[Column, Any] | None) -> bytes:
    own = None if labels is None else [_described(labels[0]), labels[1]]
    return values.encode_value([list(names), [_described(column) for column in columns], own])


def _described(column: Column) -> Any:
    if isinstance(column, str):
        return column
    name, described = column
    return ["category", name, *values.decode_value(described)]


@lru_cache(maxsize=512)
def _kind_of_numbers(names: tuple[str, ...], dtype: str) -> bytes:
    spec, _ = tensors.to_wire(np.empty((0, len(names)), dtype))
    return spec.pack() + values.encode_value(list(names))
