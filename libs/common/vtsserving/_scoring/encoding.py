"""Answered rows as the bytes that a run keeps until it writes the output: CSV text, `.npy`, or an Arrow stream."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from vtsserving._scoring import packages
from vtsserving._scoring.csv_text import EXACT_FLOAT
from vtsserving._scoring.formats import DELIMITERS, Format
from vtsserving._scoring.result_columns import Columns
from vtsserving._wire import arrow_data
from vtsserving.exceptions import BadModelOutput

_PLAIN: Final = ("bool", "int64", "int32", "float64", "float32")
"""Dtypes of pandas whose arrays have the same values."""


class Stretch(NamedTuple):
    """Consecutive rows that are answered, or that failed.

    Attributes:
        rows: how many.
        kept: columns that are copied from the input.
        columns: the results; None: these rows failed, and their results are missing.
        array: the result, where the output is one array.
    """

    rows: int
    kept: Columns
    columns: Columns | None = None
    array: np.ndarray[Any, Any] | None = None


def encode(parts: Sequence[Stretch], names: Sequence[str], kind: Format) -> bytes:
    """The bytes of a chunk's answers.

    Args:
        parts: in the order of the rows.
        names: of the result's columns.
        kind: the format of the output.

    Raises:
        BadModelOutput: the output's format cannot hold the result.
    """
    if kind == "npy":
        return _npy(parts)
    if kind in DELIMITERS:
        return _csv(parts, names, DELIMITERS[kind])
    return _arrow(parts, names)


def header(kept: Sequence[str], names: Sequence[str], kind: Format) -> bytes:
    """The line of names of a CSV file; empty for other formats."""
    if kind not in DELIMITERS:
        return b""
    sink = io.StringIO(newline="")
    csv.writer(sink, delimiter=DELIMITERS[kind], lineterminator="\n").writerow([*kept, *names])
    return sink.getvalue().encode()


# --- CSV ---------------------------------------------------------------------------------------------------------


def _csv(parts: Sequence[Stretch], names: Sequence[str], delimiter: str) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, delimiter=delimiter, lineterminator="\n")
    for part in parts:
        columns = [*part.kept.values()]
        if part.columns is None:
            columns += [[""] * part.rows] * len(names)
        else:
            columns += [part.columns[name] for name in names]
        if len(columns) == 1 and _are_numbers(columns[0]):
            numbers = map(str, cells(columns[0]))  # which never need quotes
            sink.write("\n".join((*numbers, "")))
            continue
        writer.writerows(zip(*map(cells, columns), strict=True))
    return sink.getvalue().encode()


def _are_numbers(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype.kind in "iuf"


def cells(column: Any) -> Iterable[Any]:
    """The values of a column as a CSV file has them; missing ones are empty.

    Numbers have the fewest digits that give the same number of the same dtype again, times are ISO 8601, bytes base64,
    lists and objects JSON.
    """
    if isinstance(column, np.ndarray):
        if column.ndim == 1 and column.dtype.kind == "f" and column.dtype.itemsize < 8:
            return map(str, column)
        values: Any = column if column.dtype.kind in "mM" else column.tolist()
        return values if column.ndim == 1 and column.dtype.kind in "biufU" else map(_cell, values)
    if hasattr(column, "to_pylist"):
        return map(_cell, column.to_pylist())
    if hasattr(column, "to_numpy"):
        return cells(column.to_numpy()) if str(column.dtype) in _PLAIN else map(_cell, column.tolist())
    return map(_cell, column)


def _cell(value: Any) -> Any:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, str | int | float):
        return value
    if isinstance(value, np.datetime64 | np.timedelta64):
        return "" if np.isnat(value) else str(value)
    if isinstance(value, np.ndarray | np.generic):
        return _cell(value.tolist()) if value.ndim == 0 else json.dumps(value.tolist(), default=_text)
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=_text, ensure_ascii=False)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _text(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else _cell(value)


# --- .npy --------------------------------------------------------------------------------------------------------


def _npy(parts: Sequence[Stretch]) -> bytes:
    known = [part.array for part in parts if part.array is not None]
    arrays = []
    for part in parts:
        if part.array is not None:
            arrays.append(part.array)
        elif known:
            arrays.append(_missing(part.rows, known[0]))
        else:
            arrays.append(np.full(part.rows, np.nan))
    if any(part.array is None for part in parts):
        arrays = [_with_room(array) for array in arrays]
    sink = io.BytesIO()
    np.save(
        sink,
        np.concatenate(arrays) if len(arrays) > 1 else np.ascontiguousarray(arrays[0]),
        allow_pickle=False,
    )
    return sink.getvalue()


def _missing(rows: int, like: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    shape = (rows, *like.shape[1:])
    if like.dtype.kind in "US":
        return np.zeros(shape, like.dtype)
    if like.dtype.kind in "mM":
        return np.full(shape, "NaT", like.dtype)
    return np.full(shape, np.nan, like.dtype if like.dtype.kind in "fc" else np.float64)


def _with_room(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same where NaN can stand for a missing value: whole numbers as float64, if that is exact."""
    if array.dtype.kind not in "biu":
        return array
    if (
        array.size
        and array.dtype.kind != "b"
        and max(abs(int(array.min())), abs(int(array.max()))) > EXACT_FLOAT
    ):
        raise BadModelOutput(
            "a row failed, and .npy has no missing whole number; these are too long for float64: write .parquet"
        )
    return array.astype(np.float64)


# --- Arrow -------------------------------------------------------------------------------------------------------


def _arrow(parts: Sequence[Stretch], names: Sequence[str]) -> bytes:
    pa = packages.pyarrow()
    found = []
    for part in parts:
        columns = {name: _arrow_array(values) for name, values in part.kept.items()}
        for name in names:
            columns[name] = pa.nulls(part.rows) if part.columns is None else _arrow_array(part.columns[name])
        found.append(pa.table(list(columns.values()), names=list(columns)))
    try:
        table = pa.concat_tables(found, promote_options="permissive") if len(found) > 1 else found[0]
    except pa.ArrowException as error:
        raise BadModelOutput(f"the results are of several types: {str(error)[:200]}") from error
    return arrow_data.stream_of(table)


def _arrow_array(column: Any) -> Any:
    pa = packages.pyarrow()
    if isinstance(column, np.ndarray) and column.ndim > 1:
        flat = pa.array(np.ascontiguousarray(column).reshape(-1))
        for size in reversed(column.shape[1:]):
            flat = pa.FixedSizeListArray.from_arrays(flat, size)
        return flat
    try:
        if isinstance(column, pa.Array | pa.ChunkedArray):
            array = column
        elif isinstance(column, np.ndarray) and column.dtype.kind == "U":
            array = pa.array(column.tolist(), pa.string())
        else:
            array = pa.array(column)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BadModelOutput(f"the result cannot be written: {str(error)[:200]}") from error
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    # The dictionaries of pieces differ, and a file has one.
    return array.cast(array.type.value_type) if pa.types.is_dictionary(array.type) else array
