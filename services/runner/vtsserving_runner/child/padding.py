"""Rows that nobody asked for: batches are filled up to sizes that a model prefers, because it was compiled for them.

The last row is repeated, so that what is computed is as plausible as the rest; the surplus is cut from the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np


def surplus_rows(rows: int, sizes: Sequence[int]) -> int:
    """How many rows are missing to the next preferred size.

    Args:
        rows: of the batch.
        sizes: preferred ones, ascending.

    Returns:
        0 where `rows` is one of them, or more than all.
    """
    return next((size - rows for size in sizes if size >= rows), 0)


def padded(value: Any, surplus: int, axis: int) -> Any:
    """An argument with its last row repeated: arrays, tensors, lists, DataFrames, Series, also in dicts and tuples.

    Args:
        value: with a batch axis wherever it is one of those; everything else is returned as it is.
        surplus: how often, at least once.
        axis: the batch axis.
    """
    if isinstance(value, np.ndarray):
        last = value.take([-1], axis=axis)
        return np.concatenate([value, np.repeat(last, surplus, axis=axis)], axis=axis)
    if type(value) is list:
        return [*value, *([value[-1]] * surplus)]
    if type(value) is tuple:
        return tuple(padded(item, surplus, axis) for item in value)
    if type(value) is dict:
        return {key: padded(item, surplus, axis) for key, item in value.items()}
    torch, pandas = sys.modules.get("torch"), sys.modules.get("pandas")
    if torch is not None and isinstance(value, torch.Tensor):
        last = value.narrow(axis, value.shape[axis] - 1, 1)
        return torch.cat([value, *([last] * surplus)], dim=axis)
    if pandas is not None and isinstance(value, pandas.DataFrame | pandas.Series):
        return pandas.concat([value, value.iloc[[-1] * surplus]])
    return value
