"""The forms in which JSON holds a table: records, rows, split and columns, and a call around them.

records  [{"age": 22, "sex": "male"}, ...]
rows     [[22, "male"], ...]                                         in the recorded order
split    {"columns": ["age", "sex"], "index": [...], "data": [[22, "male"], ...]}
columns  {"age": [22, ...], "sex": ["male", ...]}                    or {"age": {"0": 22, ...}, ...}
call     {"args": [...], "kwargs": {...}}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vtsserving._codecs.table import Table
from vtsserving.exceptions import BadInput, WrongType

_CALL: Final = frozenset(("args", "kwargs"))
_SPLIT: Final = frozenset(("columns", "index", "data"))
_SHOWN: Final = {
    "call": 'a call, {"args": [...], "kwargs": {...}}',
    "split": 'split, {"columns": [...], "data": [...]}',
    "columns": "columns, {NAME: [...], ...}",
}


def is_call(body: Mapping[Any, Any], table: Table) -> bool:
    """Whether an object is a call with arguments; else it is the table that is the first argument.

    Args:
        body: what JSON gave.
        table: the method's first argument.

    Raises:
        BadInput: it fits a call and a form of the table; the message names both.
    """
    if not _fits_call(body):
        return False
    other = "columns" if _fits_columns(body, table) else ""
    if other:
        raise _ambiguous("the body", "call", other)
    return True


def read_table(value: Any, table: Table, where: str) -> Any:
    """The frame that a JSON value means.

    Args:
        value: a list of objects or of lists, or an object in the form split or columns.
        table: what is recorded of it.
        where: how an error names it.

    Raises:
        BadInput: it fits two forms; the message names both.
        WrongType: it fits none. BadShape, OutOfRange, Ragged, TooLarge: as `Table` says.
    """
    if isinstance(value, list):
        if value and isinstance(value[0], Mapping):
            return table.of_records(value, where)
        return table.of_rows(value, where)
    if not isinstance(value, Mapping):
        raise WrongType(f"{where} is not a table; send records, [{{...}}], or rows, [[...]]")
    is_split, is_columns = _fits_split(value), _fits_columns(value, table)
    if is_split and is_columns:
        raise _ambiguous(where, "split", "columns")
    if is_split:
        index = value.get("index")
        is_numbered = index == list(range(len(value["data"]))) and set(map(type, index)) == {int}
        return table.of_split(value["columns"], value["data"], where, None if is_numbered else index)
    return _of_columns(value, table, where)


def _of_columns(value: Mapping[str, Any], table: Table, where: str) -> Any:
    kinds = {type(items) for items in value.values()}
    if kinds <= {list}:
        return table.of_named(value, where)
    if kinds != {dict}:
        raise WrongType(
            f"{where} is an object, but {_first_other(value)}; send records, [{{...}}], split, "
            '{"columns": [...], "data": [...]}, or columns, {NAME: [...], ...}'
        )
    first = next(iter(value.values()))
    index = list(first)
    if any(list(items) != index for items in value.values()):
        raise WrongType(f"{where}: the columns have different labels of rows")
    is_numbered = index == [str(at) for at in range(len(index))]
    return table.of_named(
        {name: list(items.values()) for name, items in value.items()}, where, None if is_numbered else index
    )


def _first_other(value: Mapping[str, Any]) -> str:
    name = next(name for name, items in value.items() if not isinstance(items, list))
    return f"{name!r:.80} is not a list"


def _fits_call(body: Mapping[Any, Any]) -> bool:
    return (
        bool(body)
        and body.keys() <= _CALL
        and isinstance(body.get("args", []), list)
        and isinstance(body.get("kwargs", {}), dict)
    )


def _fits_split(value: Mapping[Any, Any]) -> bool:
    names, rows, index = value.get("columns"), value.get("data"), value.get("index")
    return (
        isinstance(names, list)
        and isinstance(rows, list)
        and value.keys() <= _SPLIT
        and (index is None or (isinstance(index, list) and len(index) == len(rows) and _are_labels(index)))
        and _are_labels(names)
    )


def _are_labels(names: list[Any]) -> bool:
    return all(isinstance(name, str | int | float) for name in names)


def _fits_columns(value: Mapping[Any, Any], table: Table) -> bool:
    """Whether an object could be column name to values; where no names are known, any object of plain lists could."""
    kinds = {type(items) for items in value.values()}
    if kinds not in ({list}, {dict}):
        return False
    if table.columns:
        texts = {str(name) for name in table.names}
        return texts <= value.keys() and (table.ignores_extra or len(texts) == len(value))
    sizes = {len(items) for items in value.values()}
    cells = (
        item for items in value.values() for item in (items.values() if isinstance(items, dict) else items)
    )
    return len(sizes) == 1 and not any(isinstance(cell, list | dict) for cell in cells)


def _ambiguous(where: str, first: str, second: str) -> BadInput:
    return BadInput(
        f"{where} fits two forms, {_SHOWN[first]}, and {_SHOWN[second]}; send records, [{{...}}], which fit one alone"
    )
