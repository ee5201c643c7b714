"""Columns of Python's own objects that JSON and CSV hold as texts: dates, times, decimals, UUIDs, bytes.

pandas has one dtype for all of them, `object`. A contract says which they are by a name of its own.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

from vtsserving._codecs.column_items import Convert, Items, is_missing, objects, wrong
from vtsserving.exceptions import WrongType

_DIGITS: Final = 15
"""A number of JSON with more digits may have lost some."""

_DECIMAL: Final = re.compile(
    r"[+-]?(?:\d{1,1000}(?:\.\d{0,1000})?|\.\d{1,1000})(?:[eE][+-]?\d{1,4})?|-?Infinity|NaN", re.ASCII
)
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:T00:00:00(?:\.0{1,9})?)?", re.ASCII)
"""pandas writes dates as midnights in JSON."""

_TIME: Final = re.compile(r"(\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


def kind_of(items: Iterable[Any]) -> str:
    """The name of what all items are that are not missing; empty where they are something else, or several things."""
    kinds = {type(item) for item in items if not is_missing(item)}
    return _NAMES.get(next(iter(kinds)), "") if len(kinds) == 1 else ""


def object_converter(name: str) -> Convert | None:
    """The maker of a column of objects, as `column_items.converter`; None: the name is that of a dtype."""
    return _CONVERTERS.get(name)


def is_of(items: Iterable[Any], name: str) -> bool:
    """Whether all items that are not missing are of the kind already."""
    return all(_NAMES.get(type(item)) == name for item in items if not is_missing(item))


def _date(item: Any) -> Any:
    if isinstance(item, datetime.datetime):
        return item.date() if item.time() == datetime.time() and item.tzinfo is None else None
    if isinstance(item, datetime.date):
        return item
    match = _DATE.fullmatch(item) if isinstance(item, str) else None
    return datetime.date.fromisoformat(match.group(1)) if match else None


def _time(item: Any) -> Any:
    if isinstance(item, datetime.time):
        return item
    match = _TIME.fullmatch(item) if isinstance(item, str) else None
    if match is None:
        return None
    # Python 3.10 reads neither Z nor fractions of other lengths than 3 and 6.
    fraction = f".{match.group(2):0<6}" if match.group(2) else ""
    zone = (match.group(3) or "").replace("Z", "+00:00")
    return datetime.time.fromisoformat(f"{match.group(1)}{fraction}{zone}")


def _decimal(item: Any) -> Any:
    if isinstance(item, decimal.Decimal):
        return item
    if isinstance(item, int) and not isinstance(item, bool):
        return decimal.Decimal(item)
    if isinstance(item, float):
        found = decimal.Decimal(repr(item))
        return found if found.is_finite() and len(found.as_tuple().digits) <= _DIGITS else None
    return decimal.Decimal(item) if isinstance(item, str) and _DECIMAL.fullmatch(item) else None


def _uuid(item: Any) -> Any:
    if isinstance(item, uuid.UUID):
        return item
    if isinstance(item, bytes) and len(item) == 16:
        return uuid.UUID(bytes=item)
    return uuid.UUID(item) if isinstance(item, str) and _UUID.fullmatch(item) else None


def _bytes(item: Any) -> Any:
    if isinstance(item, bytes | bytearray):
        return bytes(item)
    return from_base64(item) if isinstance(item, str) else None


def from_base64(text: str) -> bytes | None:
    """The bytes of a text of JSON or CSV; None: it is not base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error among them, and characters beyond ASCII
        return None


def _converter(read: Callable[[Any], Any], wanted: str) -> Convert:
    def convert(items: Items, dtype: Any, where: str) -> Any:
        found = []
        for row, item in enumerate(items):
            try:
                value = None if is_missing(item) else read(item)
            except (ValueError, OverflowError, decimal.InvalidOperation):
                value = None
            if value is None and not is_missing(item):
                if isinstance(item, str):
                    raise WrongType(f"{where}, row {row} is {item!r:.80}; expected {wanted}")
                raise wrong(item, row, where, wanted)
            found.append(value)
        return objects(found, dtype, where)

    return convert


_NAMES: Final[dict[type, str]] = {
    datetime.date: "date",
    datetime.time: "time",
    decimal.Decimal: "decimal",
    uuid.UUID: "uuid",
    bytes: "bytes",
}
_CONVERTERS: Final[dict[str, Convert]] = {
    "date": _converter(_date, "a date like '2024-05-01'"),
    "time": _converter(_time, "a time like '12:30:00'"),
    "decimal": _converter(_decimal, "a decimal as text, like '1.20'"),
    "uuid": _converter(_uuid, "a UUID like '00000000-0000-0000-0000-000000000005'"),
    "bytes": _converter(_bytes, "bytes as base64, like 'YWI='"),
}
