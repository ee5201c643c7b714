"""pandas DataFrames and Series as values: one column each, of a tensor or a list, and an index.

    DataFrame  [[name...], [column...], index, index name]
    Series     [name, column, index, index name]
    column     [kind, values]
    index      a column, or ["range", [start, stop, step]]

Kinds: "tensor" (numbers and bool, as their numpy dtype), "list" (object), "str" and "string" (pandas' two dtypes of
that name; a missing item is nil), "datetime64[unit]" and "timedelta64[unit]" over an int64 tensor.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Final

import numpy as np

from vtsserving._wire.limits import MAX_ROWS
from vtsserving.exceptions import BadFrame, MissingDependency, UnsupportedValue

_TIMES: Final = re.compile(r"(datetime64|timedelta64)\[(s|ms|us|ns)\]")
_STRINGS: Final = ("str", "string")


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
    """What travels; see the module.

    Args:
        table: a DataFrame or Series.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: a dtype or index that cannot be sent; names the column.
    """
    index = [_index(table.index, where), table.index.name]
    if is_series(table):
        return [table.name, _column(table, where), *index]
    columns = [_column(table.iloc[:, i], f"{where}, column {name!r}") for i, name in enumerate(table.columns)]
    return [list(table.columns), columns, *index]


def kind_of(table: Any) -> list[Any]:
    """What tables must have in common to be rows of one: class, names, dtypes."""
    if is_series(table):
        return ["Series", table.name, str(table.dtype)]
    return ["DataFrame", list(table.columns), [str(dtype) for dtype in table.dtypes]]


def _column(values: Any, where: str) -> list[Any]:
    """The column of a Series or an Index."""
    dtype = values.dtype
    if not isinstance(dtype, np.dtype):
        if str(dtype) in _STRINGS:
            return [str(dtype), [item if isinstance(item, str) else None for item in values.tolist()]]
        raise UnsupportedValue(
            f"{where} has the pandas dtype {dtype}, which cannot be sent; convert it with .astype"
        )
    if dtype.kind in "mM":
        return [dtype.name, values.to_numpy().view(np.int64)]
    if dtype.kind == "O":
        return ["list", values.tolist()]
    return ["tensor", values.to_numpy()]


def _index(index: Any, where: str) -> list[Any]:
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.RangeIndex):
        return ["range", [index.start, index.stop, index.step]]
    if isinstance(index, pandas.MultiIndex):
        raise UnsupportedValue(f"{where} has a MultiIndex, which cannot be sent; use .reset_index()")
    return _column(index, f"{where}, index")


def decode(fields: list[Any], *, series: bool) -> Any:
    """The DataFrame or Series of what travelled; its memory is its own.

    Args:
        fields: see the module.
        series: which of the two.

    Raises:
        BadFrame: it is none.
        MissingDependency: pandas is not installed here.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependency("a table was received, but pandas is missing: pip install pandas") from error
    try:
        names, columns, index_column, index_name = fields
        index = _decode_index(index_column)
        index.name = index_name
        rows = len(index)
        if series:
            return _series(columns, index, rows, names)
        if type(names) is not list or len(names) != len(columns) or rows >= MAX_ROWS:
            raise BadFrame("a table without a name for each column, or with too many rows")
        for name in names:
            hash(name)  # TypeError: no name
        data = {i: _series(column, index, rows) for i, column in enumerate(columns)}
        frame = pd.DataFrame(data, index=index, copy=False)
        frame.columns = pd.Index(names)
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError, NotImplementedError) as error:
        raise BadFrame(f"unreadable table: {type(error).__name__}") from error
    return frame


def _decode_index(column: Any) -> Any:
    import pandas as pd

    kind, content = column
    if kind != "range":
        values = _decode_column(column, None)
        return pd.Index(values, dtype=values.dtype)
    start, stop, step = content
    if any(type(bound) is not int for bound in content):
        raise BadFrame("a range of something else than integers")
    return pd.RangeIndex(start, stop, step)


def _series(column: Any, index: Any, rows: int, name: Any = None) -> Any:
    import pandas as pd

    values = _decode_column(column, rows)
    # The dtype is said, or pandas would guess another one from the items.
    return pd.Series(values, index=index, name=name, dtype=values.dtype)


def _decode_column(column: Any, rows: int | None) -> Any:
    """A column's values as pandas takes them, `rows` of them if it is not None."""
    kind, content = column
    is_tensor = isinstance(content, np.ndarray) and content.ndim == 1
    if kind == "list" or kind in _STRINGS:
        if type(content) is not list:
            raise BadFrame("a column of something else than a list")
    elif not is_tensor or not (
        content.dtype.kind in "biuf" if kind == "tensor" else content.dtype == np.int64
    ):
        raise BadFrame("a column of something else than a tensor of numbers")
    count = len(content)
    if count >= MAX_ROWS or (rows is not None and count != rows):
        raise BadFrame(f"a column has {count} rows, its table {rows}")
    if kind == "tensor":
        return content.copy()
    if kind == "list" or kind in _STRINGS:
        return _from_list(kind, content)
    if not _TIMES.fullmatch(kind):
        raise BadFrame("a column of an unknown kind")
    return content.copy().view(np.dtype(kind))


def _from_list(kind: str, items: list[Any]) -> Any:
    import pandas as pd

    if kind == "list" or (kind == "str" and int(pd.__version__.partition(".")[0]) < 3):
        # Assigned one by one: numpy must not look into items that are lists themselves.
        array = np.empty(len(items), dtype=object)
        for i, item in enumerate(items):
            array[i] = item
        return array
    if any(item is not None and type(item) is not str for item in items):
        raise BadFrame("a column of strings with something else in it")
    return pd.array(items, dtype=kind)
