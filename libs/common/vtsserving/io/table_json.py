"""DataFrames and Series as JSON in the orients of pandas, with every digit: pandas' own writer cuts floats short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vtsserving._codecs import json_forms
from vtsserving._codecs.columns import Column
from vtsserving._codecs.json_write import to_json
from vtsserving._codecs.table import Table
from vtsserving.exceptions import BadInput, BadModelOutput, Ragged

WHERE: Final = "the table"
"""Its name in errors."""


def frame_to_json(frame: Any, orient: str) -> bytes:
    """A DataFrame as JSON.

    Args:
        frame: a DataFrame.
        orient: records, columns, index, split or values, as pandas names them.

    Returns:
        UTF-8; labels are text where they are keys; times are ISO 8601; what is missing or not finite is null.

    Raises:
        BadModelOutput: a cell has no JSON form.
    """
    columns = [str(label) for label in frame.columns]
    rows = json_forms.rows(frame)
    if orient == "values":
        return to_json(rows)
    if orient == "split":
        labels = {"columns": frame.columns.tolist(), "index": frame.index.tolist()}
        return to_json({**labels, "data": rows})
    if len(set(columns)) < len(columns):
        raise BadModelOutput(
            f"two columns of the table have the same name, which the orient {orient!r} cannot hold"
        )
    if orient == "records":
        return to_json([dict(zip(columns, row, strict=True)) for row in rows])
    index = [str(label) for label in frame.index]
    if orient == "index":
        records = (dict(zip(columns, row, strict=True)) for row in rows)
        return to_json(dict(zip(index, records, strict=True)))
    by_column = [json_forms.value_items(frame.iloc[:, number]) for number in range(len(columns))]
    return to_json(
        {name: dict(zip(index, values, strict=True)) for name, values in zip(columns, by_column, strict=True)}
    )


def series_to_json(series: Any, orient: str) -> bytes:
    """A Series as JSON; orient records, index or split. Otherwise as frame_to_json."""
    values = json_forms.value_items(series)
    if orient == "records":
        return to_json(values)
    if orient == "split":
        return to_json({"name": series.name, "index": series.index.tolist(), "data": values})
    return to_json({str(label): value for label, value in zip(series.index, values, strict=True)})


def frame_from_json(value: Any, orient: str, table: Table) -> Any:
    """A DataFrame of a parsed body.

    Args:
        value: plain values.
        orient: as for frame_to_json. Where rows or columns are objects, lists are read, too.
        table: the columns that are wanted, with their dtypes.

    Raises:
        BadInput: the value has another form. BadShape, WrongType, OutOfRange, Ragged, TooLarge: as `Table` says.
    """
    if orient == "split":
        parts = _split_parts(value, "table", ("columns", "data"))
        _check_each(enumerate(parts["data"]), (list,), "row")
        return table.of_split(parts["columns"], parts["data"], WHERE, parts.get("index"))
    if orient in ("records", "values"):
        if not isinstance(value, list):
            raise BadInput(f"the body is no table in the orient {orient!r}; send a list of rows")
        _check_each(enumerate(value), (list,) if orient == "values" else (dict, list), "row")
        is_named = bool(value) and isinstance(value[0], dict)
        return table.of_records(value, WHERE) if is_named else table.of_rows(value, WHERE)
    if not isinstance(value, Mapping):
        raise BadInput(f"the body is no table in the orient {orient!r}; send an object")
    _check_each(value.items(), (dict, list), "row" if orient == "index" else "column")
    return _of_rows(value, table) if orient == "index" else _of_columns(value, table)


def _of_rows(value: Mapping[str, Any], table: Table) -> Any:
    rows = list(value.values())
    is_named = bool(rows) and isinstance(rows[0], dict)
    frame = table.of_records(rows, WHERE) if is_named else table.of_rows(rows, WHERE)
    frame.index = list(value)
    return frame


def _of_columns(value: Mapping[str, Any], table: Table) -> Any:
    first: Any = next(iter(value.values()), [])
    if isinstance(first, list):
        _check_each(value.items(), (list,), "column")
        return table.of_named(value, WHERE)
    _check_each(value.items(), (dict,), "column")
    labels = list(first)
    if any(items.keys() != first.keys() for items in value.values()):
        raise Ragged("the columns of the table have different labels of rows")
    columns = {name: [items[label] for label in labels] for name, items in value.items()}
    return table.of_named(columns, WHERE, labels)


def series_from_json(pd: Any, value: Any, orient: str, column: Column) -> Any:
    """A Series of a parsed body.

    Args:
        pd: the module pandas.
        value: plain values.
        orient: as for series_to_json.
        column: the dtype that is wanted.

    Raises:
        BadInput: the value has another form, or does not fit the dtype. ValueError, TypeError: its labels are none.
    """
    if orient == "split":
        parts = _split_parts(value, "Series", ("data",))
        items, index, name = parts["data"], parts.get("index"), parts.get("name")
    elif orient == "records" and isinstance(value, list):
        items, index, name = value, None, None
    elif orient == "index" and isinstance(value, Mapping):
        items, index, name = list(value.values()), list(value), None
    else:
        wanted = "a list of values" if orient == "records" else "an object of values"
        raise BadInput(f"the body is no Series in the orient {orient!r}; send {wanted}")
    found = column.of_items(items, "the Series")
    return pd.Series(found, index=index, name=name, dtype=found.dtype)


def frame_schema(orient: str, columns: list[str] | None) -> dict[str, Any]:
    """The JSON schema of what frame_from_json reads and frame_to_json writes.

    Args:
        orient: as of these.
        columns: names that there must be; None: any.
    """
    if orient == "split":
        lists = {name: {"type": "array"} for name in ("columns", "index", "data")}
        return {"type": "object", "properties": lists, "required": ["columns", "data"]}
    several: dict[str, Any] = {"type": ["object", "array"]}
    if orient == "values":
        return {"type": "array", "items": {"type": "array"}}
    if orient == "records":
        if columns is not None:
            several |= {"properties": {name: {} for name in columns}, "required": columns}
        return {"type": "array", "items": several}
    return {"type": "object", "additionalProperties": several}


def series_schema(orient: str) -> dict[str, Any]:
    """The JSON schema of what series_from_json reads and series_to_json writes."""
    if orient == "split":
        parts = {"name": {}, "index": {"type": "array"}, "data": {"type": "array"}}
        return {"type": "object", "properties": parts, "required": ["data"]}
    return {"type": "array", "items": {}} if orient == "records" else {"type": "object"}


def _split_parts(value: Any, what: str, needed: tuple[str, ...]) -> Mapping[str, Any]:
    is_whole = isinstance(value, Mapping) and all(isinstance(value.get(name), list) for name in needed)
    if not is_whole or not isinstance(value.get("index", []), list):
        lists = " and ".join(f"{name!r}" for name in needed)
        raise BadInput(f"the body is no {what} in the orient 'split'; send an object with the lists {lists}")
    parts: Mapping[str, Any] = value
    return parts


def _check_each(items: Any, kinds: tuple[type, ...], what: str) -> None:
    for label, item in items:
        if not isinstance(item, kinds):
            wanted = " or ".join("an object" if kind is dict else "a list" for kind in kinds)
            raise BadInput(f"{what} {str(label)[:80]!a} is {type(item).__name__}; expected {wanted}")
