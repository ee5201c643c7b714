"""Values with a batch axis: a head that says what they are, and one body of bytes per request.

    head = msgpack of the value in which every batched leaf (array, tensor, list, DataFrame, Series) is a hole that
           keeps what must be equal to share a batch: container, dtype, batch axis, the other dimensions
    body = the leaves' bytes, in the order of their holes

So equal heads mean: same structure, same dtypes, same non-batch dimensions, same values of non-batched arguments.
The head is the *group* of the batcher, which compares it as opaque bytes. For the usual case, one array batched along
axis 0, joining k requests is joining their bytes. A value without a batched leaf has an empty head, `rows` 0, and is
the body, whole; it is never merged with others.

    hole 16 tensor   axis:u8 then a tensor spec whose batch dimension is 0; a list of one type in a regular shape, too
    hole 17 list     (empty)         leaf bytes: size:u64le, msgpack array of the items
    hole 19 tensor   as 16, in a result whose rows were not seen: it is not joined with others
    hole 18 frame    columns, dtypes leaf bytes: size:u64le, the DataFrame or Series as a value
    hole 20 value    axis:u8 and what must be equal; leaf bytes: size:u64le, the rows as a value
    hole 22 numbers  a tensor spec and the names of a table of numbers of one dtype; leaf bytes: its rows
    hole 23 records  names, dtypes   leaf bytes: size:u64le, rows of other tables: see table_records
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgpack
import numpy as np

from vtsserving._wire import tensors, values
from vtsserving._wire.call_rule import PARAMETER, CallRule
from vtsserving._wire.joined_labels import JoinedLabels
from vtsserving._wire.layout import Bytes, Layout, concatenated, layout
from vtsserving._wire.leaves import WHOLE_HOLE, Leaf, extract_leaves, pack_head, rows_of, sized
from vtsserving._wire.limits import MAX_ROWS
from vtsserving._wire.ranges import ranges
from vtsserving._wire.table_records import Records
from vtsserving._wire.uniform_lists import compact
from vtsserving.exceptions import BadFrame, BadModelOutput, BadShape


class Packed(NamedTuple):
    """A value ready for a frame.

    Attributes:
        head: the group; empty when the value has no batch axis.
        rows: items along the batch axis; 0 when it has none.
        body: the bytes of the batched leaves, or the whole value.
    """

    head: bytes
    rows: int
    body: Bytes


def pack_call(args: Sequence[Any], kwargs: Mapping[str, Any], rule: CallRule) -> Packed:
    """Pack the arguments of one call.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
        rule: says which arguments are rows, and along which axis.

    Returns:
        Head, rows and body. Arrays, tensors, lists and tables in rows are holes of the head, inside of dicts and tuples
        too; parameters are part of it. A call without rows, or whose rows differ in number, is not merged with others:
        its head is empty.

    Raises:
        UnsupportedValue: an argument that cannot be sent.
        BadShape: rows without their axis, or none at all.
    """
    if kwargs and rule.names:
        args, kwargs = rule.positional(list(args), kwargs)
    if rule.axis is None:
        return pack_alone(args, kwargs)
    if len(args) == 1 and not kwargs and rule.first_axis is not None:
        packed = _pack_one_array(args[0], rule.first_axis) if type(args[0]) is np.ndarray else None
        name = rule.names[0] if rule.names else ""
        if type(args[0]) is Records and args[0].rows and rule.axis_of(0, name, args[0]) == 0:
            packed = _pack_one_table(args[0])
        if packed is not None:
            return packed
    leaves: list[Leaf] = []
    marked = [
        [_marked(value, rule, i, leaves) for i, value in enumerate(args)],
        {name: _marked(value, rule, -1, leaves, name) for name, value in kwargs.items()},
    ]
    if not leaves or any(leaf.rows != leaves[0].rows for leaf in leaves):
        return pack_alone(args, kwargs)
    if not leaves[0].rows and type(leaves[0].value) is list:
        return pack_alone(args, kwargs)
    rows = rows_of(leaves)
    return Packed(pack_head(marked, "a parameter"), rows, b"".join(leaf.part(0, rows) for leaf in leaves))


def pack_alone(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Packed:
    """Pack a call that is not merged with others."""
    call = [[_whole(value) for value in args], {name: _whole(value) for name, value in kwargs.items()}]
    return Packed(b"", 0, values.encode_value(call, "the call"))


def _whole(value: Any) -> Any:
    return value.frame() if type(value) is Records else compact(value)


def _marked(value: Any, rule: CallRule, index: int, leaves: list[Leaf], name: str = "") -> Any:
    """An argument of a call with its rows as leaves, which are collected."""
    if not name and 0 <= index < len(rule.names):
        name = rule.names[index]
    axis = rule.axis_of(index, name, value)
    if axis == PARAMETER:
        return value
    where = f"argument {name!r}" if index < 0 else f"argument {index + 1}"
    return extract_leaves(value, axis, where, leaves)


def _pack_one_array(array: np.ndarray[Any, Any], axis: int) -> Packed | None:
    """The usual call, without walking: one array of a plain dtype."""
    if array.ndim <= axis or not 0 < array.shape[axis] < MAX_ROWS:
        return None
    shape = array.shape
    head = _one_array_head(array.dtype.str, (*shape[:axis], 0, *shape[axis + 1 :]), axis)
    return Packed(head, shape[axis], array.tobytes()) if head else None


def _pack_one_table(table: Records) -> Packed:
    """The usual call of a table."""
    rows = table.part(0, table.rows, "argument 1")
    body = rows if table.numbers is not None else sized(rows)
    return Packed(_one_table_head(*table.hole), table.rows, body)


@lru_cache(maxsize=512)
def _one_table_head(code: int, data: bytes) -> bytes:
    return bytes(msgpack.packb([[msgpack.ExtType(code, data)], {}]))


@lru_cache(maxsize=1024)
def _one_array_head(dtype: str, shape: tuple[int, ...], axis: int) -> bytes:
    if dtype not in tensors.NATIVE:
        return b""
    leaf = Leaf(np.empty(shape, np.dtype(dtype)), axis, "argument 1")
    return pack_head([[leaf], {}], "argument 1")


def pieces(packed: Packed, max_rows: int) -> list[Packed]:
    """A call as it is, or in parts of at most `max_rows` rows.

    Args:
        packed: the call.
        max_rows: most rows in one batch.

    Raises:
        BadFrame, BadTensor: the call's body does not have the size that its rows and its head say.
    """
    if not packed.head or packed.rows <= max_rows:
        return [packed]
    whole, rest = divmod(packed.rows, max_rows)
    counts = [max_rows] * whole + [rest] * (rest > 0)
    bodies = layout(packed.head).cut(packed.body, packed.rows, counts)
    return [Packed(packed.head, count, body) for count, body in zip(counts, bodies, strict=True)]


def first_rows(packed: Packed, count: int, max_rows: int) -> tuple[Packed, list[Packed]]:
    """The first rows of a call, and the rest in parts.

    Args:
        packed: a call with rows.
        count: first rows; a call with no more of them is returned whole, without a rest.
        max_rows: most rows in each part of the rest.

    Raises:
        BadFrame, BadTensor: as `pieces`.
    """
    if packed.rows <= count:
        return packed, []
    whole, last = divmod(packed.rows - count, max_rows)
    counts = [count] + [max_rows] * whole + [last] * (last > 0)
    bodies = layout(packed.head).cut(packed.body, packed.rows, counts)
    first, *rest = [Packed(packed.head, n, body) for n, body in zip(counts, bodies, strict=True)]
    return first, rest


def unpack_call(packed: Packed) -> tuple[list[Any], dict[str, Any]]:
    """Arguments and keyword arguments of one packed call; BadFrame if it is none."""
    return join_calls(packed.head, [packed.body], [packed.rows])


def join_calls(
    head: bytes, bodies: Sequence[Bytes], rows: Sequence[int], labels: JoinedLabels | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of one call for k requests that share a head, in their order.

    Args:
        head: the common head; empty for a single request without a batch axis.
        bodies: k bodies.
        rows: their rows.
        labels: joins those of tables of different callers; None where there is one caller.

    Returns:
        (args, kwargs) with the requests' rows joined along the batch axis.

    Raises:
        BadFrame, BadTensor, TooDeep: the bytes are no call.
        SharedLabels: as JoinedLabels.join.
    """
    call = layout(head).join(bodies, rows, labels) if head else values.decode_value(bodies[0])
    if type(call) is not list or len(call) != 2 or type(call[0]) is not list or type(call[1]) is not dict:
        raise BadFrame("a call is [args, kwargs]")
    if call[1] and any(type(name) is not str for name in call[1]):
        raise BadFrame("the name of a keyword argument is not a str")
    return call[0], call[1]


def split_result(result: Any, counts: Sequence[int], axis: int) -> tuple[bytes, list[Bytes]]:
    """Cut the result of one batch into one body per request.

    Args:
        result: what the method returned for sum(counts) rows.
        counts: rows of each request, in the order in which they were joined.
        axis: the batch axis of the output.

    Returns:
        (head, bodies); the bodies of one C-contiguous array on axis 0 are views, without a copy.

    Raises:
        BadModelOutput: the result does not have sum(counts) rows along `axis`.
        UnsupportedValue: the result cannot be sent.
    """
    if type(result) is np.ndarray and axis == 0 and result.ndim and result.dtype.str in tensors.NATIVE:
        total = sum(counts)
        if result.shape[0] != total:
            raise BadModelOutput(f"the model returned {result.shape[0]} rows for {total}")
        data: memoryview = np.ascontiguousarray(result).reshape(-1).view(np.uint8).data
        width = len(data) // total
        return _result_head(result.dtype.str, (0, *result.shape[1:])), [
            data[a * width : b * width] for a, b in ranges(counts)
        ]
    leaves: list[Leaf] = []
    try:
        marked = extract_leaves(result, axis, "the model's output", leaves)
        rows = rows_of(leaves) if leaves else 0
    except BadShape as error:
        raise BadModelOutput(error.message) from error
    if rows != sum(counts):
        raise BadModelOutput(
            f"the model returned {rows} rows for {sum(counts)}"
            if leaves
            else f"the model returned a {type(result).__name__}, which cannot be split into {sum(counts)} rows"
        )
    return cut_leaves(marked, leaves, counts)


def cut_leaves(marked: Any, leaves: Sequence[Leaf], counts: Sequence[int]) -> tuple[bytes, list[Bytes]]:
    """Head and bodies of a result whose rows were found already.

    Args:
        marked: the result, with a Leaf wherever rows are.
        leaves: those, in order, each with sum(counts) rows.
        counts: rows of each request.

    Raises:
        UnsupportedValue: it cannot be sent.
    """
    return pack_head(marked, "the model's output"), [
        b"".join(leaf.part(a, b) for leaf in leaves) for a, b in ranges(counts)
    ]


def whole_array(result: np.ndarray[Any, Any]) -> tuple[bytes, Bytes]:
    """Head and body of a result that is one array, of which nobody knows whether its first axis is its rows.

    Args:
        result: of a dtype of `tensors.NATIVE`, with at least one dimension.
    """
    data: memoryview = np.ascontiguousarray(result).reshape(-1).view(np.uint8).data
    return _whole_head(result.dtype.str, (0, *result.shape[1:])), data


@lru_cache(maxsize=512)
def _whole_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    head = _result_head(dtype, shape)
    found = msgpack.unpackb(head)
    return bytes(msgpack.packb(msgpack.ExtType(WHOLE_HOLE, found.data)))


@lru_cache(maxsize=512)
def _result_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    where = "the model's output"
    return pack_head(Leaf(np.empty(shape, np.dtype(dtype)), 0, where), where)


def pack_whole(value: Any) -> Packed:
    """Pack a result that has no batch axis."""
    return Packed(b"", 0, values.encode_value(compact(value), "the model's output"))


def join_results(parts: Sequence[Packed]) -> Any:
    """The value of one result, or of the results of the parts of one request, in their order.

    Args:
        parts: at least one; several only for results with a batch axis.

    Returns:
        The value; arrays are read-only when there is one part.

    Raises:
        BadFrame, BadTensor: malformed. BadModelOutput: the parts do not fit each other.
    """
    first = parts[0]
    if any(not part.head for part in parts):
        if len(parts) > 1:
            raise _unlike("do not follow its rows")
        return values.decode_value(first.body)
    if len(parts) == 1:
        return layout(first.head).join([first.body], [first.rows])
    if all(part.head == first.head for part in parts):
        return layout(first.head).join([part.body for part in parts], [part.rows for part in parts])
    return _join_unlike(
        [layout(part.head).join([part.body], [part.rows]) for part in parts], layout(first.head)
    )


def _join_unlike(results: list[Any], first: Layout) -> Any:
    """Join parts whose heads differ, by a dtype that widened in one for example: leaf by leaf, as one call gives it."""
    axes = iter([placeholder.axis for placeholder in first.placeholders])
    return _joined(results, first.template(), axes)


def _joined(results: list[Any], template: Any, axes: Iterator[int]) -> Any:
    if template is Leaf:
        return _concatenated(results, next(axes))
    kind = type(template)
    if any(type(result) is not kind for result in results) or (
        kind in (list, tuple, dict) and any(len(result) != len(template) for result in results)
    ):
        raise _unlike("are of different structure")
    if kind is dict:
        if any(result.keys() != template.keys() for result in results):
            raise _unlike("have different keys")
        return {key: _joined([result[key] for result in results], one, axes) for key, one in template.items()}
    if kind in (list, tuple):
        items = [_joined([result[i] for result in results], one, axes) for i, one in enumerate(template)]
        return items if kind is list else tuple(items)
    return results[0]


def _concatenated(parts: list[Any], axis: int) -> Any:
    try:
        return concatenated(parts, axis)
    except (ValueError, TypeError, RuntimeError) as error:
        raise _unlike(f"do not fit each other: {error}") from error


def _unlike(how: str) -> BadModelOutput:
    return BadModelOutput(f"the results of the parts of a large request {how}")
