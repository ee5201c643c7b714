"""Finding the rows of a result: by a form that is known, or by comparing one merged call with separate ones.

Where no contract describes a result, nothing is guessed from its shape. A merged call is compared with the calls that
it stands for: a part is rows if, along exactly one axis, it is these calls' parts one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np

from vtsserving._model.result_form import ResultForm
from vtsserving._wire import arrays, row_values, tables, tensors, values
from vtsserving._wire.leaves import Leaf, cut, dimensions
from vtsserving.exceptions import BadModelOutput

TOLERANCE: Final = {"float16": 2e-2, "bfloat16": 2e-2, "float32": 1e-4, "complex64": 1e-4}
"""By how much of their spread merged and separate results may differ, by dtype: batches of other sizes are summed in
another order. Everything else that has fractions: see DEFAULT_TOLERANCE; whole numbers and texts are exact."""
DEFAULT_TOLERANCE: Final = 1e-6


class Undecided(Exception):
    """Several axes fit, or none could be told apart: another batch may show more."""


def mark(
    result: Any, form: ResultForm, rows: int, leaves: list[Leaf], where: str = "the model's output"
) -> Any:
    """The result with a Leaf wherever its form says that rows are.

    Args:
        result: what a method returned for `rows` rows.
        form: of the method's results.
        rows: of the call.
        leaves: collects the leaves, in order.
        where: how errors name the result.

    Raises:
        BadModelOutput: the result has another form, or another number of rows.
    """
    if form.items is not None:
        if not isinstance(result, list | tuple) or len(result) != len(form.items):
            raise BadModelOutput(f"{where} is a {_kind(result)}, not {len(form.items)} parts")
        parts = [
            mark(one, each, rows, leaves, f"{where}[{i}]")
            for i, (one, each) in enumerate(zip(result, form.items, strict=True))
        ]
        return parts if isinstance(result, list) else tuple(parts)
    if form.named is not None:
        if not isinstance(result, dict) or set(map(str, result)) != set(form.named):
            raise BadModelOutput(f"{where} is a {_kind(result)}, not a dict of {', '.join(form.named)}")
        return {
            key: mark(one, form.named[str(key)], rows, leaves, f"{where}[{key!r}]")
            for key, one in result.items()
        }
    if form.axis is None:
        return result
    if dimensions(result) <= form.axis:
        raise BadModelOutput(f"{where} is a {_kind(result)}, which has no rows along axis {form.axis}")
    leaf = Leaf(result, form.axis, where)
    if leaf.rows != rows:
        raise BadModelOutput(f"{where} has {leaf.rows} rows for {rows}")
    leaves.append(leaf)
    return leaf


def observe(merged: Any, separate: Sequence[Any], counts: Sequence[int]) -> ResultForm | None:
    """The form of a result, seen in one merged call and the calls that it stands for.

    Args:
        merged: what the method returned for sum(counts) rows.
        separate: what it returned for each request alone, in the same order.
        counts: their rows.

    Returns:
        None if a part follows no axis, or has other values in the merged call: such calls cannot be merged.

    Raises:
        Undecided: this batch does not show it.
    """
    if _is_list_of_rows(merged, separate, counts):
        expected = [item for one in separate for item in one]
        return ResultForm(0) if all(map(same, merged, expected)) else None
    if isinstance(merged, list | tuple):
        return _observe_items(merged, separate, counts)
    if isinstance(merged, dict):
        return _observe_dict(merged, separate, counts)
    found = [axis for axis in range(dimensions(merged)) if _is_cut(merged, separate, counts, axis)]
    if len(found) > 1:
        raise Undecided
    return ResultForm(found[0]) if found else None


def _is_list_of_rows(merged: Any, separate: Sequence[Any], counts: Sequence[int]) -> bool:
    lists = isinstance(merged, list) and all(isinstance(one, list) for one in separate)
    return lists and [len(one) for one in separate] == list(counts) and len(merged) == sum(counts)


def _observe_items(merged: Any, separate: Sequence[Any], counts: Sequence[int]) -> ResultForm | None:
    if not merged or any(type(one) is not type(merged) or len(one) != len(merged) for one in separate):
        return None
    items = [observe(part, [one[i] for one in separate], counts) for i, part in enumerate(merged)]
    return None if None in items else ResultForm(items=tuple(item for item in items if item is not None))


def _observe_dict(merged: Any, separate: Sequence[Any], counts: Sequence[int]) -> ResultForm | None:
    if not merged or any(not isinstance(one, dict) or list(one) != list(merged) for one in separate):
        return None
    named = {str(key): observe(part, [one[key] for one in separate], counts) for key, part in merged.items()}
    if None in named.values() or len(named) != len(merged):
        return None
    return ResultForm(named={key: one for key, one in named.items() if one is not None})


def _is_cut(merged: Any, separate: Sequence[Any], counts: Sequence[int], axis: int) -> bool:
    """Whether cutting the merged part along an axis gives the separate parts."""
    if any(type(one) is not type(merged) or dimensions(one) <= axis for one in separate):
        return False
    if [one.shape[axis] for one in separate] != list(counts) or merged.shape[axis] != sum(counts):
        return False
    ends = list(accumulate(counts, initial=0))
    return all(
        same(cut(merged, axis, start, stop), one)
        for (start, stop), one in zip(pairwise(ends), separate, strict=True)
    )


def _kind(value: Any) -> str:
    return type(value).__name__


def copied(result: Any) -> Any:
    """A copy of a result that a model cannot change any more: some use the memory of their results again.

    Raises:
        UnsupportedValue: it cannot be sent, so that it need not be compared either.
    """
    return values.decode_value(values.encode_value(result, "the model's output"))


def agrees_on_first_row(form: ResultForm, whole: Any, alone: Any) -> bool:
    """Whether a row's own result is what a form cuts from a result of several rows.

    Args:
        form: seen in batches of several rows each.
        whole: the result of several rows.
        alone: that of the first of them.
    """
    if form.items is not None:
        return (
            isinstance(alone, list | tuple)
            and len(alone) == len(form.items)
            and all(map(agrees_on_first_row, form.items, whole, alone))
        )
    if form.named is not None:
        return (
            isinstance(alone, dict)
            and list(map(str, alone)) == list(map(str, whole))
            and all(agrees_on_first_row(form.named[str(key)], whole[key], one) for key, one in alone.items())
        )
    return form.axis is None or (dimensions(alone) > form.axis and same(cut(whole, form.axis, 0, 1), alone))


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal: of one type, dtype and shape; numbers with fractions within their tolerance."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray | np.generic):
        if not _is_of_dtype(one, other) or one.shape != other.shape:
            return False
        if arrays.is_unusual(one):
            return arrays.is_same(one, other, same)
        return _close(np.asarray(one), np.asarray(other))
    if tensors.is_torch(one):
        return _same_tensors(one, other)
    if tables.is_table(one):
        return _same_tables(one, other)
    if isinstance(one, float):
        return _close(np.asarray(one), np.asarray(other))
    found = row_values.is_same(one, other, same)
    return _equal(one, other) if found is None else found


def _is_of_dtype(one: Any, other: Any) -> bool:
    # The width of texts is that of the longest one, which is in one batch and not in another.
    return bool(one.dtype == other.dtype or one.dtype.kind == other.dtype.kind == "U")


def _equal(one: Any, other: Any) -> bool:
    try:
        # What is not even equal to itself, such as NaT, is the same as another of its type.
        return one is other or bool(one == other) or not (_is_itself(one) or _is_itself(other))
    except Exception:  # an __eq__ that raises is the model's code
        return False


def _is_itself(value: Any) -> bool:
    return bool(value == value)  # noqa: PLR0124


def _same_tensors(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    first, second = one.detach().cpu(), other.detach().cpu()
    name = str(one.dtype).removeprefix("torch.")
    if name == "bfloat16":
        first, second = first.float(), second.float()
    return _close(first.numpy(), second.numpy(), TOLERANCE.get(name))


def _same_tables(one: Any, other: Any) -> bool:
    if (
        tables.kind_of(one) != tables.kind_of(other)
        or len(one) != len(other)
        or not one.index.equals(other.index)
    ):
        return False
    columns = [one] if tables.is_series(one) else [one.iloc[:, i] for i in range(one.shape[1])]
    others = [other] if tables.is_series(one) else [other.iloc[:, i] for i in range(other.shape[1])]
    return all(map(_same_columns, columns, others))


def _same_columns(one: Any, other: Any) -> bool:
    if one.dtype.kind in "fc" and isinstance(one.dtype, np.dtype):
        return _close(one.to_numpy(), other.to_numpy())
    return bool(one.equals(other))


def _close(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any], tolerance: float | None = None) -> bool:
    if one.dtype.kind == "O":
        return all(map(_same_item, one.ravel().tolist(), other.ravel().tolist()))
    if one.dtype.kind not in "fc" and one.dtype.name != "bfloat16":
        return bool(np.array_equal(one, other))
    allowed = TOLERANCE.get(one.dtype.name, DEFAULT_TOLERANCE) if tolerance is None else tolerance
    if one.dtype.name == "bfloat16":
        one, other = one.astype(np.float32), other.astype(np.float32)
    finite = np.abs(other[np.isfinite(other)])
    spread = float(finite.max()) if finite.size else 0.0
    return bool(np.allclose(one, other, rtol=allowed, atol=allowed * spread, equal_nan=True))


def _same_item(one: Any, other: Any) -> bool:
    return same(one, other)
