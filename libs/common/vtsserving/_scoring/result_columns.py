"""The result of a call as named columns, one value for each row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from vtsserving._model.result_form import ResultForm
from vtsserving._wire import tables, tensors
from vtsserving._wire.leaves import dimensions
from vtsserving.exceptions import BadModelOutput

MAX_COLUMNS: Final = 10_000
"""Most columns that one array becomes; a wider one is a column of lists."""

Columns = dict[str, Any]
"""Name to values: an array [rows] or [rows, ...], a list, or a pandas Series."""


def columns_of(result: Any, rows: int, form: ResultForm | None, name: str) -> Columns:
    """The columns of a result.

    Args:
        result: what the method returned for `rows` rows.
        rows: of the call.
        form: how its results follow rows; None: that is not known.
        name: of the column, or the beginning of several ones' names.

    Returns:
        `name` for one value a row; `name_0`, `name_1`... for several; the names of a dict, a table or of the described
        result where there are such.

    Raises:
        BadModelOutput: the result does not have so many rows.
    """
    pairs = list(_of_any(result, rows, form, name))
    found = dict(pairs)
    if len(found) < len(pairs) or not pairs:
        raise BadModelOutput(
            "the result has two columns of one name" if pairs else "the result has no part that follows rows"
        )
    return found


def whole_array(result: Any, rows: int, form: ResultForm | None) -> np.ndarray[Any, Any]:
    """The result as one array [rows, ...], for a file that holds one array.

    Raises:
        BadModelOutput: it is none.
    """
    axis = 0 if form is None or form.axis is None else form.axis
    if isinstance(result, tuple | dict) or (form is not None and form.items is not None):
        parts = f" of {len(result)} parts" if isinstance(result, list) else ""
        raise BadModelOutput(
            f"the result is a {type(result).__name__}{parts}, and .npy holds one array; write .parquet"
        )
    if not isinstance(result, list) and dimensions(result) > axis:
        result = _rows_first(result, axis)
    try:
        array = np.asarray(_numpy(result))
    except ValueError as error:
        raise BadModelOutput("the result's rows differ in length, and .npy holds one array") from error
    if array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat):
        array = array.astype("U")
    if array.dtype.hasobject or not array.ndim:
        raise BadModelOutput(
            f"the result is a {type(result).__name__}, which has no .npy form; write .parquet"
        )
    _check_rows(array, rows)
    return array


def may_be_parts(result: Any, rows: int) -> bool:
    """Whether a list has either an item for each row, or parts of which each has all rows, as far as it shows.

    Estimators of several targets return such parts: an array for each target.
    """
    return (
        isinstance(result, list)
        and bool(result)
        and all(isinstance(item, list) or (dimensions(item) and not tables.is_table(item)) for item in result)
        and all(len(item) == rows for item in result)
    )


def parts_form(result: list[Any], other: Any) -> ResultForm:
    """The form of results of which `may_be_parts` holds, seen in two calls with different numbers of rows.

    Args:
        result: of one call.
        other: of the other call.
    """
    is_parts = isinstance(other, list) and len(other) == len(result)
    return ResultForm(items=(ResultForm(0),) * len(result)) if is_parts else ResultForm(0)


def _rows_first(value: Any, axis: int) -> Any:
    return value if axis == 0 else np.moveaxis(np.asarray(_numpy(value)), axis, 0)


def _of_any(result: Any, rows: int, form: ResultForm | None, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(result, Mapping):
        named = form.named if form is not None and form.named is not None else {}
        for key, part in result.items():
            one = named.get(str(key))
            if one is None or one.axis is not None or one.items or one.named:
                yield from _of_any(part, rows, one, str(key))
        return
    if isinstance(result, tuple) or (form is not None and form.items is not None):
        forms = form.items if form is not None and form.items is not None else (None,) * len(result)
        for at, (part, one) in enumerate(zip(result, forms, strict=True)):
            if one is None or one.axis is not None or one.items or one.named:
                yield from _of_any(part, rows, one, f"{name}_{at}")
        return
    described = form.described if form is not None else None
    axis = form.axis if form is not None and form.axis else 0
    yield from _of_values(_rows_first(result, axis), rows, name, described)


def _of_values(
    result: Any, rows: int, name: str, described: Mapping[str, Any] | None
) -> Iterator[tuple[str, Any]]:
    if tables.is_table(result):
        _check_rows(result, rows)
        if tables.is_series(result):
            yield (name if result.name is None else str(result.name)), result
        else:
            for at, column in enumerate(result.columns):
                yield str(column), result.iloc[:, at]
        return
    values = _numpy(result)
    if isinstance(values, list):
        yield from _of_list(values, rows, name)
        return
    if not isinstance(values, np.ndarray) or not values.ndim:
        raise BadModelOutput(f"the result is a {type(result).__name__}, which has no rows")
    _check_rows(values, rows)
    if values.dtype.names:
        for field in values.dtype.names:
            yield field, values[field]
    elif values.ndim == 2 and values.shape[1] <= MAX_COLUMNS:
        named = [str(column["name"]) for column in (described or {}).get("columns") or ()]
        if values.shape[1] == 1 and len(named) != 1:
            yield name, values[:, 0]
            return
        for at in range(values.shape[1]):
            yield (named[at] if len(named) == values.shape[1] else f"{name}_{at}"), values[:, at]
    else:
        yield name, values


def _of_list(values: list[Any], rows: int, name: str) -> Iterator[tuple[str, Any]]:
    _check_rows(values, rows)
    if values and all(isinstance(item, Mapping) for item in values):
        keys = dict.fromkeys(str(key) for item in values for key in item)
        by_text = [{str(key): value for key, value in item.items()} for item in values]
        for key in keys:
            yield key, [item.get(key) for item in by_text]
        return
    first = values[0] if values else None
    if isinstance(first, np.ndarray | np.generic):
        try:
            stacked = np.array(values)
        except ValueError:
            yield name, [np.asarray(item).tolist() for item in values]
            return
        yield from _of_values(stacked, rows, name, None)
        return
    yield name, values


def _numpy(value: Any) -> Any:
    """Tensors, sparse matrices and masked arrays as arrays; everything else as it is."""
    if tensors.is_torch(value):
        plain = value.detach().cpu()
        return (plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy()
    if isinstance(value, np.ma.MaskedArray):
        plain = value.data.astype(object)
        plain[np.ma.getmaskarray(value)] = None
        return plain
    if type(value).__module__.startswith("scipy.sparse"):
        return value.toarray()
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if not isinstance(value, list | str | bytes) and hasattr(value, "to_numpy"):
        return value.to_numpy()
    if not isinstance(value, list | str | bytes | Mapping) and hasattr(value, "__iter__"):
        return list(value)
    return value


def _check_rows(value: Any, rows: int) -> None:
    if len(value) != rows:
        raise BadModelOutput(f"the model returned {len(value)} rows for {rows}")
