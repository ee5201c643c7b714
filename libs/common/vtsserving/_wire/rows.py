"""Values with a batch axis: a head that says what they are, and one body of bytes per request.

    head = msgpack of the value in which every batched leaf (array, tensor, list, DataFrame, Series) is a hole that
           keeps what must be equal to share a batch: container, dtype, batch axis, the other dimensions
    body = the leaves' bytes, in the order of their holes

So equal heads mean: same structure, same dtypes, same non-batch dimensions, same values of non-batched arguments.
The head is the *group* of the batcher, which compares it as opaque bytes. For the usual case, one array batched along
axis 0, joining k requests is joining their bytes. A value without a batched leaf has an empty head, `rows` 0, and is
the body, whole; it is never merged with others.

    hole 16 tensor   axis:u8 then a tensor spec whose batch dimension is 0
    hole 17 list     (empty)         leaf bytes: size:u64le, msgpack array of the items
    hole 18 frame    columns, dtypes leaf bytes: size:u64le, the DataFrame or Series as a value
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from vtsserving._wire import tensors, values
from vtsserving._wire.layout import Bytes, Layout, layout
from vtsserving._wire.leaves import Leaf, extract_leaves, pack_head, ranges, rows_of
from vtsserving._wire.limits import MAX_ROWS
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


def pack_call(args: Sequence[Any], kwargs: Mapping[str, Any], axis: int | None) -> Packed:
    """Pack the arguments of one call.

    Args:
        args: positional arguments.
        kwargs: keyword arguments.
        axis: the batch axis of the inputs; None when the method is not batchable.

    Returns:
        Head, rows and body. All arrays, tensors, lists, DataFrames and Series are batched, inside of dicts and
        tuples too; everything else is a non-batched argument and part of the head.

    Raises:
        UnsupportedValue: an argument that cannot be sent.
        BadShape: an argument without the batch axis or without rows, or arguments that disagree on the rows.
    """
    if axis is None:
        return Packed(b"", 0, values.encode_value([list(args), dict(kwargs)], "the call"))
    if len(args) == 1 and not kwargs and type(args[0]) is np.ndarray:
        packed = _pack_one_array(args[0], axis)
        if packed is not None:
            return packed
    leaves: list[Leaf] = []
    marked = [
        [extract_leaves(value, axis, f"argument {i + 1}", leaves) for i, value in enumerate(args)],
        {key: extract_leaves(value, axis, f"argument {key!r}", leaves) for key, value in kwargs.items()},
    ]
    if not leaves:
        return Packed(b"", 0, values.encode_value([list(args), dict(kwargs)], "the call"))
    rows = rows_of(leaves)
    return Packed(
        pack_head(marked, "a non-batched argument"), rows, b"".join(leaf.part(0, rows) for leaf in leaves)
    )


def _pack_one_array(array: np.ndarray[Any, Any], axis: int) -> Packed | None:
    """The usual call, without walking: one array of a plain dtype."""
    if array.ndim <= axis or not 0 < array.shape[axis] < MAX_ROWS:
        return None
    shape = array.shape
    head = _one_array_head(array.dtype.str, (*shape[:axis], 0, *shape[axis + 1 :]), axis)
    return Packed(head, shape[axis], array.tobytes()) if head else None


@lru_cache(maxsize=1024)
def _one_array_head(dtype: str, shape: tuple[int, ...], axis: int) -> bytes:
    leaf = Leaf(np.empty(shape, np.dtype(dtype)), axis, "argument 1")
    if np.dtype(dtype).kind not in "biuf" or np.dtype(dtype).str not in tensors.NATIVE:
        return b""
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


def unpack_call(packed: Packed) -> tuple[list[Any], dict[str, Any]]:
    """Arguments and keyword arguments of one packed call; BadFrame if it is none."""
    return join_calls(packed.head, [packed.body], [packed.rows])


def join_calls(head: bytes, bodies: Sequence[Bytes], rows: Sequence[int]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of one call for k requests that share a head, in their order.

    Args:
        head: the common head; empty for a single request without a batch axis.
        bodies: k bodies.
        rows: their rows.

    Returns:
        (args, kwargs) with the requests' rows joined along the batch axis.

    Raises:
        BadFrame, BadTensor, TooDeep: the bytes are no call.
    """
    call = layout(head).join(bodies, rows) if head else values.decode_value(bodies[0])
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
    return pack_head(marked, "the model's output"), [
        b"".join(leaf.part(a, b) for leaf in leaves) for a, b in ranges(counts)
    ]


@lru_cache(maxsize=512)
def _result_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    where = "the model's output"
    return pack_head(Leaf(np.empty(shape, np.dtype(dtype)), 0, where), where)


def pack_whole(value: Any) -> Packed:
    """Pack a result that has no batch axis."""
    return Packed(b"", 0, values.encode_value(value, "the model's output"))


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
    if not first.head:
        return values.decode_value(first.body)
    if len(parts) == 1:
        return layout(first.head).join([first.body], [first.rows])
    if all(part.head == first.head for part in parts):
        return layout(first.head).join([part.body for part in parts], [part.rows for part in parts])
    return _join_unlike(
        [layout(part.head).join([part.body], [part.rows]) for part in parts], layout(first.head)
    )


def _join_unlike(results: list[Any], first: Layout) -> Any:
    """Parts whose heads differ (a dtype that widened in one of them): numpy's own promotion decides."""
    if len(first.placeholders) == 1 and all(isinstance(result, np.ndarray) for result in results):
        try:
            return np.concatenate(results, axis=first.placeholders[0].axis)
        except ValueError as error:
            raise BadModelOutput(
                f"the parts of a large request gave results that do not fit: {error}"
            ) from error
    raise BadModelOutput("the parts of a large request gave results of different structure")
