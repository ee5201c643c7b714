"""The forms that several options share: `key=value`, sizes and ages."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any, Final

from vtsserving.exceptions import InvalidArgument

_AGE: Final = re.compile(r"([0-9]{1,6})\s*(s|m|h|d|w)")
_AGE_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SIZE: Final = re.compile(r"([0-9]{1,15})\s*([KMGTP]?)(i?B)?", re.IGNORECASE)
_SIZE_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_INTEGER_OPTIONS: Final = frozenset({"port", "timeout", "connect_timeout", "read_timeout"})


def parse_pairs(pairs: list[str], option: str) -> dict[str, str]:
    """Read `key=value` arguments.

    Args:
        pairs: as given.
        option: the option's name, for the error.

    Returns:
        Key to value.

    Raises:
        InvalidArgument: one has no `=` or no key.
    """
    parsed = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidArgument(f"{option} takes key=value, not {pair!r}")
        parsed[key] = value
    return parsed


def parse_labels(pairs: list[str]) -> dict[str, str]:
    """Read `--label key=value` arguments, which select models.

    Raises:
        InvalidArgument: one has no `=` or no key, or means another comparison, which would silently fit nothing.
    """
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key.endswith("!") or value.startswith("="):
            raise InvalidArgument(f"--label takes key=value and no other comparison, not {pair!r}")
    return parse_pairs(pairs, "--label")


def parse_options(pairs: list[str]) -> dict[str, Any]:
    """Read options for a file system: `true` and `false` are booleans, `a.b=c` nests, ports are numbers.

    Args:
        pairs: as given.

    Returns:
        Keyword arguments for the file system.

    Raises:
        InvalidArgument: one has no `=` or no key.
    """
    options: dict[str, Any] = {}
    for key, text in parse_pairs(pairs, "--option").items():
        *above, last = key.split(".")
        place = options
        for part in above:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise InvalidArgument(f"--option {key} contradicts another --option")
        value: Any = {"true": True, "false": False}.get(text.lower(), text)
        place[last] = int(text) if last in _INTEGER_OPTIONS and text.isdecimal() else value
    return options


def parse_age(text: str) -> timedelta:
    """Read an age such as `30d`, `12h` or `2w`.

    Raises:
        InvalidArgument: it is none.
    """
    match = _AGE.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidArgument(f"{text!r} is not an age; write for example 30d, 12h or 2w")
    return timedelta(**{_AGE_UNITS[match[2]]: int(match[1])})


def parse_size(text: str) -> int:
    """Read a size such as `200GiB`, `10G` or `1000`; units are binary.

    Returns:
        Bytes.

    Raises:
        InvalidArgument: it is none.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"{text!r} is not a size; write for example 200GiB")
    return int(match[1]) * int(1024 ** _SIZE_POWERS[match[2].upper()])
