"""The columns of tables as values: what pandas has dtypes for, each in a form that gives the dtype back.

    column = [kind, content]

| kind | content |
|---|---|
| tensor | a tensor of numbers or bool |
| list | array of any values |
| str, string | array of str or nil: pandas' two dtypes of that name |
| datetime64[unit], timedelta64[unit] | an int64 tensor |
| array | another array of numpy, such as one of complex numbers |
| masked | [tensor, bool tensor: where it is missing] |
| category | [tensor of codes, column of the categories, whether they are ordered] |
| zoned | [unit, a time of day with the zone, int64 tensor in UTC] |
| period | [frequency, int64 tensor] |
| interval | [closed, column of the left ends, column of the right ends] |
| sparse | [fill value, tensor of all values] |
| arrow | Arrow data, see arrow_data |
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from vtsserving._wire import arrow_data
from vtsserving._wire.limits import MAX_ROWS
from vtsserving.exceptions import BadFrame, UnsupportedValue

TIMES: Final = re.compile(r"(datetime64|timedelta64)\[(s|ms|us|ns)\]")
_STRINGS: Final = ("str", "string")
_UNITS: Final = ("s", "ms", "us", "ns")
_MAX_FREQUENCY_CHARS: Final = 64
_NUMBERS: Final = "biuf"


def dtype_name(dtype: Any) -> str:
    """A dtype as its name, by which tables are told apart: two of equal names can be joined and change no value."""
    if type(dtype).__name__ != "CategoricalDtype":
        return str(dtype)
    categories = dtype.categories
    items = [] if categories is None else categories.tolist()
    listed = f"{None if categories is None else categories.dtype} {dtype.ordered} {items!r}"
    return f"category {hashlib.sha256(listed.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


# --- writing ----------------------------------------------------------------------------------------------------------


def pack_column(values: Any, where: str) -> list[Any]:
    """The column of a Series, an Index or an array of pandas.

    Args:
        values: what has a dtype and one dimension.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: a dtype that cannot be sent.
    """
    dtype = values.dtype
    if not isinstance(dtype, np.dtype):
        write = _WRITERS.get(type(dtype).__name__)
        if write is None:
            raise UnsupportedValue(
                f"{where} has the dtype {dtype}, which cannot be sent; convert it with .astype"
            )
        return write(getattr(values, "array", values), where)
    if dtype.kind in "mM":
        return [dtype.name, np.asarray(values).view(np.int64)]
    if dtype.kind == "O":
        return ["list", values.tolist()]
    return ["tensor" if dtype.kind in _NUMBERS else "array", np.asarray(values)]


def _pack_strings(array: Any, where: str) -> list[Any]:
    # A numpy.str_ among them is a text; its own __str__ would drop NULs at its end.
    return [
        str(array.dtype),
        [str.__str__(item) if isinstance(item, str) else None for item in array.tolist()],
    ]


def _pack_masked(array: Any, where: str) -> list[Any]:
    missing = np.asarray(array.isna(), bool)
    return ["masked", [array.to_numpy(dtype=array.dtype.numpy_dtype, na_value=0), missing]]


def _pack_category(array: Any, where: str) -> list[Any]:
    categories = pack_column(array.categories, f"{where}, categories")
    return ["category", [np.asarray(array.codes), categories, bool(array.ordered)]]


def _pack_zoned(array: Any, where: str) -> list[Any]:
    in_utc = array.tz_convert(None).to_numpy().view(np.int64)
    return ["zoned", [array.dtype.unit, datetime.time(tzinfo=plain_zone(array.dtype.tz)), in_utc]]


def plain_zone(zone: Any) -> Any:
    """A time zone as Python's own, of one of pytz or dateutil, too; others as they are."""
    name = getattr(zone, "zone", None)
    if isinstance(name, str):
        from zoneinfo import ZoneInfo

        return ZoneInfo(name)
    offset = None if hasattr(zone, "key") else zone.utcoffset(None)
    return zone if offset is None else datetime.timezone(offset)


def _pack_period(array: Any, where: str) -> list[Any]:
    return ["period", [array.dtype.name, np.asarray(array.astype("int64"))]]


def _pack_interval(array: Any, where: str) -> list[Any]:
    return ["interval", [array.closed, pack_column(array.left, where), pack_column(array.right, where)]]


def _pack_sparse(array: Any, where: str) -> list[Any]:
    # With all its values: a few bytes that stand for very many would be a trap for a receiver.
    return ["sparse", [array.fill_value, np.asarray(array)]]


def _pack_arrow(array: Any, where: str) -> list[Any]:
    import pyarrow as pa

    return ["arrow", arrow_data.write_stream(pa.table({"": pa.chunked_array(pa.array(array))}), where)]


_WRITERS: Final[dict[str, Callable[[Any, str], list[Any]]]] = {
    "StringDtype": _pack_strings,
    "CategoricalDtype": _pack_category,
    "DatetimeTZDtype": _pack_zoned,
    "PeriodDtype": _pack_period,
    "IntervalDtype": _pack_interval,
    "SparseDtype": _pack_sparse,
    "ArrowDtype": _pack_arrow,
    "BooleanDtype": _pack_masked,
    **{f"{kind}{bits}Dtype": _pack_masked for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    **{f"Float{bits}Dtype": _pack_masked for bits in (32, 64)},
}


# --- reading ----------------------------------------------------------------------------------------------------------


def unpack_column(column: Any, rows: int | None = None) -> Any:
    """A column's values as pandas takes them: an array of numpy or of pandas.

    Args:
        column: see the module.
        rows: how many there must be; None: any number.

    Raises:
        BadFrame: it is none, or has another number of rows.
        ValueError, TypeError, LookupError: pandas refuses its content.
    """
    kind, content = column
    read = _READERS.get(kind) if isinstance(kind, str) else None
    values = read(content) if read is not None else _unpack_plain(kind, content)
    if values.ndim != 1 or len(values) >= MAX_ROWS or (rows is not None and len(values) != rows):
        raise BadFrame(f"a column has {len(values)} rows, its table {rows}")
    return values


def _unpack_plain(kind: str, content: Any) -> Any:
    if kind == "list" or kind in _STRINGS:
        if type(content) is not list:
            raise BadFrame("a column of something else than a list")
        return _from_list(kind, content)
    if kind == "tensor":
        return _tensor(content).copy()
    if not TIMES.fullmatch(kind):
        raise BadFrame("a column of an unknown kind")
    return _tensor(content, np.int64).copy().view(np.dtype(kind))


def _tensor(content: Any, dtype: Any = None) -> Any:
    """A tensor of one dimension, of this dtype or of any numbers."""
    is_tensor = isinstance(content, np.ndarray) and content.ndim == 1
    if not is_tensor or not (content.dtype.kind in _NUMBERS if dtype is None else content.dtype == dtype):
        raise BadFrame("a column of something else than a tensor of numbers")
    return content


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
    return pd.array(items, dtype=_dtype_of_texts(kind))


@cache
def _dtype_of_texts(kind: str) -> Any:
    import pandas as pd

    return pd.api.types.pandas_dtype(kind)


def _unpack_array(content: Any) -> Any:
    if not isinstance(content, np.ndarray):
        raise BadFrame("a column of something else than an array")
    return content.copy()


def _unpack_masked(content: Any) -> Any:
    import pandas as pd

    data, missing = content
    data, missing = _tensor(data).copy(), _tensor(missing, np.bool_).copy()
    if len(data) != len(missing) or data.dtype == np.float16:
        raise BadFrame("a column that does not say of each value whether it is missing")
    arrays = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}
    return arrays.get(data.dtype.kind, pd.arrays.IntegerArray)(data, missing)


def _unpack_category(content: Any) -> Any:
    import pandas as pd

    codes, categories, ordered = content
    found = unpack_column(categories)
    names = pd.Index(found, dtype=found.dtype)
    return pd.Categorical.from_codes(_tensor(codes), categories=names, ordered=ordered is True)


def _unpack_zoned(content: Any) -> Any:
    import pandas as pd

    unit, clock, in_utc = content
    if unit not in _UNITS or type(clock) is not datetime.time or clock.tzinfo is None:
        raise BadFrame("a column of times without a zone")
    times = pd.DatetimeIndex(_tensor(in_utc, np.int64).copy().view(np.dtype(f"datetime64[{unit}]")))
    return times.tz_localize("UTC").tz_convert(clock.tzinfo).array


def _unpack_period(content: Any) -> Any:
    import pandas as pd

    frequency, numbers = content
    if type(frequency) is not str or len(frequency) > _MAX_FREQUENCY_CHARS:
        raise BadFrame("a column of periods without a frequency")
    return pd.arrays.PeriodArray(_tensor(numbers, np.int64).copy(), dtype=pd.PeriodDtype(frequency))


def _unpack_interval(content: Any) -> Any:
    import pandas as pd

    closed, left, right = content
    ends = [unpack_column(one) for one in (left, right)]
    return pd.arrays.IntervalArray.from_arrays(*[pd.Index(one, dtype=one.dtype) for one in ends], closed)


def _unpack_sparse(content: Any) -> Any:
    import pandas as pd

    fill, values = content
    dense = _tensor(values)
    return pd.arrays.SparseArray(dense, fill_value=fill, dtype=pd.SparseDtype(dense.dtype, fill))


def _unpack_arrow(content: Any) -> Any:
    import pandas as pd

    table = arrow_data.read_stream(content)
    if table.num_columns != 1:
        raise BadFrame("a column of several columns")
    return pd.arrays.ArrowExtensionArray(table.column(0))


_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "array": _unpack_array,
    "masked": _unpack_masked,
    "category": _unpack_category,
    "zoned": _unpack_zoned,
    "period": _unpack_period,
    "interval": _unpack_interval,
    "sparse": _unpack_sparse,
    "arrow": _unpack_arrow,
}
