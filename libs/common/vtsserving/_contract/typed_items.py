"""Arguments that a contract calls texts or bytes: anything else is refused before it reaches the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from vtsserving._codecs.column_items import wrong
from vtsserving._codecs.column_objects import from_base64
from vtsserving._wire import tables
from vtsserving.exceptions import WrongType

_WANTED: Final = {"texts": "a string", "bytes": "bytes, in JSON as base64 text"}


def typed_items(value: Any, kind: str, where: str) -> Any:
    """An argument that is one text or several, or bytes.

    Args:
        value: one item, a list, tuple, array or Series of them.
        kind: "texts" or "bytes".
        where: how an error names the argument.

    Returns:
        The same value; bytes in place of their base64 text.

    Raises:
        WrongType: an item is something else, or is missing; names its row.
    """
    read = _text if kind == "texts" else _bytes
    if isinstance(value, np.ndarray) and value.dtype.kind in ("U" if kind == "texts" else "S"):
        return value
    if isinstance(value, np.ndarray) or tables.is_table(value):
        if tables.is_table(value) and not tables.is_series(value):
            raise WrongType(f"{where} is a table; expected a list of {_WANTED[kind]}")
        _each(value.ravel().tolist() if isinstance(value, np.ndarray) else value.tolist(), read, kind, where)
        return value
    if isinstance(value, list | tuple):
        items = _each(list(value), read, kind, where)
        return tuple(items) if isinstance(value, tuple) else items
    found = read(value)
    if found is None:
        raise WrongType(f"{where} is {_shown(value)}; expected {_WANTED[kind]}, or a list of them")
    return found


def _each(items: list[Any], read: Callable[[Any], Any], kind: str, where: str) -> list[Any]:
    found = [read(item) for item in items]
    for row, (item, one) in enumerate(zip(items, found, strict=True)):
        if one is None:
            raise wrong(item, row, where, _WANTED[kind])
    return found


def _shown(value: Any) -> str:
    return "missing" if value is None else f"of the type {type(value).__name__}"


def _text(item: Any) -> Any:
    return item if isinstance(item, str) else None


def _bytes(item: Any) -> Any:
    if isinstance(item, str):
        return from_base64(item)
    return item if isinstance(item, bytes | bytearray | memoryview) else None
