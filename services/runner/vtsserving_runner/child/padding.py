"""Rows that nobody asked for: batches are filled up to sizes that a model prefers, because it was compiled for them.

The last row is repeated, so that what is computed is as plausible as the rest; the surplus is cut from the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from vtsserving._contract.result_rows import mark
from vtsserving._model.result_form import ResultForm
from vtsserving._wire import arrays, row_values, tables
from vtsserving._wire.layout import Bytes, layout
from vtsserving._wire.leaves import Leaf, cut, dimensions, extract_leaves
from vtsserving.exceptions import BadModelOutput, BadShape


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
    if isinstance(value, np.ndarray) and not arrays.is_unusual(value):
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
        is_numbered = tables.has_default_index(value)
        return pandas.concat([value, value.iloc[[-1] * surplus]], ignore_index=is_numbered)
    return row_values.repeated_last(value, axis, surplus) if dimensions(value) > axis else value


def filled_up(
    head: bytes, bodies: Sequence[Bytes], counts: Sequence[int], surplus: int
) -> tuple[list[Bytes], list[int]]:
    """Bodies and rows of a batch, with its last row repeated.

    Args:
        head: of the batch.
        bodies: of its entries.
        counts: their rows.
        surplus: how often the last row is repeated.
    """
    last = bytes(bodies[-1])
    if counts[-1] > 1:
        *_, last = layout(head).cut(last, counts[-1], (counts[-1] - 1, 1))
    return [*bodies, *[last] * surplus], [*counts, *[1] * surplus]


def without_surplus(result: Any, form: ResultForm | None, axis: int, count: int, surplus: int) -> Any:
    """A result without the rows that nobody asked for.

    Args:
        result: of count + surplus rows.
        form: how it follows rows; None: all of it is taken to lie along `axis`.
        axis: of rows in results.
        count: rows that were asked for.
        surplus: rows beside these.

    Raises:
        BadModelOutput: it does not have so many rows there.
    """
    leaves: list[Leaf] = []
    try:
        marked = (
            extract_leaves(result, axis, "the model's output", leaves)
            if form is None
            else mark(result, form, count + surplus, leaves)
        )
    except BadShape as error:
        raise BadModelOutput(error.message) from error
    is_all_rows = form is not None or _has_leaves_only(marked)
    if not leaves or not is_all_rows or any(leaf.rows != count + surplus for leaf in leaves):
        raise BadModelOutput("the model's output does not follow the rows of the batch")
    return _cut(marked, count)


def _has_leaves_only(marked: Any) -> bool:
    """Whether all parts of a result are rows: others may have been computed from the surplus, too."""
    if isinstance(marked, dict):
        return all(map(_has_leaves_only, marked.values()))
    if isinstance(marked, tuple):
        return all(map(_has_leaves_only, marked))
    return isinstance(marked, Leaf)


def _cut(marked: Any, count: int) -> Any:
    if isinstance(marked, Leaf):
        return cut(marked.value, marked.axis, 0, count)
    if isinstance(marked, dict):
        return {key: _cut(one, count) for key, one in marked.items()}
    if isinstance(marked, list | tuple):
        items = [_cut(one, count) for one in marked]
        return items if isinstance(marked, list) else tuple(items)
    return marked
