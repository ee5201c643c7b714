"""pandas DataFrames and Series as values: one column each, and an index; see table_columns for columns.

DataFrame  [[name...], [column...], index, index name]; and [index of the names, their name] unless they are plain
Series     [name, column, index, index name]
index      a column, ["range", [start, stop, step]], ["multi", [[column...], [name...]]], or
           ["dated", [column, frequency]]
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from vtsserving._wire.limits import MAX_ROWS
from vtsserving._wire.table_columns import dtype_name, pack_column, unpack_column
from vtsserving.exceptions import BadFrame, MissingDependency, UnsupportedValue

MAX_LEVELS: Final = 32
"""Most levels of an index."""


def pandas_for(what: str) -> Any:
    """The module pandas, for what was received.

    Args:
        what: was received, such as "a table".

    Raises:
        MissingDependency: it is not installed here.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingDependency(f"{what} was received, but pandas is missing: pip install pandas") from error
    return pandas


def is_table(value: Any) -> bool:
    """Whether `value` is a DataFrame or a Series; never imports pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, (pandas.DataFrame, pandas.Series))


def is_series(table: Any) -> bool:
    """Whether a table is a Series."""
    return not hasattr(table, "columns")


def has_default_index(table: Any) -> bool:
    """Whether a table is numbered 0, 1, 2... as pandas does when nobody says otherwise."""
    index = table.index
    return (
        type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1 and index.name is None
    )


def fields_of(table: Any, where: str) -> list[Any]:
    """The fields that travel; see the module.

    Args:
        table: a DataFrame or Series.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: a dtype or index that cannot be sent; names the column.
    """
    index = [_index(table.index, where), _name(table.index)]
    if is_series(table):
        return [table.name, pack_column(table, where), *index]
    names = table.columns
    numbers = numbers_of_one_dtype(table)
    if numbers is None:
        columns = [pack_column(column, f"{where}, column {name!r}") for name, column in table.items()]
    else:
        columns = [["tensor", column] for column in numbers.T]
    own = [] if has_plain_names(table) else [[_index(names, f"{where}, names of columns"), _name(names)]]
    return [[] if own else list(names), columns, *index, *own]


def numbers_of_one_dtype(table: Any) -> Any:
    """The array [rows, columns] of a DataFrame of nothing but numbers of one dtype; None: it is another one."""
    dtypes = set(table.dtypes)
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    return table.to_numpy() if isinstance(dtype, np.dtype) and dtype.kind in "biuf" else None


def of_numbers(numbers: Any, names: Sequence[str]) -> Any:
    """The DataFrame of such an array; it shares its memory if that may be written to.

    Raises:
        MissingDependency: pandas is not installed here.
    """
    pd = pandas_for("a table")
    own = numbers if numbers.flags.writeable else numbers.copy()
    return pd.DataFrame(own, columns=names, copy=False)


@cache
def dtype_of_names(kind: type) -> Any:
    """The dtype that pandas gives a list of names that are texts, or whole numbers.

    Args:
        kind: str or int. Texts are objects, or have a dtype of their own since pandas 3.
    """
    return sys.modules["pandas"].Index([kind()]).dtype


def kind_of(table: Any) -> list[Any]:
    """The part that tables must have in common to be rows of one: class, names, dtypes, and those of their labels."""
    if is_series(table):
        kind = ["Series", table.name, dtype_name(table.dtype)]
        return kind if has_default_index(table) else [*kind, _kind_of_index(table.index), None]
    kind = ["DataFrame", list(table.columns), [dtype_name(dtype) for dtype in table.dtypes]]
    index = None if has_default_index(table) else _kind_of_index(table.index)
    names = None if has_plain_names(table) else _kind_of_index(table.columns)
    return kind if index is None and names is None else [*kind, index, names]


def has_plain_names(table: Any) -> bool:
    """Whether the names of columns are what pandas makes of a list of them."""
    names = table.columns
    if type(names).__name__ == "RangeIndex":
        return names.name is None
    return bool(type(names).__name__ == "Index" and names.name is None and _is_inferred(names))


def _is_inferred(names: Any) -> bool:
    found = sys.modules["pandas"].Index(list(names))
    return bool(names.dtype == found.dtype and not hasattr(found, "levels"))


def joined_index(parts: Sequence[Any]) -> Any:
    """The labels of several tables of one kind, one after the other, of the dtype that they have."""
    labels = parts[0].index.append([part.index for part in parts[1:]])
    # pandas makes texts of objects that are texts.
    is_same = hasattr(labels, "levels") or labels.dtype == parts[0].index.dtype
    return labels if is_same else labels.astype(parts[0].index.dtype)


def _kind_of_index(index: Any) -> list[Any]:
    if hasattr(index, "levels"):
        dtypes = [dtype_name(level.dtype) for level in index.levels]
        return ["multi", dtypes, list(index.names)]
    return [dtype_name(index.dtype), index.name]


def _name(index: Any) -> Any:
    return None if hasattr(index, "levels") else index.name


def _index(index: Any, where: str) -> list[Any]:
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.RangeIndex):
        return ["range", [index.start, index.stop, index.step]]
    if isinstance(index, pandas.MultiIndex):
        levels = [index.get_level_values(i) for i in range(index.nlevels)]
        if len(levels) > MAX_LEVELS:
            raise UnsupportedValue(f"{where} has an index of more than {MAX_LEVELS} levels")
        return ["multi", [[pack_column(level, f"{where}, index") for level in levels], list(index.names)]]
    column = pack_column(index, f"{where}, index")
    frequency = getattr(index, "freqstr", None) if column[0] != "period" else None
    return column if frequency is None else ["dated", [column, frequency]]


def pack_index(index: Any, where: str) -> list[Any]:
    """An Index as a value: [index, its name]."""
    return [_index(index, where), _name(index)]


def unpack_index(fields: Any) -> Any:
    """The Index of `pack_index`; raises as `decode`."""
    column, name = fields
    index = _decode_index(column)
    if not hasattr(index, "levels"):
        index.name = name
    if len(index) >= MAX_ROWS:
        raise BadFrame("an index of too many rows")
    return index


def decode(fields: list[Any], *, series: bool) -> Any:
    """The DataFrame or Series of what travelled; its memory is its own.

    Args:
        fields: see the module.
        series: which of the two.

    Raises:
        BadFrame: it is none.
        MissingDependency: pandas, or a library that a column needs, is not installed here.
    """
    pd = pandas_for("a table")
    try:
        names, columns, index_column, index_name, *own = fields
        index = unpack_index([index_column, index_name])
        rows = len(index)
        if series and not own:
            return _series(columns, index, rows, names)
        if series or len(own) > 1 or type(names) is not list:
            raise BadFrame("a table of another number of parts")
        for name in names:
            hash(name)  # TypeError: no name
        headings = unpack_index(own[0]) if own else pd.Index(names)
        if len(headings) != len(columns):
            raise BadFrame("a table without a name for each column")
        data = {i: _values(column, index, rows) for i, column in enumerate(columns)}
        frame = pd.DataFrame(data, index=index, copy=False)
        frame.columns = headings
    except (
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        AttributeError,
        RuntimeError,
    ) as error:
        raise BadFrame(f"unreadable table: {type(error).__name__}") from error
    return frame


def _decode_index(column: Any) -> Any:
    import pandas as pd

    kind, content = column
    if kind == "multi":
        levels, names = content
        if len(levels) > MAX_LEVELS:
            raise BadFrame("an index of too many levels")
        arrays = [_decode_index(level) for level in levels]
        return pd.MultiIndex.from_arrays(arrays, names=names)
    if kind == "dated":
        inner, frequency = content
        index = _decode_index(inner)
        # Another release of pandas may have another name for it: the labels are right without.
        with contextlib.suppress(ValueError, AttributeError):
            index.freq = str(frequency)[:64]
        return index
    if kind != "range":
        values = unpack_column(column)
        return pd.Index(values, dtype=values.dtype, tupleize_cols=False)
    start, stop, step = content
    if any(type(bound) is not int for bound in content):
        raise BadFrame("a range of something else than integers")
    return pd.RangeIndex(start, stop, step)


def _values(column: Any, index: Any, rows: int) -> Any:
    """The values of a column as a DataFrame takes them; a Series where pandas would guess another dtype."""
    values = unpack_column(column, rows)
    if values.dtype.kind != "O":
        return values
    return sys.modules["pandas"].Series(values, index=index, dtype=values.dtype)


def _series(column: Any, index: Any, rows: int, name: Any = None) -> Any:
    import pandas as pd

    values = unpack_column(column, rows)
    # The dtype is said, or pandas would guess another one from the items.
    return pd.Series(values, index=index, name=name, dtype=values.dtype)
