"""The sender's side of values with a batch axis: find the batched leaves, cut them, describe them in a head."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np

from vtsserving.exceptions import BadShape
from vtsserving.wire import tensors, values
from vtsserving.wire.limits import MAX_ROWS

TENSOR_HOLE: Final = 16
LIST_HOLE: Final = 17
FRAME_HOLE: Final = 18

SIZE: Final = struct.Struct("<Q")
"""Prefix of a leaf whose size does not follow from its rows."""


class Leaf(NamedTuple):
    """One batched leaf of a value that is being packed."""

    value: Any
    axis: int
    where: str

    @property
    def rows(self) -> int:
        """Items along the batch axis."""
        return len(self.value) if isinstance(self.value, list) else int(self.value.shape[self.axis])

    def part(self, start: int, stop: int) -> bytes:
        """The leaf's bytes for rows [start, stop)."""
        if isinstance(self.value, list):
            return _sized(values.pack(self.value[start:stop], self.where))
        if is_pandas(self.value):
            return _sized(values.pack(self.value.iloc[start:stop], self.where))
        cut = (slice(None),) * self.axis + (slice(start, stop),)
        _, data = tensors.to_wire(self.value[cut], self.where)
        if isinstance(data, bytes):
            return _sized(data)
        return data.tobytes()


def _sized(data: bytes) -> bytes:
    return SIZE.pack(len(data)) + data


def is_pandas(value: Any) -> bool:
    """Whether `value` is a DataFrame or a Series; never imports pandas."""
    return type(value).__module__.partition(".")[0] == "pandas" and hasattr(value, "iloc")


def mark(value: Any, axis: int, where: str, leaves: list[Leaf]) -> Any:
    """The value with each batched leaf replaced by a Leaf, which is collected in order."""
    if isinstance(value, dict):
        return {key: mark(item, axis, f"{where}[{key!r}]", leaves) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(mark(item, axis, f"{where}[{i}]", leaves) for i, item in enumerate(value))
    is_array = isinstance(value, np.ndarray) or tensors.is_torch(value)
    if isinstance(value, list) or is_pandas(value):
        ndim = 1
        values.check_plain(value, where)
    elif is_array and value.ndim:
        ndim = value.ndim
    else:
        return value
    if ndim <= axis:
        raise BadShape(f"{where} has {ndim} dimension{'s' * (ndim > 1)} to batch on, but batch_dim is {axis}")
    leaf = Leaf(value, axis, where)
    leaves.append(leaf)
    return leaf


def rows_of(leaves: Sequence[Leaf]) -> int:
    """The rows that all leaves have; BadShape if they differ or there is none."""
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


def pack_head(marked: Any) -> bytes:
    """The head of a value of `mark`."""
    values.check_plain(marked, "the call")

    def extension(node: Any) -> Any:
        if type(node) is Leaf:
            return _hole(node)
        return msgpack.ExtType(values.TUPLE, pack(list(node))) if isinstance(node, tuple) else _plain(node)

    def pack(node: Any) -> bytes:
        packed: bytes = msgpack.packb(node, default=extension, strict_types=True)
        return packed

    return pack(marked)


def _plain(node: Any) -> Any:
    return values.to_extension(node, "a non-batched argument")


def _hole(leaf: Leaf) -> Any:
    if isinstance(leaf.value, list):
        return msgpack.ExtType(LIST_HOLE, b"")
    if is_pandas(leaf.value):
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


def ranges(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(start, stop) of consecutive stretches of `counts` rows."""
    ends = list(accumulate(counts, initial=0))
    return pairwise(ends)
