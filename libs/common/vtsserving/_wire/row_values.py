"""Values with rows that are neither lists, tables nor tensors.

These are csr matrices, arrays of other dtypes, lists of pandas, tables of pyarrow and polars. Their bytes are those of
the whole value for these rows, and their hole says what must be equal to share a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vtsserving._wire import arrays, arrow_data, pandas_values, sparse


def dimensions(value: Any) -> int:
    """Dimensions that rows can lie along; 0 for a value without rows."""
    if isinstance(value, np.ndarray):
        return value.ndim
    if sparse.is_sparse(value):
        # Other formats would have to be changed to be cut, and what is changed may sum values in another order.
        return int(value.format == "csr" and value.ndim == 2)
    return int(pandas_values.is_list(value) or bool(arrow_data.class_of(value)))


def rows(value: Any, axis: int) -> int:
    """Items along an axis."""
    return int(value.shape[axis]) if hasattr(value, "shape") else len(value)


def cut(value: Any, axis: int, start: int, stop: int) -> Any:
    """Rows [start, stop)."""
    if isinstance(value, np.ndarray):
        return value[(slice(None),) * axis + (slice(start, stop),)]
    return arrow_data.cut(value, start, stop) if arrow_data.class_of(value) else value[start:stop]


def kind_of(value: Any, axis: int) -> list[Any]:
    """The part that such values must have in common to be rows of one."""
    if isinstance(value, np.ndarray):
        return ["numpy", *arrays.kind_of(value, axis)]
    if sparse.is_sparse(value):
        return ["scipy", type(value).__name__, value.dtype.str, int(value.shape[1])]
    if arrow_data.class_of(value):
        return arrow_data.kind_of(value)
    return ["pandas", *pandas_values.kind_of(value)]


def concatenated(parts: list[Any], axis: int) -> Any:
    """One value of several.

    Raises:
        TypeError, ValueError: they are of different kinds.
    """
    kinds = [kind_of(part, axis) for part in parts]
    if any(kind != kinds[0] for kind in kinds):
        raise TypeError("they are of different types")
    if isinstance(parts[0], np.ndarray):
        return arrays.concatenated(parts, axis)
    if sparse.is_sparse(parts[0]):
        import scipy.sparse

        return scipy.sparse.vstack(parts, format="csr")
    if arrow_data.class_of(parts[0]):
        return arrow_data.concatenated(parts)
    return pandas_values.concatenated(parts)


def is_same(one: Any, other: Any, same: Callable[[Any, Any], bool]) -> bool | None:
    """Whether two values of one type hold the same; None for values that are not of this module.

    Args:
        one: any value.
        other: of the same type.
        same: compares arrays.
    """
    if sparse.is_sparse(one):
        parts = sparse.fields_of(one, "a matrix"), sparse.fields_of(other, "a matrix")
        return len(parts[0]) == len(parts[1]) and all(map(same, *parts))
    if pandas_values.is_list(one):
        is_equal = pandas_values.kind_of(one) == pandas_values.kind_of(other)
        return is_equal and len(one) == len(other) and bool(one.equals(other))
    return arrow_data.is_same(one, other) if arrow_data.class_of(one) else None


def repeated_last(value: Any, axis: int, count: int) -> Any:
    """A value with its last row once more, `count` times."""
    size = rows(value, axis)
    return concatenated([value, *[cut(value, axis, size - 1, size)] * count], axis)
