"""Values of pandas beside tables: an Index, an array, and single ones such as Timestamp, NaT and NA.

    pandas value = [class, content]

| class | content |
|---|---|
| index | [index, its name], as in tables |
| array | a column, as in tables |
| scalar | a column of one value |
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from vtsserving._wire import tables
from vtsserving._wire.table_columns import dtype_name, pack_column, unpack_column
from vtsserving.exceptions import BadFrame, MissingDependency

PANDAS: Final = 15

_SCALARS: Final = ("Timestamp", "Timedelta", "Period", "Interval")


def is_list(value: Any) -> bool:
    """Whether `value` is an Index or an array of pandas; never imports pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, (pandas.Index, pandas.api.extensions.ExtensionArray))


def is_scalar(value: Any) -> bool:
    """Whether `value` is a single value of pandas; never imports pandas."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return False
    is_missing = value is pandas.NaT or value is pandas.NA
    return is_missing or isinstance(value, tuple(getattr(pandas, name) for name in _SCALARS))


def kind_of(value: Any) -> list[Any]:
    """The part that lists of pandas must have in common to be rows of one."""
    is_index = isinstance(value, sys.modules["pandas"].Index)
    if is_index and hasattr(value, "levels"):
        return ["index", "multi", [dtype_name(level.dtype) for level in value.levels], list(value.names)]
    return ["index" if is_index else "array", dtype_name(value.dtype), value.name if is_index else None]


def concatenated(parts: list[Any]) -> Any:
    """One list of several of equal kind.

    Raises:
        TypeError: they are not.
    """
    kinds = [kind_of(part) for part in parts]
    if any(kind != kinds[0] for kind in kinds):
        raise TypeError("they are of different types")
    if kinds[0][0] == "index":
        labels = parts[0].append(parts[1:])
        is_same = hasattr(labels, "levels") or labels.dtype == parts[0].dtype
        return labels if is_same else labels.astype(parts[0].dtype)
    import pandas as pd

    return pd.concat([pd.Series(part) for part in parts], ignore_index=True).array


def fields_of(value: Any, where: str) -> list[Any]:
    """The fields that travel; see the module.

    Args:
        value: one for which `is_list` or `is_scalar` holds.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: a dtype that cannot be sent.
    """
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.Index):
        return ["index", tables.pack_index(value, where)]
    if not is_scalar(value):
        return ["array", pack_column(value, where)]
    if value is pandas.NA:
        return ["scalar", pack_column(pandas.array([None], dtype="boolean"), where)]
    return ["scalar", pack_column(pandas.Series([value]), where)]


def decode(fields: list[Any]) -> Any:
    """The value of what travelled; its memory is its own.

    Raises:
        BadFrame: it is none.
        MissingDependency: pandas is not installed here.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependency(
            "a value of pandas was received, but pandas is missing: pip install pandas"
        ) from error
    read: dict[Any, Callable[[Any], Any]] = {
        "index": tables.unpack_index,
        "array": lambda column: pd.array(unpack_column(column), copy=False),
        "scalar": lambda column: pd.Series(unpack_column(column, 1)).iloc[0],
    }
    try:
        kind, content = fields
        return read[kind](content)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise BadFrame(f"unreadable value of pandas: {type(error).__name__}") from error
