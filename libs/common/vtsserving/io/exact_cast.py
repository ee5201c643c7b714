"""Casts of arrays that change no value: what another dtype cannot hold is refused, in whatever form it came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from vtsserving.exceptions import BadDtype, OutOfRange

Array = np.ndarray[Any, Any]

_WHOLE: Final = "iu"


def exact_cast(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    """An array in another dtype of its kind, or in one of fractions where it holds whole numbers.

    Fractions are rounded to what the dtype can hold, as they are when JSON is read; nothing else changes.

    Args:
        array: of numbers, booleans or text.
        dtype: wanted.
        where: how an error names the array.

    Returns:
        The same array where it has the dtype, or is text as wanted; else a new one.

    Raises:
        BadDtype: another kind of values.
        OutOfRange: a number that the dtype cannot hold.
    """
    if array.dtype == dtype or array.dtype.kind == dtype.kind == "U":
        return array
    if "U" in (array.dtype.kind, dtype.kind) or not _is_same_kind(array.dtype, dtype):
        raise BadDtype(f"expected dtype {name_of(dtype)}, got {name_of(array.dtype)}")
    if dtype.kind in _WHOLE and array.dtype.kind in _WHOLE:
        return _to_whole(array, dtype, where)
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if dtype.kind != "f":
        return result
    if array.dtype.kind == "f":
        lost = np.flatnonzero((np.isinf(result) & np.isfinite(array)).ravel())
        if lost.size:
            raise OutOfRange(
                f"{where} holds a number (item {lost[0]}, counted through all rows) too large for {dtype.name}"
            )
    elif array.dtype.kind in _WHOLE:
        _check_whole(array, dtype, where)
    return result


def rounds_whole_numbers(array: Array) -> bool:
    """Whether an array of fractions holds numbers so large that whole ones may have been rounded."""
    if array.dtype.kind != "f" or not array.size:
        return False
    # The next whole number is rounded to the limit itself. NaN is none.
    return bool((np.abs(array) >= _exact_below(array.dtype)).any())


def check_whole_numbers(value: Any, dtype: np.dtype[Any], where: str) -> None:
    """Refuse nested lists with whole numbers that a dtype of fractions can only round.

    Raises:
        OutOfRange: names the first of them.
    """
    for at, item in enumerate(_items(value)):
        if type(item) is int and not _holds(dtype, item):
            raise _rounded(item, at, dtype, where)


def name_of(dtype: np.dtype[Any]) -> str:
    """A dtype as errors name it: text has no width."""
    return "str" if dtype.kind == "U" else dtype.name


def _is_same_kind(given: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    # Whole numbers with and without a sign are checked by value.
    return (given.kind in _WHOLE and wanted.kind in _WHOLE) or np.can_cast(given, wanted, "same_kind")


def _to_whole(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    limits = np.iinfo(dtype)
    # Python's numbers compare exactly, whatever the two dtypes are.
    if array.size and not limits.min <= array.min().item() <= array.max().item() <= limits.max:
        for at, item in enumerate(array.ravel().tolist()):
            if not limits.min <= item <= limits.max:
                raise OutOfRange(
                    f"{where} holds {item} (item {at}, counted through all rows), which is outside of "
                    f"{dtype.name} [{limits.min}, {limits.max}]"
                )
    return array.astype(dtype)


def _check_whole(array: Array, dtype: np.dtype[Any], where: str) -> None:
    most = _exact_below(dtype)
    if array.size and not -most <= array.min().item() <= array.max().item() <= most:
        check_whole_numbers(array.tolist(), dtype, where)


def _exact_below(dtype: np.dtype[Any]) -> int:
    """The limit up to which a dtype of fractions holds every whole number."""
    return 1 << (int(np.finfo(dtype).nmant) + 1)


def _holds(dtype: np.dtype[Any], item: int) -> bool:
    with np.errstate(over="ignore"):
        held = float(np.array(float(item)).astype(dtype))
    return np.isfinite(held) and int(held) == item


def _rounded(item: int, at: int, dtype: np.dtype[Any], where: str) -> OutOfRange:
    return OutOfRange(
        f"{where} holds {item} (item {at}, counted through all rows), which {dtype.name} can only round"
    )


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for item in value:
            yield from _items(item)
    else:
        yield value
