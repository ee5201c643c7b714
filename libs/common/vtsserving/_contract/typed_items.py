"""Arguments that are texts or bytes: every form of one column of them is a list, and anything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from vtsserving._codecs.column_items import is_missing, wrong
from vtsserving._codecs.column_objects import from_base64
from vtsserving._codecs.columns import Column, listed, pandas_module
from vtsserving._codecs.csv_text import TextTable
from vtsserving._codecs.foreign_tables import FRAMES, as_pandas
from vtsserving._wire import arrow_data, pandas_values, tables
from vtsserving.exceptions import BadShape, WrongType

_WANTED: Final = {"texts": "a string", "bytes": "bytes, in JSON as base64 text like 'YWI=', and so in CSV"}
_ONE: Final = {"texts": "text", "bytes": "value of bytes"}


def typed_items(
    value: Any, kind: str, where: str, *, takes_others: bool = False, keeps_columns: bool = False
) -> Any:
    """An argument that is one text or several, or bytes.

    Args:
        value: one item; a list, tuple, array or Series of them; a table of one column, the texts of a CSV included.
        kind: "texts" or "bytes".
        where: how an error names the argument.
        takes_others: whether it is for a pipeline, which takes objects and lists in the place of texts: pairs, chats.
        keeps_columns: whether arrays and Series stay what they are, and a table's column is a Series.

    Returns:
        One item, or the list of them; bytes in place of their base64 text.

    Raises:
        BadShape: a table or an array of several columns; names them. Or a pipeline would get no text at all.
        WrongType: an item is something else, or is missing; names its row.
    """
    others: tuple[type, ...] = (dict, list) if takes_others else ()
    read = _text if kind == "texts" else _bytes
    column, where = _column(value, kind, where)
    if column is not None:
        items = _each(column.tolist(), read, kind, where, ())
        if keeps_columns:
            return column
    elif isinstance(value, list | tuple):
        items = _each(list(value), read, kind, where, others)
    else:
        return _one(value, read, kind, where, others)
    if takes_others and not items:
        raise BadShape(f"{where} has no rows; at least one {_ONE[kind]} is needed")
    return items


def _one(value: Any, read: Callable[[Any], Any], kind: str, where: str, others: tuple[type, ...]) -> Any:
    found = value if isinstance(value, others) else read(value)
    if found is None and isinstance(value, str):
        raise _not_base64(where, value)
    if found is None:
        raise WrongType(f"{where} is {_shown(value)}; expected {_WANTED[kind]}, or a list of them")
    return found


def listed_column(value: Any, where: str, *, is_text: bool) -> Any:
    """The list of a table of one column, for a method of which an example shows that it takes a list.

    Args:
        value: an argument.
        where: how an error names it.
        is_text: whether the list is of texts, so that those of a CSV are not read as numbers.

    Returns:
        The values of the only column, None where a text is missing; everything that is not such a table as it came.
    """
    if isinstance(value, TextTable):
        if len(value.names) != 1:
            return value
        made = Column(value.names[0], "str" if is_text else "").of_texts(value.columns[0], where)
        items = pandas_module().Series(made).tolist()
    else:
        frame = as_pandas(value) if arrow_data.class_of(value) in FRAMES else value
        if not tables.is_table(frame) or tables.is_series(frame) or frame.shape[1] != 1:
            return value
        items = frame.iloc[:, 0].tolist()
    return [None if is_text and is_missing(item) else item for item in items]


def _column(value: Any, kind: str, where: str) -> tuple[Any, str]:
    """The only column of a value that is one, or has one, and how errors name it; None: it is something else."""
    if isinstance(value, TextTable):
        names, columns = value
        if len(names) == 1:
            found = np.empty(len(columns[0]), object)
            found[:] = [text or None for text in columns[0]]
            return found, f"{where}, column {names[0]!r:.80}"
        raise _several(names, kind, where)
    if arrow_data.class_of(value):
        value = as_pandas(value)
    if isinstance(value, np.ndarray) and value.ndim:
        if value.ndim > 2 or (value.ndim == 2 and value.shape[1] != 1):
            shape = list(value.shape)
            raise BadShape(f"{where}: expected one {_ONE[kind]} for each row, got an array of shape {shape}")
        return value if value.ndim == 1 else value[:, 0], where
    if pandas_values.is_list(value) or (tables.is_table(value) and tables.is_series(value)):
        return value, where
    if not tables.is_table(value):
        return None, where
    if value.shape[1] != 1:
        raise _several(list(value.columns), kind, where)
    return value.iloc[:, 0], f"{where}, column {value.columns[0]!r:.80}"


def _several(names: list[Any], kind: str, where: str) -> BadShape:
    has = f"has the columns {listed(names)}" if names else "has no columns"
    return BadShape(f"{where} {has}; expected one column of {kind}, or a list of them")


def _each(
    items: list[Any], read: Callable[[Any], Any], kind: str, where: str, others: tuple[type, ...]
) -> list[Any]:
    found = [item if isinstance(item, others) else read(item) for item in items]
    for row, (item, one) in enumerate(zip(items, found, strict=True)):
        if one is None and isinstance(item, str):
            raise _not_base64(f"{where}, row {row}", item)
        if one is None:
            raise wrong(None if is_missing(item) else item, row, where, _WANTED[kind])
    return found


def _not_base64(place: str, text: str) -> WrongType:
    return WrongType(f"{place} is {text!r:.80}, which is not base64; expected {_WANTED['bytes']}")


def _shown(value: Any) -> str:
    return "missing" if value is None else f"of the type {type(value).__name__}"


def _text(item: Any) -> Any:
    return item if isinstance(item, str) else None


def _bytes(item: Any) -> Any:
    if isinstance(item, str):
        return from_base64(item)
    return item if isinstance(item, bytes | bytearray | memoryview) else None
