"""The sender's side of values with a batch axis: find the batched leaves, cut them, describe them in a head."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgpack
import numpy as np

from vtsserving._wire import arrays, row_values, sparse, tables, tensors, values
from vtsserving._wire.limits import MAX_ROWS, MAX_VALUE_DEPTH
from vtsserving._wire.table_records import Records, records_of
from vtsserving._wire.uniform_lists import Uniform, uniform
from vtsserving.exceptions import BadShape, TooDeep

TENSOR_HOLE: Final = 16
LIST_HOLE: Final = 17
FRAME_HOLE: Final = 18
WHOLE_HOLE: Final = 19
"""An array with as many items on axis 0 as its request has rows: nobody has seen yet whether these are its rows."""

VALUE_HOLE: Final = 20
"""Rows of another value, such as a sparse matrix or an array of records."""

SIZE: Final = struct.Struct("<Q")
"""Prefix of a leaf whose size does not follow from its rows."""


class Leaf:
    """One batched leaf of a value that is being packed; no tuple, which would be a value itself."""

    __slots__ = ("_records", "axis", "is_whole_value", "uniform", "value", "where")

    def __init__(self, value: Any, axis: int, where: str) -> None:
        """Leaf `value`, batched along `axis`, which errors name `where`."""
        self.value = value
        self.axis = axis
        self.where = where
        self.uniform: Uniform | None = uniform(value) if type(value) is list and value else None
        self.is_whole_value = not isinstance(value, list) and travels_as_value(value)
        self._records: Records | Literal[False] | None = value if type(value) is Records else False

    @property
    def table(self) -> Records | None:
        """The rows of a table as records, made when they are first asked for; None: it is no table, or no such one."""
        if self._records is False:
            self._records = records_of(self.value) if tables.is_table(self.value) else None
        return self._records

    @property
    def rows(self) -> int:
        """Items along the batch axis."""
        if isinstance(self.value, list):
            return len(self.value)
        if type(self.value) is Records:
            return self.value.rows
        return (
            row_values.rows(self.value, self.axis)
            if self.is_whole_value
            else int(self.value.shape[self.axis])
        )

    def part(self, start: int, stop: int) -> bytes:
        """The leaf's bytes for rows [start, stop)."""
        if self.uniform is not None:
            return self.uniform.part(start, stop, is_sized=True)
        if self.table is not None:
            rows = self.table.part(start, stop, self.where)
            return rows if self.table.numbers is not None else sized(rows)
        some = cut(self.value, self.axis, start, stop)
        if self.is_whole_value or isinstance(self.value, list) or tables.is_table(self.value):
            return sized(values.encode_value(some, self.where))
        _, data = tensors.to_wire(some, self.where)
        if isinstance(data, bytes):
            return sized(data)
        return data.tobytes()


def cut(value: Any, axis: int, start: int, stop: int) -> Any:
    """Rows [start, stop) of an array, tensor, list, table or another value with rows."""
    if isinstance(value, list):
        return value[start:stop]
    if isinstance(value, np.ndarray) or tensors.is_torch(value):
        return value[(slice(None),) * axis + (slice(start, stop),)]
    if tables.is_table(value):
        part = value.iloc[start:stop]
        # Rows that were only numbered are numbered anew: nobody must see how many strangers' rows came before.
        return part.reset_index(drop=True) if tables.has_default_index(value) else part
    return row_values.cut(value, axis, start, stop)


def sized(data: bytes) -> bytes:
    """A leaf's bytes with their number before them."""
    return SIZE.pack(len(data)) + data


def extract_leaves(value: Any, axis: int, where: str, leaves: list[Leaf], depth: int = 1) -> Any:
    """The value with each batched leaf replaced by a Leaf, which is collected in order."""
    if depth > MAX_VALUE_DEPTH:
        raise TooDeep(f"{where} is nested deeper than {MAX_VALUE_DEPTH} levels")
    if sparse.is_mapping(value):
        return {
            key: extract_leaves(item, axis, f"{where}[{key!r}]", leaves, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, tuple):
        return tuple(
            [extract_leaves(item, axis, f"{where}[{i}]", leaves, depth + 1) for i, item in enumerate(value)]
        )
    ndim = dimensions(value)
    if not ndim:
        return value
    if ndim <= axis:
        raise BadShape(f"{where} has {ndim} dimension{'s' * (ndim > 1)} to batch on, but batch_dim is {axis}")
    leaf = Leaf(value, axis, where)
    leaves.append(leaf)
    return leaf


def dimensions(value: Any) -> int:
    """Dimensions that rows can lie along: those of arrays and tensors, 1 of lists and tables, 0 of what has no rows."""
    if isinstance(value, list) or tables.is_table(value) or type(value) is Records:
        return 1
    if isinstance(value, np.ndarray) or tensors.is_torch(value):
        return int(value.ndim)
    return 0 if value is None or type(value) in _WITHOUT_ROWS else row_values.dimensions(value)


_WITHOUT_ROWS: Final = frozenset((str, bytes, int, float, bool, dict, tuple))


def travels_as_value(value: Any) -> bool:
    """Whether rows of `value`, which has some and is no list, travel as values and not as bytes of a tensor."""
    if isinstance(value, np.ndarray):
        return arrays.is_unusual(value)
    return not (tensors.is_torch(value) or tables.is_table(value) or type(value) is Records)


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


def pack_head(marked: Any, where: str) -> bytes:
    """The head of a value of `extract_leaves`, which errors name `where`."""
    marked, deepest = values.packable(marked, where)

    def extension(node: Any) -> Any:
        if type(node) is Leaf:
            return _hole(node)
        if type(node) is values.OtherKeys:
            return msgpack.ExtType(values.MAPPING, values.pack(list(node), where, extension))
        if isinstance(node, tuple):
            return msgpack.ExtType(values.TUPLE, values.pack(list(node), where, extension))
        return values.to_extension(node, where)

    return values.check_packed(values.pack(marked, where, extension), where, deepest)


def _hole(leaf: Leaf) -> Any:
    if leaf.uniform is not None:
        spec = leaf.uniform.spec
        return msgpack.ExtType(TENSOR_HOLE, b"\0" + spec._replace(shape=(0, *spec.shape[1:])).pack())
    if isinstance(leaf.value, list):
        return msgpack.ExtType(LIST_HOLE, b"")
    if leaf.is_whole_value:
        kind = values.encode_value(row_values.kind_of(leaf.value, leaf.axis), leaf.where)
        return msgpack.ExtType(VALUE_HOLE, bytes((leaf.axis,)) + kind)
    if leaf.table is not None:
        return msgpack.ExtType(*leaf.table.hole)
    if tables.is_table(leaf.value):
        return msgpack.ExtType(FRAME_HOLE, values.encode_value(tables.kind_of(leaf.value), leaf.where))
    empty = leaf.value[(slice(None),) * leaf.axis + (slice(0, 0),)]
    # Whether objects are strings shows only where there are some.
    spec, _ = tensors.to_wire(leaf.value if _holds_objects(leaf.value) else empty, leaf.where)
    shape = tuple(0 if i == leaf.axis else size for i, size in enumerate(leaf.value.shape))
    return msgpack.ExtType(TENSOR_HOLE, bytes((leaf.axis,)) + spec._replace(shape=shape).pack())


def _holds_objects(array: Any) -> bool:
    return getattr(array.dtype, "kind", "") == "O"
