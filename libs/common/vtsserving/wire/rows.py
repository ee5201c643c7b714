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

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np

from vtsserving.exceptions import BadFrame, BadModelOutput, BadShape, BadTensor
from vtsserving.wire import tensors, values
from vtsserving.wire.limits import MAX_ROWS
from vtsserving.wire.scan import check_msgpack

TENSOR_HOLE: Final = 16
LIST_HOLE: Final = 17
FRAME_HOLE: Final = 18

_SIZE: Final = struct.Struct("<Q")
Bytes = bytes | memoryview


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


class _Leaf(NamedTuple):
    """One batched leaf of a value that is being packed."""

    value: Any
    axis: int
    where: str

    @property
    def rows(self) -> int:
        return len(self.value) if isinstance(self.value, list) else int(self.value.shape[self.axis])

    def part(self, start: int, stop: int) -> bytes:
        """The leaf's bytes for rows [start, stop)."""
        if isinstance(self.value, list):
            return _sized(values.pack(self.value[start:stop], self.where))
        if _is_pandas(self.value):
            return _sized(values.pack(self.value.iloc[start:stop], self.where))
        cut = (slice(None),) * self.axis + (slice(start, stop),)
        spec, data = tensors.to_wire(self.value[cut], self.where)
        if isinstance(data, bytes):
            return _sized(data)
        return data.tobytes()


def _sized(data: bytes) -> bytes:
    return _SIZE.pack(len(data)) + data


def _is_pandas(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "iloc")


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
    leaves: list[_Leaf] = []
    marked = [
        [_mark(value, axis, f"argument {i + 1}", leaves) for i, value in enumerate(args)],
        {key: _mark(value, axis, f"argument {key!r}", leaves) for key, value in kwargs.items()},
    ]
    if not leaves:
        return Packed(b"", 0, values.encode_value([list(args), dict(kwargs)], "the call"))
    rows = _rows_of(leaves)
    return Packed(_pack_head(marked), rows, b"".join(leaf.part(0, rows) for leaf in leaves))


def _pack_one_array(array: np.ndarray[Any, Any], axis: int) -> Packed | None:
    """The usual call, without walking: one array of a plain dtype."""
    if array.ndim <= axis or not 0 < array.shape[axis] < MAX_ROWS:
        return None
    shape = array.shape
    head = _one_array_head(array.dtype.str, (*shape[:axis], 0, *shape[axis + 1 :]), axis)
    return Packed(head, shape[axis], array.tobytes()) if head else None


@lru_cache(maxsize=1024)
def _one_array_head(dtype: str, shape: tuple[int, ...], axis: int) -> bytes:
    leaf = _Leaf(np.empty(shape, np.dtype(dtype)), axis, "argument 1")
    if np.dtype(dtype).kind not in "biuf" or np.dtype(dtype).str not in tensors.NATIVE:
        return b""
    return _pack_head([[leaf], {}])


def _mark(value: Any, axis: int, where: str, leaves: list[_Leaf]) -> Any:
    """The value with each batched leaf replaced by a _Leaf, which is collected in order."""
    if isinstance(value, dict):
        return {key: _mark(item, axis, f"{where}[{key!r}]", leaves) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_mark(item, axis, f"{where}[{i}]", leaves) for i, item in enumerate(value))
    is_array = isinstance(value, np.ndarray) or tensors.is_torch(value)
    if isinstance(value, list) or _is_pandas(value):
        ndim = 1
        values.check_plain(value, where)
    elif is_array and value.ndim:
        ndim = value.ndim
    else:
        return value
    if ndim <= axis:
        raise BadShape(f"{where} has {ndim} dimension{'s' * (ndim > 1)} to batch on, but batch_dim is {axis}")
    leaf = _Leaf(value, axis, where)
    leaves.append(leaf)
    return leaf


def _rows_of(leaves: Sequence[_Leaf]) -> int:
    rows = leaves[0].rows
    for leaf in leaves:
        if leaf.rows != rows:
            raise BadShape(
                f"all batched arguments must have the same number of rows: {leaves[0].where} has {rows}, "
                f"{leaf.where} has {leaf.rows}"
            )
    if not 0 < rows < MAX_ROWS:
        raise BadShape(f"{leaves[0].where} has {rows} rows; at least one is needed")
    return rows


def _pack_head(marked: Any) -> bytes:
    values.check_plain(marked, "the call")

    def extension(node: Any) -> Any:
        if type(node) is _Leaf:
            return _hole(node)
        return msgpack.ExtType(values.TUPLE, pack(list(node))) if isinstance(node, tuple) else _plain(node)

    def pack(node: Any) -> bytes:
        packed: bytes = msgpack.packb(node, default=extension, strict_types=True)
        return packed

    return pack(marked)


def _plain(node: Any) -> Any:
    return values.to_extension(node, "a non-batched argument")


def _hole(leaf: _Leaf) -> Any:
    if isinstance(leaf.value, list):
        return msgpack.ExtType(LIST_HOLE, b"")
    if _is_pandas(leaf.value):
        return msgpack.ExtType(FRAME_HOLE, values.encode_value(_frame_kind(leaf.value), leaf.where))
    empty = leaf.value[(slice(None),) * leaf.axis + (slice(0, 0),)]
    spec, _ = tensors.to_wire(empty if _has_plain_dtype(leaf.value) else leaf.value, leaf.where)
    shape = tuple(0 if i == leaf.axis else size for i, size in enumerate(leaf.value.shape))
    return msgpack.ExtType(TENSOR_HOLE, bytes((leaf.axis,)) + spec._replace(shape=shape).pack())


def _has_plain_dtype(value: Any) -> bool:
    return getattr(value.dtype, "kind", "") != "O"


def _frame_kind(value: Any) -> list[Any]:
    if hasattr(value, "columns"):
        return ["DataFrame", list(value.columns), [str(dtype) for dtype in value.dtypes]]
    return ["Series", value.name, str(value.dtype)]


class Hole(NamedTuple):
    """One batched leaf as the receiver knows it."""

    kind: int
    axis: int
    spec: tensors.Spec | None

    @property
    def fixed(self) -> bool:
        """Whether the leaf's size follows from its rows."""
        return self.spec is not None and self.spec.dtype != tensors.STR

    def size(self, rows: int) -> int:
        """Bytes of the leaf, if `fixed`."""
        assert self.spec is not None
        other = math.prod(size for i, size in enumerate(self.spec.shape) if i != self.axis)
        return rows * other * tensors.ITEM_BYTES[self.spec.dtype]

    def decode(self, data: Bytes, rows: int) -> Any:
        """The leaf's value from its bytes."""
        if self.spec is None:
            value = values.decode_value(data)
            if len(value) != rows:
                raise BadFrame(f"a leaf has {len(value)} rows, its entry {rows}")
            return value
        shape = tuple(rows if i == self.axis else size for i, size in enumerate(self.spec.shape))
        return tensors.from_wire(self.spec._replace(shape=shape), data)

    def concatenate(self, parts: list[Any]) -> Any:
        """One value of several, along the batch axis."""
        if len(parts) == 1:
            return parts[0]
        if self.kind == LIST_HOLE:
            return [item for part in parts for item in part]
        if self.kind == FRAME_HOLE:
            import pandas as pd  # noqa: PLC0415

            return pd.concat(parts)
        if tensors.is_torch(parts[0]):
            import torch  # noqa: PLC0415

            return torch.cat(parts, dim=self.axis)
        return np.concatenate(parts, axis=self.axis)


class Layout:
    """A parsed head: how to join, decode and cut the bodies that go with it."""

    def __init__(self, head: bytes) -> None:
        """Parse `head`; BadFrame if it is none."""
        check_msgpack(head, values.NESTED)
        self.holes: list[Hole] = []
        self._head = head
        self._fill(self._collect)
        if not self.holes:
            raise BadFrame("a head without a batched leaf")
        self._contiguous = len(self.holes) == 1 and self.holes[0].fixed and self.holes[0].axis == 0
        template = self._fill(lambda _code, _data: _Leaf)
        self._is_bare = template is _Leaf
        self._is_one_argument = template == [[_Leaf], {}]

    def _collect(self, code: int, data: bytes) -> Any:
        if code == TENSOR_HOLE:
            spec, end = tensors.unpack_spec(memoryview(data)[1:])
            if end + 1 != len(data) or data[0] >= len(spec.shape):
                raise BadTensor("a tensor hole whose axis is not one of its dimensions")
            self.holes.append(Hole(code, data[0], spec))
        elif code in (LIST_HOLE, FRAME_HOLE):
            self.holes.append(Hole(code, 0, None))
        return None

    def _fill(self, hole: Callable[[int, bytes], Any]) -> Any:
        """Unpack the head anew, with `hole` called for each hole in order."""

        def extension(code: int, data: bytes) -> Any:
            if code in (TENSOR_HOLE, LIST_HOLE, FRAME_HOLE):
                return hole(code, data)
            if code == values.TUPLE:
                return tuple(values.unpack_checked(data, extension))
            return values.from_extension(code, data)

        return values.unpack_checked(self._head, extension)

    def join(self, bodies: Sequence[Bytes], rows: Sequence[int]) -> Any:
        """One value of k requests, in their order.

        Args:
            bodies: k bodies that go with this head.
            rows: their rows.

        Returns:
            The value; each batched leaf has sum(rows) items along its axis. One leaf on axis 0 costs one copy.

        Raises:
            BadFrame, BadTensor: a body does not have the size that its rows and the head say.
        """
        if self._contiguous:
            hole = self.holes[0]
            value = hole.decode(bodies[0] if len(bodies) == 1 else b"".join(bodies), sum(rows))
            if self._is_bare:
                return value
            if self._is_one_argument:
                return [[value], {}]
            joined = iter([value])
        else:
            parts = [self._leaves(body, count) for body, count in zip(bodies, rows, strict=True)]
            joined = iter(
                hole.concatenate(
                    [hole.decode(part[i], count) for part, count in zip(parts, rows, strict=True)]
                )
                for i, hole in enumerate(self.holes)
            )
        return self._fill(lambda _code, _data: next(joined))

    def _leaves(self, body: Bytes, rows: int) -> list[memoryview]:
        view, position, leaves = memoryview(body), 0, []
        for hole in self.holes:
            if hole.fixed:
                size = hole.size(rows)
            else:
                if position + _SIZE.size > len(view):
                    raise BadFrame("truncated body")
                (size,) = _SIZE.unpack_from(view, position)
                position += _SIZE.size
            if position + size > len(view):
                raise BadFrame("truncated body")
            leaves.append(view[position : position + size])
            position += size
        if position != len(view):
            raise BadFrame(f"{len(view) - position} bytes after the body")
        return leaves

    def cut(self, body: Bytes, rows: int, counts: Sequence[int]) -> Iterator[bytes]:
        """Bodies of consecutive row ranges, for a request that is too large for one batch; sum(counts) == rows."""
        if self._contiguous:
            width = len(body) // rows
            for start, stop in _ranges(counts):
                yield bytes(body[start * width : stop * width])
            return
        leaves = [
            _Leaf(hole.decode(part, rows), hole.axis, "value")
            for hole, part in zip(self.holes, self._leaves(body, rows), strict=True)
        ]
        for start, stop in _ranges(counts):
            yield b"".join(leaf.part(start, stop) for leaf in leaves)


def _ranges(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    ends = list(accumulate(counts, initial=0))
    return zip(ends, ends[1:], strict=False)


@lru_cache(maxsize=512)
def layout(head: bytes) -> Layout:
    """The parsed head; cached, since callers of one method share few heads."""
    return Layout(head)


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
    if type(call) is not list or len(call) != 2 or type(call[0]) is not list or type(call[1]) is not dict:  # noqa: PLR2004
        raise BadFrame("a call is [args, kwargs]")
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
        data = (
            memoryview(np.ascontiguousarray(result).reshape(-1).view(np.uint8))
            if result.size
            else memoryview(b"")
        )
        width = len(data) // total
        return _result_head(result.dtype.str, (0, *result.shape[1:])), [
            data[a * width : b * width] for a, b in _ranges(counts)
        ]
    leaves: list[_Leaf] = []
    try:
        marked = _mark(result, axis, "the model's output", leaves)
        rows = _rows_of(leaves) if leaves else 0
    except BadShape as error:
        raise BadModelOutput(error.message) from error
    if rows != sum(counts):
        raise BadModelOutput(
            f"the model returned {rows} rows for {sum(counts)}"
            if leaves
            else f"the model returned a {type(result).__name__}, which cannot be split into {sum(counts)} rows"
        )
    return _pack_head(marked), [b"".join(leaf.part(a, b) for leaf in leaves) for a, b in _ranges(counts)]


@lru_cache(maxsize=512)
def _result_head(dtype: str, shape: tuple[int, ...]) -> bytes:
    return _pack_head(_Leaf(np.empty(shape, np.dtype(dtype)), 0, "the model's output"))


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
    if all(part.head == first.head for part in parts):
        return layout(first.head).join([part.body for part in parts], [part.rows for part in parts])
    return _join_unlike(
        [layout(part.head).join([part.body], [part.rows]) for part in parts], layout(first.head)
    )


def _join_unlike(results: list[Any], first: Layout) -> Any:
    """Parts whose heads differ (a dtype that widened in one of them): numpy's own promotion decides."""
    if len(first.holes) == 1 and all(isinstance(result, np.ndarray) for result in results):
        try:
            return np.concatenate(results, axis=first.holes[0].axis)
        except ValueError as error:
            raise BadModelOutput(
                f"the parts of a large request gave results that do not fit: {error}"
            ) from error
    raise BadModelOutput("the parts of a large request gave results of different structure")
