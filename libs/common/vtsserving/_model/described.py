"""Reading of what a contract says of a value: its type, dtype, shape, columns, and the axis of its rows.

Arguments and parts of results are described by the same keys. Every error names the path of the key.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vtsserving._model.signature import MAX_DIM
from vtsserving.exceptions import InvalidSignature

TYPES: Final = ("tensor", "table", "series", "texts", "bytes", "any")
COLUMN: Final = ("name", "dtype", "nullable", "categories", "categories_dtype", "ordered")
"""The keys of a column."""

_OF_A_TABLE: Final = ("columns", "extra_columns")
_OF_A_TENSOR: Final = ("dtype", "shape")
_NOT_IN_NUMPY: Final = "bfloat16"
_UNORDERED: Final = (str, bytes, Mapping, set, frozenset)
"""What can be iterated over and is not a list of values."""
_PLAIN: Final = {"U": "str", "S": "bytes", "O": "object"}
"""Kinds of dtypes whose names in numpy hold a length."""


def one_of(raw: Mapping[str, Any], key: str, known: Sequence[str], path: str) -> str:
    """A text of a few that are known; empty where it is not said.

    Raises:
        InvalidSignature: it is another value.
    """
    value = raw.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or value not in known:
        raise InvalidSignature(f"{path}.{key} is {' or '.join(map(repr, known))}, not {value!r:.60}")
    return value


def read_axis(raw: Mapping[str, Any], path: str) -> int | None:
    """The axis of rows; None where it is not said.

    Raises:
        InvalidSignature: it is not a number that could be one.
    """
    axis = raw.get("axis")
    if axis is None:
        return None
    found = whole_number(axis)
    if found is None or not 0 <= found <= MAX_DIM:
        raise InvalidSignature(f"{path}.axis is a number from 0 to {MAX_DIM}, not {axis!r:.60}")
    return found


def whole_number(value: Any) -> int | None:
    """A whole number of Python or numpy; None: it is something else."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def read_value(raw: Mapping[str, Any], path: str, *, repeats: bool = False) -> dict[str, Any]:
    """Type, dtype, shape and columns, as they are recorded; keys that are not said are left out.

    A value of which a dtype or a shape is said is a tensor.

    Args:
        raw: as its author says it, or as it is recorded.
        path: of the value, for errors.
        repeats: whether two columns may have one name, as those of an input example may.

    Raises:
        InvalidSignature: one of them is impossible, or two contradict each other.
    """
    kind = one_of(raw, "type", TYPES, path)
    if not kind and any(raw.get(key) is not None for key in _OF_A_TENSOR):
        kind = "tensor"
    found = {
        "dtype": _dtype(raw.get("dtype"), f"{path}.dtype"),
        "shape": _shape(raw.get("shape"), f"{path}.shape"),
        "columns": _columns(raw.get("columns"), f"{path}.columns", repeats),
    }
    for keys, wanted in ((_OF_A_TENSOR, ("tensor",)), (_OF_A_TABLE, ("table", "series"))):
        said = next((key for key in keys if raw.get(key) is not None), None)
        if said is not None and kind not in ("", *wanted):
            raise InvalidSignature(
                f"{path}.{said} is said of a {wanted[0]}, but {path} is of the type {kind!r}"
            )
    if kind == "series" and len(found["columns"] or ()) != 1:
        raise InvalidSignature(
            f"{path} is a series, which needs `columns` with its only one; its name may be empty"
        )
    return {key: value for key, value in {"type": kind, **found}.items() if value not in (None, "")}


def check_rows(value: Mapping[str, Any], axis: int, path: str, axis_path: str) -> None:
    """Check that a described value can have rows along an axis.

    Args:
        value: as `read_value` returns it.
        axis: of the rows.
        path: of the value.
        axis_path: of the key that says the axis.

    Raises:
        InvalidSignature: it cannot.
    """
    shape, kind = value.get("shape"), value.get("type")
    if shape is not None and axis >= len(shape):
        raise InvalidSignature(f"{axis_path} is {axis}, but {path}.shape has {len(shape)} dimensions")
    if axis and (kind in ("table", "series", "texts", "bytes") or "columns" in value):
        what = {"series": "a Series", "texts": "a list of texts", "bytes": "a list of bytes"}.get(
            kind or "", "a table"
        )
        raise InvalidSignature(f"{axis_path} is {axis}, but the rows of {path}, {what}, lie along axis 0")


def _dtype(raw: Any, path: str) -> str:
    if raw is None:
        return ""
    import numpy as np  # the command line lists models without it

    if isinstance(raw, str):
        raw = raw.removeprefix("torch.")
        if raw == _NOT_IN_NUMPY:
            return _NOT_IN_NUMPY
    elif not isinstance(raw, type | np.dtype):
        raw = str(getattr(raw, "name", raw)).removeprefix("torch.")  # a dtype of torch or tensorflow
    try:
        dtype = np.dtype(raw)
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None or dtype.kind == "V" or (dtype.kind == "O" and raw not in (object, "object", "O")):
        raise InvalidSignature(f"{path} is {raw!r:.60}, which numpy does not know; say for example 'float32'")
    return _PLAIN.get(dtype.kind) or str(dtype.name)


def _shape(raw: Any, path: str) -> list[int] | None:
    if raw is None:
        return None
    text = f"{path} is a list of sizes, -1 where one varies, not {raw!r:.60}"
    if isinstance(raw, str | bytes) or not isinstance(raw, Sequence):
        raise InvalidSignature(text)
    sizes = [-1 if size is None else whole_number(size) for size in raw]
    if len(sizes) > MAX_DIM + 1:
        raise InvalidSignature(f"{path} has {len(sizes)} dimensions; at most {MAX_DIM + 1} are possible")
    found = [size for size in sizes if size is not None and size >= -1]
    if len(found) < len(sizes):
        raise InvalidSignature(text)
    return found


def _columns(raw: Any, path: str, repeats: bool) -> list[dict[str, Any]] | None:
    if raw is None:
        return None
    if isinstance(raw, _UNORDERED) or not hasattr(raw, "__iter__"):
        raise InvalidSignature(f"{path} is a list of column names, or of dicts with a name, not {raw!r:.60}")
    columns = [_column(one, f"{path}[{at}]") for at, one in enumerate(raw)]
    if not columns:
        raise InvalidSignature(f"{path} is empty; leave it out where the columns are not known")
    seen: dict[tuple[type, Any], int] = {}
    for at, column in enumerate(columns):
        name = column["name"]
        first = seen.setdefault((type(name), name), at)
        if first != at and not repeats:
            raise InvalidSignature(
                f"{path}[{at}] has the name {name!r:.60}, which {path}[{first}] has already"
            )
    return columns


def _column(raw: Any, path: str) -> dict[str, Any]:
    """One column; what is said of its values is kept as it is given."""
    column = dict(raw) if isinstance(raw, Mapping) else {"name": raw}
    for key in column:
        if key not in COLUMN:
            raise InvalidSignature(f"{path} has the unknown key {key!r:.60}; known are {', '.join(COLUMN)}")
    name = _item(column.get("name"))
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise InvalidSignature(f"{path} is a name, or a dict with at least a name, not {raw!r:.60}")
    found: dict[str, Any] = {"name": name}
    if column.get("dtype") is not None:
        found["dtype"] = _column_dtype(column["dtype"], f"{path}.dtype")
    for key in ("nullable", "ordered"):
        if column.get(key) is not None:
            said = _item(column[key])
            if not isinstance(said, bool):
                raise InvalidSignature(f"{path}.{key} is True or False, not {said!r:.60}")
            found[key] = said
    if column.get("categories") is not None:
        found["categories"] = _categories(column["categories"], f"{path}.categories")
    if column.get("categories_dtype") is not None:
        if "categories" not in found:
            raise InvalidSignature(f"{path}.categories_dtype needs `categories`: it says what they are")
        found["categories_dtype"] = _column_dtype(column["categories_dtype"], f"{path}.categories_dtype")
    return found


def _column_dtype(raw: Any, path: str) -> str:
    """Columns have the dtypes of pandas, which are more than those of numpy."""
    if isinstance(raw, type):
        return _dtype(raw, path)
    is_dtype = isinstance(raw, str) or hasattr(raw, "kind")
    if not is_dtype or not str(raw):
        raise InvalidSignature(f"{path} is a dtype like 'float64' or 'category', not {raw!r:.60}")
    return str(raw)


def _categories(raw: Any, path: str) -> list[Any]:
    if isinstance(raw, _UNORDERED) or not hasattr(raw, "__iter__"):
        raise InvalidSignature(f"{path} is a list of values, not {raw!r:.60}")
    found = [_item(value) for value in raw]
    seen: set[tuple[type, Any]] = set()
    for at, value in enumerate(found):
        is_number = isinstance(value, int | float) and math.isfinite(value)
        if not is_number and not isinstance(value, str):
            raise InvalidSignature(f"{path}[{at}] is a text, a number or a bool, not {value!r:.60}")
        if (type(value), value) in seen:
            raise InvalidSignature(f"{path}[{at}] is {value!r:.60}, which is there twice")
        seen.add((type(value), value))
    return found


def _item(value: Any) -> Any:
    """A numpy scalar as Python's own."""
    return (
        value.item()
        if type(value).__module__ == "numpy" and hasattr(value, "item") and not value.shape
        else value
    )
