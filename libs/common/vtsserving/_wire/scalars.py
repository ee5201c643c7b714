"""Single values that msgpack has no type for: dates, times, durations, decimals and UUIDs.

    6 date       ordinal:u32, 1 for 0001-01-01
    7 time       microseconds of the day:u64 fold:u8 zone
    8 datetime   ordinal:u32 microseconds of the day:u64 fold:u8 zone
    9 timedelta  days:i32 seconds:u32 microseconds:u32
    10 Decimal   its text in ASCII
    11 UUID      16 bytes
    zone         0:u8 for none; 1:u8 offset:i64 in microseconds; 2:u8 the name of a zone in ASCII

Integers are little-endian. Only the types themselves are carried: a subclass, such as pandas.Timestamp, would come back
as something else.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import re
import struct
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, Final

from vtsserving._wire.limits import MAX_DECIMAL_BYTES, MAX_DECIMAL_EXPONENT, MAX_ZONE_BYTES
from vtsserving.exceptions import BadFrame, MissingDependency, UnsupportedValue

DATE: Final = 6
TIME: Final = 7
DATETIME: Final = 8
TIMEDELTA: Final = 9
DECIMAL: Final = 10
UUID: Final = 11

_NO_ZONE, _OFFSET, _NAMED = 0, 1, 2
_ORDINAL: Final = struct.Struct("<I")
_CLOCK: Final = struct.Struct("<QB")
_OFFSET_US: Final = struct.Struct("<q")
_DURATION: Final = struct.Struct("<iII")
_DAY_US: Final = 86_400_000_000
_MICROSECOND: Final = datetime.timedelta(microseconds=1)

_DECIMAL: Final = re.compile(
    rb"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:E[+-]?[0-9]{1,6})?|-?(?:s?NaN[0-9]*|Infinity)"
)
_ZONE: Final = re.compile(rb"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,3}")
"""A name without dots cannot lead out of the folder of zones, whoever sent it."""


# --- writing -----------------------------------------------------------------------------------------------------


def _pack_date(value: datetime.date, where: str) -> bytes:
    return _ORDINAL.pack(value.toordinal())


def _pack_clock(value: datetime.time | datetime.datetime, where: str) -> bytes:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return _CLOCK.pack(seconds * 1_000_000 + value.microsecond, value.fold) + _pack_zone(value.tzinfo, where)


def _pack_datetime(value: datetime.datetime, where: str) -> bytes:
    return _ORDINAL.pack(value.toordinal()) + _pack_clock(value, where)


def _pack_zone(zone: datetime.tzinfo | None, where: str) -> bytes:
    if zone is None:
        return bytes((_NO_ZONE,))
    if type(zone) is datetime.timezone:
        return bytes((_OFFSET,)) + _OFFSET_US.pack(zone.utcoffset(None) // _MICROSECOND)
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        name = zone.key.encode("ascii", "replace")
        if len(name) <= MAX_ZONE_BYTES and _ZONE.fullmatch(name):
            return bytes((_NAMED,)) + name
    raise UnsupportedValue(
        f"{where} has the time zone {zone!r}, which cannot be sent; use datetime.timezone or zoneinfo.ZoneInfo"
    )


def _pack_timedelta(value: datetime.timedelta, where: str) -> bytes:
    return _DURATION.pack(value.days, value.seconds, value.microseconds)


def _pack_decimal(value: decimal.Decimal, where: str) -> bytes:
    text = str(value).encode("ascii")
    if len(text) > MAX_DECIMAL_BYTES or not _is_moderate(value):
        raise UnsupportedValue(
            f"{where} is a Decimal of more than {MAX_DECIMAL_BYTES} characters, or with an exponent beyond "
            f"{MAX_DECIMAL_EXPONENT}, which cannot be sent; round it"
        )
    return text


def _is_moderate(value: decimal.Decimal) -> bool:
    """Whether writing out the digits of a number takes little memory."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        return True  # NaN or infinite
    return max(abs(exponent), abs(value.adjusted())) <= MAX_DECIMAL_EXPONENT


def _pack_uuid(value: uuid.UUID, where: str) -> bytes:
    return value.bytes


_PACK: Final[dict[type[Any], tuple[int, Callable[[Any, str], bytes]]]] = {
    datetime.date: (DATE, _pack_date),
    datetime.time: (TIME, _pack_clock),
    datetime.datetime: (DATETIME, _pack_datetime),
    datetime.timedelta: (TIMEDELTA, _pack_timedelta),
    decimal.Decimal: (DECIMAL, _pack_decimal),
    uuid.UUID: (UUID, _pack_uuid),
}


def is_scalar(value: Any) -> bool:
    """Whether `value` is of one of the types of this module."""
    return type(value) in _PACK


def pack(value: Any, where: str) -> tuple[int, bytes]:
    """Code and content of the extension for a value.

    Args:
        value: one for which `is_scalar` holds.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: a time zone that has no name, or a Decimal above the limits.
    """
    code, write = _PACK[type(value)]
    return code, write(value, where)


# --- reading -----------------------------------------------------------------------------------------------------


def _unpack_date(data: bytes) -> datetime.date:
    (ordinal,) = _ORDINAL.unpack(data)
    return datetime.date.fromordinal(ordinal)


def _unpack_time(data: bytes) -> datetime.time:
    us, fold = _CLOCK.unpack_from(data)
    if us >= _DAY_US or fold > 1:
        raise ValueError("a time beyond the day")
    seconds, microsecond = divmod(us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    zone = _unpack_zone(data[_CLOCK.size :])
    return datetime.time(hour, minute, second, microsecond, zone, fold=fold)


def _unpack_datetime(data: bytes) -> datetime.datetime:
    day = _unpack_date(data[: _ORDINAL.size])
    return datetime.datetime.combine(day, _unpack_time(data[_ORDINAL.size :]))


def _unpack_zone(data: bytes) -> datetime.tzinfo | None:
    kind, rest = data[0], data[1:]
    if kind == _NO_ZONE and not rest:
        return None
    if kind == _OFFSET:
        return datetime.timezone(_OFFSET_US.unpack(rest)[0] * _MICROSECOND)
    if kind != _NAMED or len(rest) > MAX_ZONE_BYTES or not _ZONE.fullmatch(rest):
        raise ValueError("a zone of an unknown kind or name")
    name = rest.decode("ascii")
    try:
        return zoneinfo.ZoneInfo(name)
    except zoneinfo.ZoneInfoNotFoundError as error:
        if _knows_zones():
            raise ValueError("no such zone") from error
        raise MissingDependency(
            f"a time in the zone {name} was received, and no time zones are known here: pip install tzdata"
        ) from error


@functools.lru_cache(maxsize=1)
def _knows_zones() -> bool:
    """Whether this machine has a database of time zones, which some do without."""
    try:
        zoneinfo.ZoneInfo("Europe/London")
    except zoneinfo.ZoneInfoNotFoundError:
        return False
    return True


def _unpack_timedelta(data: bytes) -> datetime.timedelta:
    days, seconds, microseconds = _DURATION.unpack(data)
    if seconds >= 86_400 or microseconds >= 1_000_000:
        raise ValueError("a duration that is not normal")
    return datetime.timedelta(days, seconds, microseconds)


def _unpack_decimal(data: bytes) -> decimal.Decimal:
    if len(data) > MAX_DECIMAL_BYTES or not _DECIMAL.fullmatch(data):
        raise ValueError("not a decimal")
    value = decimal.Decimal(data.decode("ascii"))
    if not _is_moderate(value):
        raise ValueError("a decimal with a large exponent")
    return value


def _unpack_uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=data)


_UNPACK: Final[dict[int, Callable[[bytes], Any]]] = {
    DATE: _unpack_date,
    TIME: _unpack_time,
    DATETIME: _unpack_datetime,
    TIMEDELTA: _unpack_timedelta,
    DECIMAL: _unpack_decimal,
    UUID: _unpack_uuid,
}

CODES: Final = frozenset(_UNPACK)


def unpack(code: int, data: bytes) -> Any:
    """The value of an extension.

    Args:
        code: one of CODES.
        data: its content.

    Raises:
        BadFrame: it is not such a value.
        MissingDependency: a named time zone, but this machine has no database of them.
    """
    try:
        return _UNPACK[code](data)
    except MissingDependency:
        raise
    except (ValueError, ArithmeticError, LookupError, struct.error, OSError) as error:
        raise BadFrame(f"extension {code} holds no such value: {type(error).__name__}") from error
