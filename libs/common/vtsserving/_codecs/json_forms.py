"""The JSON forms of what JSON and its writer do not know: times, bytes, records, tables, sparse matrices."""

from __future__ import annotations

import base64
import datetime
import decimal
import enum
import sys
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import orjson

from vtsserving._wire import arrow_data, pandas_values, sparse, tables
from vtsserving._wire.iterators import is_iterator, listed

_OPTIONS: Final = orjson.OPT_SERIALIZE_NUMPY
_NS_PER: Final = {
    "W": 604_800_000_000_000,
    "D": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
}
_NS_PER_SECOND: Final = 1_000_000_000
_DATES: Final = ("Y", "M", "W", "D")
_COARSE: Final = ("h", "m")


class Unwritable(TypeError):
    """A value that has no JSON form; its text names it, and ends in `has` or `have`."""


def key_text(key: Any) -> str:
    """The key of a dict as text: numbers as JSON has them, times as ISO 8601, everything else as Python prints it."""
    if isinstance(key, str):
        return str.__str__(key)
    form = key if isinstance(key, bool | int | float) or key is None else _form_or_text(key)
    if isinstance(form, str):
        return form
    try:
        return orjson.dumps(form, option=_OPTIONS).decode().strip('"')
    except orjson.JSONEncodeError:
        return str(key)


def _form_or_text(key: Any) -> Any:
    try:
        return plain(key)
    except Unwritable:
        return str(key)


def plain(value: Any) -> Any:
    """An equivalent that orjson knows, for what it does not.

    Raises:
        Unwritable: there is none.
        ResultTooLarge: it is a generator that does not end.
    """
    write = _EXACT.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, np.ndarray | np.generic):
        return array_items(value)
    if hasattr(value, "model_dump"):  # pydantic's
        return value.model_dump(mode="json", by_alias=True)
    if tables.is_table(value):
        return value_items(value) if tables.is_series(value) else records(value)
    if pandas_values.is_scalar(value):
        return _pandas_scalar(value)
    if pandas_values.is_list(value):
        return value_items(value)
    if sparse.is_sparse(value):
        return _sparse(value)
    if name := arrow_data.class_of(value):
        return _arrow(value, name)
    return _other(value)


def _other(value: Any) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        plain_tensor = value.detach().cpu()
        return (plain_tensor.float() if plain_tensor.dtype == torch.bfloat16 else plain_tensor).numpy()
    for kind, write in _EXACT.items():
        if isinstance(value, kind):
            return write(value)
    if isinstance(value, float | int | str):
        return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple):
        return list(value)
    if is_iterator(value):
        return listed(value)
    if isinstance(value, complex):
        raise Unwritable("complex numbers, which have")
    raise Unwritable(f"{type(value).__name__}, which has")


# --- single values ----------------------------------------------------------------------------------------------------


def _base64(value: Any) -> str:
    return base64.b64encode(value).decode("ascii")


def duration(nanoseconds: int) -> str:
    """An ISO 8601 duration, such as P1DT2H0M0.5S."""
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    seconds, fraction = divmod(rest, _NS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{sign}P{days}DT{hour}H{minute}M{second}{digits}S"


def _timedelta(value: datetime.timedelta) -> str:
    return duration((value.days * 86_400 + value.seconds) * _NS_PER_SECOND + value.microseconds * 1_000)


_EXACT: Final[dict[type[Any], Callable[[Any], Any]]] = {
    bytes: _base64,
    bytearray: _base64,
    memoryview: _base64,
    decimal.Decimal: str,
    uuid.UUID: str,
    datetime.timedelta: _timedelta,
    datetime.time: datetime.time.isoformat,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    enum.Enum: lambda value: value.value,
}


def _pandas_scalar(value: Any) -> Any:
    pandas = sys.modules["pandas"]
    if value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, pandas.Timestamp):
        return value.isoformat()
    if isinstance(value, pandas.Timedelta):
        return duration(value.as_unit("ns").value)
    return str(value)


# --- arrays -----------------------------------------------------------------------------------------------------------


def array_items(value: Any) -> Any:
    """An array or scalar of numpy as nested lists; numbers as short as their dtype allows.

    Raises:
        Unwritable: complex numbers, or raw memory.
    """
    if isinstance(value, np.ma.MaskedArray):
        return None if value is np.ma.masked else _masked(value)
    dtype = value.dtype
    if dtype.kind == "M":
        return times(value)
    if dtype.kind == "m":
        return _durations(value)
    if dtype.name == "bfloat16":
        return number_items(value.astype(np.float32))
    if dtype.kind == "V" and dtype.names:
        return _records(value)
    if dtype.kind == "c":
        raise Unwritable("complex numbers, which have")
    if dtype.kind == "V" and not issubclass(dtype.type, np.void):
        return number_items(value.astype(np.float32))
    if dtype.kind in "biuf":
        return number_items(value)
    return value.tolist()


def number_items(array: Any) -> Any:
    """Numbers as Python's own: those of narrow floats have no more digits than these can tell apart."""
    if array.dtype.kind == "f" and array.dtype.itemsize < np.dtype(np.float64).itemsize:
        return orjson.loads(orjson.dumps(np.ascontiguousarray(array).reshape(array.shape), option=_OPTIONS))
    return array.tolist()


def times(value: Any) -> Any:
    """Times of numpy as ISO 8601; those of whole days and more as dates; null for what is not a time."""
    unit = np.datetime_data(value.dtype)[0]
    if unit in _COARSE:
        value = value.astype("M8[s]")
    elif unit == "W":
        value = value.astype("M8[D]")
    texts = np.datetime_as_string(value)
    return _each(texts, _time_text if unit not in _DATES else _date_text)


def _date_text(text: str) -> str | None:
    return None if text == "NaT" else text


def _time_text(text: str) -> str | None:
    """Without a fraction of zeros; with six digits, or all if they are needed: as Python prints times."""
    head, point, fraction = text.partition(".")
    if not point or not fraction.strip("0"):
        return _date_text(head)
    return f"{head}.{fraction.rstrip('0').ljust(6, '0')}"


def _durations(value: Any) -> Any:
    unit, step = np.datetime_data(value.dtype)
    numbers = (
        np.asarray(value).view(np.int64) if isinstance(value, np.ndarray) else np.int64(value.view(np.int64))
    )
    if unit in ("Y", "M"):
        return _each(numbers, lambda count: _unless_missing(count, lambda n: f"P{n * step}{unit}"))
    if unit == "generic":
        return _each(numbers, lambda count: _unless_missing(count, lambda n: n))
    if unit in _NS_PER:
        return _each(
            numbers, lambda count: _unless_missing(count, lambda n: duration(n * step * _NS_PER[unit]))
        )
    power = {"s": 0, "ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}[unit]
    return _each(
        numbers, lambda count: _unless_missing(count, lambda n: duration(n * step * 10**9 // 10**power))
    )


def _unless_missing(count: int, write: Callable[[int], Any]) -> Any:
    return None if count == np.iinfo(np.int64).min else write(int(count))


def _each(array: Any, write: Callable[[Any], Any]) -> Any:
    """The items of an array, written, in lists of its shape."""
    items = np.asarray(array)
    written = np.empty(items.size, object)
    written[:] = [write(item) for item in items.ravel().tolist()]
    return written.reshape(items.shape).tolist()


def _masked(value: Any) -> Any:
    items = array_items(np.ma.getdata(value))
    if value.mask is np.ma.nomask:
        return items
    shown = np.empty(value.size, object)
    flat = items if value.ndim == 1 else _flat(items, value.ndim)
    shown[:] = [
        None if hidden else item for item, hidden in zip(flat, value.mask.ravel().tolist(), strict=True)
    ]
    return shown.reshape(value.shape).tolist()


def _flat(items: Any, depth: int) -> list[Any]:
    if not depth:
        return [items]
    for _ in range(depth - 1):
        items = [item for inner in items for item in inner]
    return list(items)


def _records(value: Any) -> Any:
    """An object for each record, in lists of the array's shape."""
    array = np.asarray(value)
    flat = array.reshape(-1)
    columns = {name: array_items(flat[name]) for name in array.dtype.names or ()}
    found = _as_objects(list(columns), list(columns.values()), flat.size)
    shown = np.empty(flat.size, object)
    shown[:] = found
    return shown.reshape(array.shape).tolist()


def _as_objects(names: list[str], columns: list[Any], rows: int) -> list[dict[str, Any]]:
    if not columns:
        return [{} for _ in range(rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


# --- tables and their kind --------------------------------------------------------------------------------------------


def records(table: Any) -> list[dict[str, Any]]:
    """The rows of a DataFrame of pandas, an object each; its index is not among them.

    Of two columns of one name, the last one's values stay.
    """
    names = [str(name) for name in table.columns]
    return [dict(zip(names, row, strict=True)) for row in rows(table)]


def rows(table: Any) -> list[tuple[Any, ...]]:
    """The rows of a DataFrame of pandas, each with the JSON forms of its cells."""
    columns = [value_items(table.iloc[:, i]) for i in range(table.shape[1])]
    return list(zip(*columns, strict=True)) if columns else [()] * len(table)


def value_items(values: Any) -> Any:
    """The items of a Series, an Index or an array of pandas: categories as their values, missing ones as None."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return array_items(np.asarray(values))
    name = type(dtype).__name__
    if name == "CategoricalDtype":
        categories = value_items(values.array.categories if hasattr(values, "array") else values.categories)
        codes = values.array.codes if hasattr(values, "array") else values.codes
        return [None if code < 0 else categories[code] for code in codes.tolist()]
    if name == "SparseDtype":
        return array_items(np.asarray(values))
    if name in ("Float32Dtype",):
        return number_items(values.to_numpy(np.float32, na_value=np.nan))
    if name == "ArrowDtype":
        import pyarrow

        return _column(
            pyarrow.chunked_array(pyarrow.array(values.array if hasattr(values, "array") else values))
        )
    return values.tolist()


def _column(column: Any) -> Any:
    """The items of a column of pyarrow."""
    import pyarrow

    if pyarrow.types.is_float32(column.type) or pyarrow.types.is_float16(column.type):
        return number_items(column.to_numpy())
    return column.to_pylist()


def _sparse(value: Any) -> dict[str, Any]:
    rows = value.tocsr() if value.ndim > 1 else value.reshape(1, -1).tocsr()
    return {
        "shape": list(value.shape),
        "indices": rows.indices.tolist(),
        "indptr": rows.indptr.tolist(),
        "data": number_items(rows.data) if rows.data.dtype.kind != "c" else array_items(rows.data),
    }


def _arrow(value: Any, name: str) -> Any:
    if name == "polars.Series":
        return _polars_items(value)
    if name == "polars.DataFrame":
        return _as_objects(value.columns, [_polars_items(value[one]) for one in value.columns], value.height)
    if name in ("pyarrow.Table", "pyarrow.RecordBatch"):
        columns = [_column(one) for one in value.columns]
        return _as_objects(value.schema.names, columns, value.num_rows)
    if name == "pyarrow.Array":
        import pyarrow

        return _column(pyarrow.chunked_array([value]))
    return _column(value)


def _polars_items(series: Any) -> Any:
    import polars

    return number_items(series.to_numpy()) if series.dtype == polars.Float32 else series.to_list()
