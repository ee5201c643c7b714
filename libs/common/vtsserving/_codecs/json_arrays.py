"""JSON values to arrays, checked against the recorded spec; the error says what was expected and what came."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from vtsserving._wire import tensors
from vtsserving._wire.limits import MAX_TENSOR_DIMS
from vtsserving.exceptions import BadShape, OutOfRange, Ragged, TooDeep, WrongType

Array = np.ndarray[Any, Any]

SMALL_BYTES: Final = 512
"""Bodies above this are checked for long integers by value: searching the text costs more there, and finds long
fractions, too, such as 0.0012345678901234567."""

_PLAIN_CHARACTERS: Final = b"0123456789.,[]-+eE \t\r\n"
_LONG_DIGITS: Final = re.compile(rb"[0-9]{19}")

_NUMBERS: Final[frozenset[type]] = frozenset((int, float))
_STRINGS: Final[frozenset[type]] = frozenset((str,))
_BOOLEANS: Final[frozenset[type]] = frozenset((bool,))
_NAMES: Final = {
    int: "a number",
    float: "a number",
    bool: "true or false",
    str: "a string",
    dict: "an object",
    type(None): "null",
}
_NUMBERS_OR_NULL: Final[frozenset[type]] = frozenset((int, float, type(None)))
_WANTED_TYPES: Final = {"b": _BOOLEANS, "U": _STRINGS, "f": _NUMBERS_OR_NULL}
EXACT: Final = 2**53
"""Whole numbers beyond this lose digits as float64."""
_WANTED: Final = {
    "b": "true or false",
    "i": "an integer",
    "u": "an integer",
    "f": "a number",
    "U": "a string",
}


class ArraySpec(NamedTuple):
    """What one argument must be.

    Attributes:
        name: as the method calls it; may be empty.
        dtype: of the array.
        shape: sizes; -1 for any.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> ArraySpec | None:
        """Read a recorded spec; None if it is none that JSON can be checked against."""
        shape = raw.get("shape")
        name = raw.get("dtype")
        if not isinstance(shape, Sequence) or isinstance(shape, str) or not isinstance(name, str):
            return None
        try:
            dtype = np.dtype("U" if name == "str" else name)
        except TypeError:
            return None
        if dtype.kind not in _WANTED:
            return None
        sizes = tuple(-1 if size is None else int(size) for size in shape)
        return cls(str(raw.get("name") or ""), dtype, sizes)

    def check_shape(self, shape: tuple[int, ...], where: str) -> None:
        """Refuse another shape.

        Raises:
            BadShape: names both shapes.
        """
        if len(shape) == len(self.shape) and all(
            want in (-1, size) for want, size in zip(self.shape, shape, strict=True)
        ):
            return
        hint = (
            "; one row needs brackets around it, too: [[...]]"
            if len(shape) + 1 == len(self.shape) == 2
            else ""
        )
        raise BadShape(f"{where}: expected shape {list(self.shape)}, got {list(shape)}{hint}")


def to_array(value: Any, spec: ArraySpec, where: str, *, takes_bools: bool = False) -> Array:
    """The array that a spec asks for.

    Args:
        value: what JSON gave.
        spec: dtype and shape.
        where: how an error names the value.
        takes_bools: whether true and false are numbers, where fractions are asked for.

    Returns:
        A new array of the spec's dtype; null is NaN where it is a floating one.

    Raises:
        Ragged, WrongType, OutOfRange, BadShape: it is not what the spec asks for; the position is named.
    """
    shape, kinds = _survey(value, where)
    dtype = spec.dtype
    wanted = _WANTED_TYPES.get(dtype.kind, _NUMBERS)
    if takes_bools and dtype.kind == "f":
        wanted = wanted | _BOOLEANS
    if value is None or not kinds <= wanted:
        allowed = wanted if isinstance(value, list) else wanted - {type(None)}
        raise _wrong_type(value, allowed, _WANTED[dtype.kind], where)
    spec.check_shape(shape, where)
    if dtype.kind == "U":
        return text_array(value, shape, is_padded=True)
    if dtype.kind == "b":
        return np.array(value, dtype)
    return _whole(value, dtype, where) if dtype.kind in "iu" else _floating(value, dtype, where)


def plain_array(body: bytes | bytearray, dtype: np.dtype[Any] | None = None) -> Array | None:
    """The array of a JSON body that is nothing but numbers and brackets: the short way of most bodies.

    The body is recognised by what it does not contain (letters, quotes, braces), parsed and turned into an array in two
    calls. Whatever is unusual about it is left to the strict way, which costs more and finds the exact error.

    Args:
        body: any bytes.
        dtype: a floating one, or None for int64 or float64, as the numbers are.

    Returns:
        A new array of 1 to MAX_TENSOR_DIMS dimensions that is not empty; None where the body needs a closer look:
        `read` and then `infer` or `to_array`, which give the same or say why not.
    """
    if body.translate(None, _PLAIN_CHARACTERS):
        return None
    try:
        value = orjson.loads(body)
        if dtype is None:
            array = np.array(value)
            if array.dtype.kind not in "if":
                return None
        elif dtype.itemsize >= 8:
            array = np.array(value, dtype)
        else:
            # Too large for the dtype becomes infinite, which a closer look refuses.
            with np.errstate(over="ignore"):
                array = np.array(value, dtype)
            if not np.isfinite(array).all():
                return None
    except ValueError:
        return None
    if not array.size or not 0 < array.ndim <= MAX_TENSOR_DIMS:
        return None
    if len(body) < SMALL_BYTES:
        return None if _LONG_DIGITS.search(body) else array
    return array if -9e18 < array.min().item() <= array.max().item() < 9e18 else None


def text_array(value: Any, shape: tuple[int, ...], *, is_padded: bool) -> Array:
    """The array of nested lists of texts.

    Args:
        value: the lists, or one text.
        shape: their shape.
        is_padded: whether it is an array of numpy's strings, which are as long as the longest; not where that would
            take much more memory than the texts, or lose something. Otherwise of Python's strings.
    """
    flat = [value] if not shape else value
    for _ in shape[1:]:
        flat = [item for items in flat for item in items]
    sent_bytes = sum(map(len, flat))
    array = tensors.string_array(flat, sent_bytes) if is_padded else tensors.object_array(flat)
    return array.reshape(shape)


def infer(value: Any, where: str, *, is_padded: bool = False) -> Any:
    """What a value becomes where no spec is recorded.

    Args:
        value: what JSON gave.
        where: how an error names the value.
        is_padded: whether texts become numpy's strings; see text_array.

    Returns:
        An array for a list of numbers, booleans or strings, at any depth, in which null beside numbers is NaN; the list
        as it is for objects; dicts with their values so treated; anything else as it is.

    Raises:
        Ragged, WrongType: numbers, strings, booleans and null are mixed in one list.
    """
    if isinstance(value, dict):
        return {key: infer(item, f"{where}.{key[:80]}", is_padded=is_padded) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    if value and all(type(item) is dict for item in value):
        return value
    shape, kinds = _survey(value, where)
    if kinds == _STRINGS:
        return text_array(value, shape, is_padded=is_padded)
    if kinds <= _NUMBERS or kinds == _BOOLEANS:
        return np.array(value)
    if kinds <= _NUMBERS_OR_NULL and len(kinds) > 1:
        return _with_gaps(value, where)
    wanted = next((same for same in (_NUMBERS, _STRINGS, _BOOLEANS) if kinds & same), _NUMBERS)
    raise _wrong_type(value, wanted, "numbers, strings or booleans, and one of these for all items", where)


def _survey(value: Any, where: str) -> tuple[tuple[int, ...], set[type]]:
    """Shape of nested lists and the types of what they hold; Ragged if they have no shape."""
    shape: list[int] = []
    inner = value
    while type(inner) is list:
        shape.append(len(inner))
        inner = inner[0] if inner else None
    if len(shape) > MAX_TENSOR_DIMS:
        raise TooDeep(f"{where} has {len(shape)} dimensions; at most {MAX_TENSOR_DIMS} are supported")
    kinds: set[type] = set()
    _visit(value, shape, 0, where, kinds)
    return tuple(shape), kinds


def _visit(value: Any, shape: list[int], depth: int, where: str, kinds: set[type]) -> None:
    if depth == len(shape):
        if type(value) is list:
            raise Ragged(f"{where} is a list, where others of its level are none")
        kinds.add(type(value))
        return
    if type(value) is not list:
        raise Ragged(
            f"{where} is {_NAMES.get(type(value), 'no number')}, where others of its level are lists"
        )
    if len(value) != shape[depth]:
        raise Ragged(f"{where} has {len(value)} items, where others of its level have {shape[depth]}")
    if depth + 1 == len(shape):
        found = set(map(type, value))
        if list not in found:
            kinds |= found
            return
    for i, item in enumerate(value):
        _visit(item, shape, depth + 1, f"{where}[{i}]", kinds)


def _wrong_type(value: Any, wanted: frozenset[type], name: str, where: str) -> WrongType:
    """The error for the first item of a type that is not wanted."""
    where, found = _first_other(value, wanted, where) or (where, value)
    return WrongType(f"{where} is {_NAMES.get(type(found), 'a list')}; expected {name}")


def _first_other(value: Any, wanted: frozenset[type], where: str) -> tuple[str, Any] | None:
    if type(value) is not list:
        return None if type(value) in wanted else (where, value)
    found = (_first_other(item, wanted, f"{where}[{i}]") for i, item in enumerate(value))
    return next((other for other in found if other is not None), None)


def _whole(value: Any, dtype: np.dtype[Any], where: str) -> Array:
    """Integers; floats count where they are whole, since some clients write all numbers as floats."""
    limits = np.iinfo(dtype)
    # object: exact for every Python int, while float64 rounds above 2**53.
    flat = np.array(value, dtype=object).ravel().tolist()
    for i, item in enumerate(flat):
        if type(item) is float and not item.is_integer():
            raise WrongType(f"{where} holds {item!r} (item {i}, counted through all rows); expected integers")
        if not limits.min <= item <= limits.max:
            raise OutOfRange(
                f"{where} holds {item!r} (item {i}, counted through all rows), which is outside of "
                f"{dtype.name} [{limits.min}, {limits.max}]"
            )
    shape = np.array(value, dtype=object).shape
    return np.array([int(item) for item in flat], dtype).reshape(shape)


def _with_gaps(value: Any, where: str) -> Array:
    """Numbers of which some are missing, in float64, where that changes none of them."""
    array = _floating(value, np.dtype(np.float64), where)
    flat = np.array(value, dtype=object).ravel()
    for i, item in enumerate(flat):
        if type(item) is int and abs(item) > EXACT:
            raise OutOfRange(
                f"{where} holds {item} (item {i}, counted through all rows) beside null, where numbers are float64, "
                "which cannot hold it"
            )
    return array


def _floating(value: Any, dtype: np.dtype[Any], where: str) -> Array:
    try:
        wide = np.array(value, np.float64)
    except OverflowError:
        raise OutOfRange(f"{where} holds a number too large for {dtype.name}") from None
    with np.errstate(over="ignore"):
        array = wide.astype(dtype)
    too_large = np.isinf(array) & np.isfinite(wide)
    if too_large.any():
        index = int(np.flatnonzero(too_large.ravel())[0])
        raise OutOfRange(
            f"{where} holds a number (item {index}, counted through all rows) too large for {dtype.name}"
        )
    return array
