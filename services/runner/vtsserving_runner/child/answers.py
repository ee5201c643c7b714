"""Results of calls as bodies of answers: several requests' cut from one, or one request's alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vtsserving._contract.result_rows import mark
from vtsserving._model.result_form import ResultForm
from vtsserving._wire import rows, tables, tensors
from vtsserving._wire.layout import Bytes, layout
from vtsserving._wire.leaves import Leaf, dimensions
from vtsserving._wire.ranges import ranges
from vtsserving.exceptions import BadModelOutput

_FIRST_AXIS = ResultForm(0)


def packed_result(result: Any, counts: Sequence[int], form: ResultForm) -> tuple[bytes, list[Bytes]]:
    """Head and bodies of several requests' results, cut from one.

    Args:
        result: what the method returned for sum(counts) rows.
        counts: rows of each request, in the order in which they were joined.
        form: how it follows rows.

    Raises:
        BadModelOutput: the result does not have this form, or not so many rows.
        UnsupportedValue: it cannot be sent.
    """
    if form == _FIRST_AXIS and type(result) is np.ndarray:
        return rows.split_result(result, counts, 0)
    leaves: list[Leaf] = []
    marked = mark(result, form, sum(counts), leaves)
    if not leaves:
        raise BadModelOutput("the model's output has no rows")
    return rows.cut_leaves(marked, leaves, counts)


def single_result(
    result: Any, head: bytes, count: int, form: ResultForm | None, axis: int
) -> tuple[bytes, Bytes]:
    """Head and body of one request's result, whatever form it has.

    Args:
        result: what the method returned.
        head: of the request; empty if it has no rows.
        count: its rows.
        form: how results follow rows, where that is known.
        axis: of rows in results, where they do not say otherwise.

    Raises:
        BadModelOutput: the model dropped rows.
        UnsupportedValue: it cannot be sent.
    """
    if head:
        if form is not None and form.follows_rows:
            try:
                packed, bodies = packed_result(result, (count,), form)
                return packed, bodies[0]
            except BadModelOutput:
                pass  # another form than usual; the caller gets what it would get alone
        elif (
            type(result) is np.ndarray
            and result.ndim
            and len(result) == count
            and result.dtype.str in tensors.NATIVE
        ):
            return rows.whole_array(result)
        refuse_dropped_rows(result, head, count, axis)
    return b"", rows.pack_whole(result).body


def refuse_dropped_rows(result: Any, head: bytes, count: int, axis: int) -> None:
    """Refuse a result with fewer rows than the request: nobody could tell whose are missing.

    A result that has the request's number of rows along some axis passes, and so does one whose size is that of
    another dimension of the arguments, such as the means of columns.

    Raises:
        BadModelOutput: says how many rows came back, and which are missing if the result's index tells.
    """
    if dimensions(result) <= axis or (isinstance(result, list) and any(map(_is_part, result))):
        return
    has_shape = not isinstance(result, list) and not tables.is_table(result) and hasattr(result, "shape")
    shape = tuple(result.shape) if has_shape else (len(result),)
    size = shape[axis]
    if size >= count or (size and (count in shape or size in other_sizes(head))):
        return
    missing = ""
    if tables.is_table(result) and result.index.is_unique:
        known = set(result.index.tolist())
        gone = [row for row in range(count) if row not in known]
        if len(gone) == count - size:
            missing = (
                f": row {', '.join(map(str, gone[:5]))}{' and more' if len(gone) > 5 else ''} is missing"
            )
    raise BadModelOutput(f"the model returned {size} rows for {count}{missing}")


def _is_part(item: Any) -> bool:
    """Whether an item of a list is rather one of several results than a row."""
    return (
        isinstance(item, np.ndarray | list | tuple | dict) or tensors.is_torch(item) or tables.is_table(item)
    )


def other_sizes(head: bytes) -> set[int]:
    """The sizes of all dimensions of the arguments that are not counted in rows."""
    placeholders = layout(head).placeholders
    sizes = {
        size
        for one in placeholders
        if one.spec is not None
        for at, size in enumerate(one.spec.shape)
        if at != one.axis
    }
    return sizes | {
        len(one.of_table[1]) for one in placeholders if one.of_table and one.of_table[0] == "DataFrame"
    }


def complete_entries(result: Any, form: ResultForm, counts: Sequence[int]) -> list[int]:
    """The positions of the requests in whose rows no table of a result misses a value.

    Args:
        result: of sum(counts) rows.
        form: how it follows rows.
        counts: rows of each request.
    """
    leaves: list[Leaf] = []
    mark(result, form, sum(counts), leaves)
    missing = np.zeros(sum(counts), bool)
    for leaf in leaves:
        if tables.is_table(leaf.value):
            found = leaf.value.isna()
            missing |= (found if tables.is_series(found) else found.any(axis=1)).to_numpy(bool)
    return [i for i, (start, stop) in enumerate(ranges(counts)) if not missing[start:stop].any()]


def empty_columns(result: Any, form: ResultForm, counts: Sequence[int]) -> dict[int, set[tuple[int, int]]]:
    """The columns in which all rows of a request miss their value: alone, they may well have another dtype.

    Columns of numpy's numbers are left out: one without a value is a column of fractions wherever it is made.

    Args:
        result: of sum(counts) rows.
        form: how it follows rows.
        counts: rows of each request.

    Returns:
        Position of a request to its columns, as (table of the result, column).
    """
    leaves: list[Leaf] = []
    mark(result, form, sum(counts), leaves)
    found: dict[int, set[tuple[int, int]]] = {}
    for at, leaf in enumerate(leaves):
        for column, missing in _missing_by_column(leaf.value):
            for i, (start, stop) in enumerate(ranges(counts)):
                if missing[start:stop].all():
                    found.setdefault(i, set()).add((at, column))
    return found


def _missing_by_column(value: Any) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
    if not tables.is_table(value):
        return
    dtypes = [value.dtype] if tables.is_series(value) else list(value.dtypes)
    for column, dtype in enumerate(dtypes):
        if not (isinstance(dtype, np.dtype) and dtype.kind in "biufc"):
            series = value if tables.is_series(value) else value.iloc[:, column]
            missing = series.isna().to_numpy(bool)
            if missing.any():
                yield column, missing


def in_order(result: Any, args: Sequence[Any]) -> Any:
    """A table whose unique labels are those of its argument in another order, put back in the argument's order."""
    if not args or not tables.is_table(result) or not tables.is_table(args[0]):
        return result
    wanted, found = args[0].index, result.index
    if tables.has_default_index(result):
        return result  # numbered anew, which is not an order
    if len(wanted) != len(found) or wanted.equals(found) or not wanted.is_unique or not found.is_unique:
        return result
    return result.loc[wanted] if set(wanted) == set(found) else result
