"""Which error a JSON body deserves: found only after the fast path has stumbled, so it may take its time.

`read` is the strict reader: it refuses what parsers let pass (duplicate keys, integers that lose digits, deep
nesting) and says for each refusal which of the documented codes it is.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import numpy as np
import orjson

from vtsserving._codecs.npy import MAGIC
from vtsserving._wire.limits import MAX_VALUE_DEPTH
from vtsserving.exceptions import (
    BadEncoding,
    BadInput,
    BadJson,
    BadNumber,
    DuplicateKey,
    EmptyBody,
    NonFinite,
    TooDeep,
    TooLarge,
)

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
UINT64_MAX: Final = 2**64 - 1
MAX_CONTAINERS: Final = 1_000_000
"""Most lists and objects in one body."""

UINT64_DIGITS: Final = 20

_CONTAINERS: Final = frozenset((dict, list))
_STRING: Final = re.compile(rb'"[^"]*"')
_LONG_INTEGER: Final = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{19,}(?![0-9.eE])")
_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]+(?![0-9.eE])")
_NOT_A_NUMBER: Final = re.compile(r"[+-]?(?:nan|inf)", re.IGNORECASE)

Body = bytes | bytearray


def read(body: Body, *, unsigned: bool = False) -> Any:
    """Parse a JSON body strictly.

    Args:
        body: UTF-8.
        unsigned: whether integers up to 2**64 - 1 are wanted; otherwise they end at 2**63 - 1.

    Returns:
        dict, list, str, int, float, bool or None.

    Raises:
        EmptyBody, BadEncoding, BadJson, NonFinite, BadNumber, TooDeep, TooLarge, DuplicateKey: see their codes.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise explain(body, error) from None
    bare = without_strings(body)
    check_size(bare)
    check_depth(bare)
    check_integers(bare, UINT64_MAX if unsigned else INT64_MAX)
    # Each key has one colon outside of strings, and a key that was named twice is left once.
    if bare.count(b":") != _count_keys(value):
        json.loads(body, object_pairs_hook=_unique)
    return value


def without_strings(body: Body) -> Body:
    """A valid JSON text with nothing in its strings.

    Escapes go first, so that a quote ends a string: one expression for both takes a hundred bytes for each character of
    a long string.
    """
    if b'"' not in body:
        return body
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return _STRING.sub(b'""', body)


def explain(body: Body, error: orjson.JSONDecodeError) -> BadInput:
    """The error that says best why the parser refused the body."""
    if not body.strip():
        return EmptyBody("the body is empty; send rows like [[1.0, 2.0]]")
    if body.startswith(MAGIC):
        return BadEncoding("the body is an .npy file, not JSON; send it with Content-Type: application/x-npy")
    if "UTF-8" in error.msg or b"\0" in body[:4]:
        return BadEncoding("the body is not UTF-8 (a byte order mark is not allowed either)")
    if "surrogate" in error.msg:
        return BadEncoding("a string has half of a surrogate pair")
    if "depth" in error.msg:
        return _too_deep()
    text = str(body, "utf-8", "replace")
    if "infinity" in error.msg:
        if _WHOLE_NUMBER.match(text, error.pos):
            return BadNumber("an integer has too many digits")
        return NonFinite("a number is too large for a float")
    if any(_NOT_A_NUMBER.match(text, max(error.pos - back, 0)) for back in (0, 1)):
        return NonFinite(
            "JSON has no NaN and no Infinity; null is a missing value among fractions and in tables"
        )
    return BadJson(f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}")


def check_size(bare: Body) -> None:
    """Refuse a text of very many small lists or objects, which would take seconds to look at.

    Raises:
        TooLarge: more than MAX_CONTAINERS.
    """
    if bare.count(b"[") + bare.count(b"{") > MAX_CONTAINERS:
        raise TooLarge(
            f"the body has more than {MAX_CONTAINERS:,} lists and objects; send an array in a binary form"
        )


def check_depth(bare: Body) -> None:
    """Refuse a valid JSON text, without the contents of its strings, that is nested too deeply.

    Raises:
        TooDeep: more than 32 levels.
    """
    if bare.count(b"[") + bare.count(b"{") <= MAX_VALUE_DEPTH:
        return
    # `|` with 32 turns "[" into "{" and "]" into "}", and no other character of JSON into one of these.
    folded = np.frombuffer(bare, np.uint8) | 32
    steps = (folded == ord("{")).astype(np.int8) - (folded == ord("}")).astype(np.int8)
    if int(np.cumsum(steps, dtype=np.int32).max()) > MAX_VALUE_DEPTH:
        raise _too_deep()


def check_integers(bare: Body, largest: int) -> None:
    """Refuse integer literals that no integer type holds; the parser turned them into floats.

    Raises:
        BadNumber: one is above `largest` or below -2**63.
    """
    for match in _LONG_INTEGER.finditer(bare):
        text = match.group()
        if len(text.lstrip(b"-")) > UINT64_DIGITS or not INT64_MIN <= int(text) <= largest:
            raise BadNumber(f"an integer is outside of [{INT64_MIN}, {largest}]; write it as a float")


def _count_keys(value: Any) -> int:
    """Keys of all objects in a parsed value."""
    if type(value) is dict:
        return len(value) + sum(_count_keys(item) for item in value.values() if type(item) in (dict, list))
    if type(value) is list and not _CONTAINERS.isdisjoint(map(type, value)):
        return sum(map(_count_keys, value))
    return 0


def _too_deep() -> TooDeep:
    return TooDeep(f"the body is nested deeper than {MAX_VALUE_DEPTH} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKey(f"an object names the key {key[:80]!a} twice")
            seen.add(key)
    return result
