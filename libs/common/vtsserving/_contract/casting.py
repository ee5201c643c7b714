"""Arrays that came as arrays, cast to the recorded spec where that loses nothing that matters."""

from __future__ import annotations

from typing import Any

import numpy as np

from vtsserving._codecs.column_items import is_missing, wrong
from vtsserving._codecs.json_arrays import Array, ArraySpec
from vtsserving.exceptions import BadShape, OutOfRange, WrongType

_NUMERIC = "iuf"


def cast(array: Array, spec: ArraySpec, where: str) -> Array:
    """The array in the spec's dtype.

    Args:
        array: of any dtype; NaN and infinity stay what they are. Texts may be a column, [rows, 1].
        spec: dtype and shape.
        where: how an error names the array.

    Returns:
        The same array where it fits already, else a new one.

    Raises:
        BadShape: another shape.
        WrongType: another kind of values: strings for numbers, fractions for integers.
        OutOfRange: a number does not fit the dtype.
    """
    dtype = spec.dtype
    if dtype.kind == "U" and len(spec.shape) == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    spec.check_shape(array.shape, where)
    if array.dtype == dtype or (dtype.kind == array.dtype.kind == "U"):
        return array
    if dtype.kind == "U" and array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat):
        return array
    if dtype.kind == "U" and array.dtype.kind == "O":
        raise _not_texts(array, where)
    if array.dtype.kind == "b" and dtype.kind in _NUMERIC:
        return array.astype(dtype)
    if array.dtype.name == "bfloat16" and dtype.kind == "f":
        array = array.astype(np.float32)
    if dtype.kind not in _NUMERIC or array.dtype.kind not in _NUMERIC:
        raise WrongType(
            f"{where} has dtype {array.dtype}; expected {'str' if dtype.kind == 'U' else dtype.name}"
        )
    return _to_float(array, dtype, where) if dtype.kind == "f" else _to_integer(array, dtype, where)


def one_column(table: Any, spec: ArraySpec, where: str) -> Any:
    """The only column of a DataFrame, where an array of one dimension is recorded; any other table as it is.

    Raises:
        BadShape: it has several columns. WrongType, OutOfRange: as `cast`, of a Series of texts, too.
    """
    if len(spec.shape) == 1 and spec.dtype.kind == "U" and getattr(table, "ndim", 0) == 1:
        cast(table.to_numpy(dtype=object), spec, where)
    if len(spec.shape) != 1 or getattr(table, "ndim", 0) != 2:
        return table
    if table.shape[1] != 1:
        raise BadShape(f"{where}: expected one value for each row, got a table of {table.shape[1]} columns")
    return cast(table.iloc[:, 0].to_numpy(dtype=object if spec.dtype.kind == "U" else None), spec, where)


def _not_texts(array: Array, where: str) -> WrongType:
    row, item = next((row, item) for row, item in enumerate(array.flat) if not isinstance(item, str))
    return wrong(None if is_missing(item) else item, row, where, "a string")


def _to_float(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if dtype.itemsize < array.dtype.itemsize and bool((np.isinf(result) & np.isfinite(array)).any()):
        raise OutOfRange(f"{where} holds a number too large for {dtype.name}")
    return result


def _to_integer(array: Array, dtype: np.dtype[Any], where: str) -> Array:
    limits = np.iinfo(dtype)
    if array.dtype.kind == "f" and not bool((np.isfinite(array) & (array == np.trunc(array))).all()):
        raise WrongType(f"{where} holds numbers that are no integers; expected {dtype.name}")
    # Python's numbers compare exactly, whatever the two dtypes are.
    if array.size and not limits.min <= array.min().item() <= array.max().item() <= limits.max:
        raise OutOfRange(f"{where} holds a number outside of {dtype.name} [{limits.min}, {limits.max}]")
    return array.astype(dtype)
