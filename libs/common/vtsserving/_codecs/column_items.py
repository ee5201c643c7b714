"""Plain values to the values of a column: one function for each kind of dtype."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from vtsserving.exceptions import OutOfRange, WrongType

Items = Sequence[Any]
Convert = Callable[[Items, Any, str], Any]

NAMES: Final = {
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "missing",
}
_NUMBERS: Final[frozenset[type]] = frozenset((int, float, bool, type(None)))
_WHOLE: Final[frozenset[type]] = frozenset((int,))
_TEXTS: Final[frozenset[type]] = frozenset((str, type(None)))
_ISO: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
_DURATION: Final = re.compile(
    r"-?P(?=.)(?:\d+D)?(?:T(?=.)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d{1,9})?S)?)?", re.ASCII
)
_PERIOD: Final = re.compile(r"\d{4}[-0-9Q/:. T]{0,60}", re.ASCII)
_PRINTED_DURATION: Final = re.compile(
    r"-?\d{1,9} days(?: [+-]?\d\d:\d\d:\d\d(?:\.\d{1,9})?)?|-?\d{1,9} days?, \d{1,2}:\d\d:\d\d(?:\.\d{6})?",
    re.ASCII,
)
"""As pandas writes durations in CSV, `1 days 02:30:00`, and Python, `1 day, 2:30:00`."""

_INTERVAL: Final = re.compile(r"([\[(])\s*([^\s,][^,]{0,63}?)\s*,\s*([^\s,][^,]{0,63}?)\s*([\])])", re.ASCII)


def is_missing(item: Any) -> bool:
    """Whether a value stands for none: None, NaN, NaT, NA."""
    if item is None:
        return True
    if isinstance(item, float):
        return math.isnan(item)
    return type(item).__name__ in ("NAType", "NaTType")


def as_key(value: Any) -> Any:
    """A category as the key of a dict: True is not 1 there."""
    return (True, bool(value)) if isinstance(value, bool | np.bool_) else value


def converter(dtype: Any) -> Convert:
    """The maker of columns of a dtype, `(items, dtype, where)`; its errors are WrongType and OutOfRange."""
    if isinstance(dtype, np.dtype):
        return _BY_KIND.get(dtype.kind, _other)
    if dtype is str:
        return _object_texts
    return _BY_CLASS.get(type(dtype).__name__, _masked if hasattr(dtype, "numpy_dtype") else _other)


def wrong(item: Any, row: int, where: str, wanted: str) -> WrongType:
    """The error of a value of another kind."""
    shown = NAMES.get(type(item)) or ("missing" if is_missing(item) else f"{item!r:.80}")
    return WrongType(f"{where}, row {row} is {shown}; expected {wanted}")


def _first_other(items: Items, wanted: frozenset[type], where: str, name: str) -> WrongType:
    row = next(row for row, item in enumerate(items) if type(item) not in wanted)
    return wrong(items[row], row, where, name)


def _native(items: Items) -> Items:
    """Values of numpy, which a client's list may hold, as Python's own."""
    return [
        item.item() if isinstance(item, np.generic | np.ndarray) and not item.ndim else item for item in items
    ]


def floats(items: Items, dtype: Any, where: str) -> Any:
    """Floating numbers, of which true and false are 1 and 0; a missing one is NaN."""
    if not _NUMBERS.issuperset(map(type, items)):
        items = [None if is_missing(item) else item for item in _native(items)]
        if not _NUMBERS.issuperset(map(type, items)):
            raise _first_other(items, _NUMBERS, where, "a number")
    array = np.array(items, np.float64) if items else np.empty(0)
    if dtype.itemsize >= 8:
        return array
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    too_large = np.flatnonzero(np.isinf(narrow) & np.isfinite(array))
    if len(too_large):
        raise OutOfRange(f"{where}, row {int(too_large[0])} is too large for {dtype.name}")
    return narrow


def integers(items: Items, dtype: Any, where: str) -> Any:
    """Whole numbers, of which true and false are 1 and 0; floats count where they are whole, as some clients write."""
    if not _WHOLE.issuperset(map(type, items)):
        items = [_whole(item, row, where) for row, item in enumerate(_native(items))]
    limits = np.iinfo(dtype)
    if items and not limits.min <= min(items) <= max(items) <= limits.max:
        row = next(row for row, item in enumerate(items) if not limits.min <= item <= limits.max)
        raise OutOfRange(
            f"{where}, row {row} is {items[row]}, which is outside of {dtype.name} [{limits.min}, {limits.max}]"
        )
    return np.array(items, dtype)


def _whole(item: Any, row: int, where: str) -> int:
    if type(item) is int or type(item) is bool:
        return int(item)
    if type(item) is float and item.is_integer():
        return int(item)
    if type(item) is float and not math.isnan(item):
        raise WrongType(f"{where}, row {row} is {item!r}; expected an integer")
    raise wrong(item, row, where, "an integer")


def booleans(items: Items, dtype: Any, where: str) -> Any:
    """True and False."""
    wanted = frozenset((bool,))
    if not wanted.issuperset(map(type, items)):
        items = _native(items)
        if not wanted.issuperset(map(type, items)):
            raise _first_other(items, wanted, where, "true or false")
    return np.array(items, np.bool_)


def objects(items: Items, dtype: Any, where: str) -> Any:
    """Anything, as it is: assigned one by one, since numpy must not look into items that are lists themselves."""
    array = np.empty(len(items), dtype=object)
    for row, item in enumerate(items):
        array[row] = item
    return array


def _object_texts(items: Items, dtype: Any, where: str) -> Any:
    return objects(texts(items, where), dtype, where)


def texts(items: Items, where: str) -> Items:
    """Texts, and None for each that is missing."""
    if _TEXTS.issuperset(map(type, items)):
        return items
    found = [None if is_missing(item) else item for item in _native(items)]
    for row, item in enumerate(found):
        if item is not None and not isinstance(item, str):
            raise wrong(item, row, where, "a string")
    return found


def _strings(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    return pd.array(texts(items, where), dtype=dtype)


def _masked(items: Items, dtype: Any, where: str) -> Any:
    mask = np.array([is_missing(item) for item in items], np.bool_)
    plain = dtype.numpy_dtype
    fill: Any = {"b": False, "f": 0.0}.get(plain.kind, 0)
    filled = [fill if gap else item for gap, item in zip(mask, items, strict=True)]
    values = _BY_KIND[plain.kind](filled, plain, where)
    return dtype.construct_array_type()(np.array(values, plain), mask)


def _times(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    zone = getattr(dtype, "tz", None)
    unit = dtype.unit if zone is not None else np.datetime_data(dtype)[0]
    found = [
        pd.NaT if is_missing(item) else _time(item, row, where, zone, unit) for row, item in enumerate(items)
    ]
    return pd.array(found, dtype=dtype)


def _time(item: Any, row: int, where: str, zone: Any, unit: str) -> Any:
    import pandas as pd

    wanted = "a time like '2024-05-01T12:30:00" + ("+02:00'" if zone is not None else "'")
    is_text = isinstance(item, str)
    if not (isinstance(item, datetime.date | np.datetime64) or (is_text and _ISO.fullmatch(item))):
        raise wrong(item, row, where, wanted) if not is_text else _unreadable(item, row, where, wanted)
    try:
        time = pd.Timestamp(item)
        if (time.tz is None) is not (zone is None):
            has = "an offset from UTC" if zone is None else "no offset from UTC"
            raise WrongType(f"{where}, row {row} is {str(item)!r:.60}, which has {has}; expected {wanted}")
        return (time if zone is None else time.tz_convert(zone)).as_unit(unit, round_ok=False)
    except (ValueError, OverflowError) as error:
        if isinstance(error, WrongType):
            raise
        raise OutOfRange(
            f"{where}, row {row} is {str(item)!r:.60}, which the column's dtype cannot hold: {str(error)[:120]}"
        ) from None


def _unreadable(item: str, row: int, where: str, wanted: str) -> WrongType:
    return WrongType(f"{where}, row {row} is {item!r:.80}; expected {wanted}")


def _durations(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    unit, found = np.datetime_data(dtype)[0], []
    for row, item in enumerate(items):
        if is_missing(item):
            found.append(pd.NaT)
            continue
        is_text = isinstance(item, str)
        if not (
            isinstance(item, datetime.timedelta | np.timedelta64)
            or (is_text and (_DURATION.fullmatch(item) or _PRINTED_DURATION.fullmatch(item)))
        ):
            wanted = "a duration like 'P1DT2H30M'"
            raise _unreadable(item, row, where, wanted) if is_text else wrong(item, row, where, wanted)
        try:
            found.append(_duration(item).as_unit(unit, round_ok=False))
        except (ValueError, OverflowError) as error:
            raise OutOfRange(
                f"{where}, row {row} is {str(item)!r:.60}, which the column's dtype cannot hold: {str(error)[:120]}"
            ) from None
    return pd.array(found, dtype=dtype)


def _duration(item: Any) -> Any:
    import pandas as pd

    is_negative = isinstance(item, str) and item.startswith("-P")
    found = pd.Timedelta(item[1:] if is_negative else item)
    return -found if is_negative else found


def _periods(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    wanted = f"a period like {str(pd.Period('2024-05-01', freq=dtype.freq))!r}"
    found = []
    for row, item in enumerate(items):
        try:
            if not is_missing(item) and not isinstance(item, str | pd.Period):
                raise wrong(item, row, where, wanted)
            if isinstance(item, str) and not _PERIOD.fullmatch(item):
                raise _unreadable(item, row, where, wanted)
            found.append(pd.NaT if is_missing(item) else pd.Period(item, freq=dtype.freq))
        except WrongType:
            raise
        except (ValueError, TypeError):
            raise _unreadable(str(item), row, where, wanted) from None
    return pd.array(found, dtype=dtype)


def _intervals(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    closed = {"right": "(]", "left": "[)", "both": "[]", "neither": "()"}[dtype.closed]
    wanted, found = f"an interval like '{closed[0]}0, 1{closed[1]}'", []
    for row, item in enumerate(items):
        if is_missing(item) or isinstance(item, pd.Interval):
            found.append(None if is_missing(item) else item)
            continue
        match = _INTERVAL.fullmatch(item) if isinstance(item, str) else None
        if match is None or match.group(1) + match.group(4) != closed:
            raise _unreadable(str(item), row, where, wanted)
        ends = converter(dtype.subtype)(_ends(match, dtype.subtype), dtype.subtype, where)
        found.append(pd.Interval(ends[0], ends[1], closed=dtype.closed))
    return pd.array(found, dtype=dtype)


def _ends(match: re.Match[str], dtype: Any) -> list[Any]:
    texts = [match.group(2), match.group(3)]
    if getattr(dtype, "kind", "") not in "iuf":
        return texts
    try:
        return [float(text) for text in texts]
    except ValueError:
        return texts


def _sparse(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    return pd.arrays.SparseArray(converter(dtype.subtype)(items, dtype.subtype, where), dtype=dtype)


def _other(items: Items, dtype: Any, where: str) -> Any:
    import pandas as pd

    found = [None if is_missing(item) else item for item in items]
    try:
        return pd.array(found, dtype=dtype)
    except Exception as error:  # dtypes of other packages raise whatever they like
        raise WrongType(f"{where} does not fit the dtype {dtype}: {str(error)[:160]}") from None


_BY_KIND: Final[dict[str, Convert]] = {
    "f": floats,
    "i": integers,
    "u": integers,
    "b": booleans,
    "O": objects,
    "M": _times,
    "m": _durations,
}
_BY_CLASS: Final[dict[str, Convert]] = {
    "StringDtype": _strings,
    "DatetimeTZDtype": _times,
    "PeriodDtype": _periods,
    "IntervalDtype": _intervals,
    "SparseDtype": _sparse,
    "ArrowDtype": _other,
}
