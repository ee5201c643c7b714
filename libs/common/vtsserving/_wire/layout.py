"""The receiver's side of values with a batch axis: a parsed head joins, decodes and cuts the bodies that go with it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

import numpy as np

from vtsserving._wire import arrays, row_values, tables, tensors, values
from vtsserving._wire.joined_labels import JoinedLabels
from vtsserving._wire.leaves import (
    FRAME_HOLE,
    LIST_HOLE,
    SIZE,
    TENSOR_HOLE,
    VALUE_HOLE,
    WHOLE_HOLE,
    Leaf,
    dimensions,
    sized,
    travels_as_value,
)
from vtsserving._wire.ranges import ranges
from vtsserving._wire.record_kinds import RecordKind
from vtsserving._wire.scan import check_msgpack
from vtsserving._wire.table_records import NUMBERS_HOLE, RECORDS_HOLE
from vtsserving.exceptions import BadFrame, BadTensor

Bytes = bytes | memoryview

_MAX_CACHED_BYTES: Final = 4_096
"""Longer heads are parsed each time: they hold large arguments, and 512 of those would be a leak."""


_MAX_NAME_BYTES: Final = 256
_HOLES: Final = (TENSOR_HOLE, LIST_HOLE, FRAME_HOLE, WHOLE_HOLE, VALUE_HOLE, NUMBERS_HOLE, RECORDS_HOLE)


class Placeholder(NamedTuple):
    """One batched leaf as the receiver knows it."""

    kind: int
    axis: int
    spec: tensors.Spec | None
    table: Sequence[Any] = ()
    records: RecordKind | None = None

    @property
    def of_table(self) -> list[Any] | None:
        """Names and dtypes of the tables that go there, as tables.kind_of has them; None: there are none."""
        if self.kind == FRAME_HOLE:
            return list(self.table[:3])
        if self.records is not None:
            return ["DataFrame", self.records.names, self.records.dtypes]
        if self.kind != NUMBERS_HOLE or self.spec is None:
            return None
        dtype = np.dtype(tensors.DTYPES[self.spec.dtype]).name
        return ["DataFrame", list(self.table), [dtype] * len(self.table)]

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
        if self.records is not None:
            return self.records.frame([data], [rows], None)
        if self.spec is None:
            value = values.decode_value(data)
            if not self._fits(value):
                raise BadFrame("a leaf of another type than its head says")
            found = row_values.rows(value, self.axis) if self.kind == VALUE_HOLE else len(value)
            if found != rows:
                raise BadFrame(f"a leaf has {found} rows, its entry {rows}")
            return value
        shape = tuple(rows if i == self.axis else size for i, size in enumerate(self.spec.shape))
        array = tensors.from_wire(self.spec._replace(shape=shape), data)
        return tables.of_numbers(array, self.table) if self.kind == NUMBERS_HOLE else array

    def _fits(self, value: Any) -> bool:
        if self.kind == LIST_HOLE:
            return type(value) is list
        if self.kind == VALUE_HOLE:
            if isinstance(value, list) or dimensions(value) <= self.axis or not travels_as_value(value):
                return False
            return row_values.kind_of(value, self.axis)[:1] == list(self.table)[:1]
        # Dtypes are the sender's names for them, which another version of pandas may not have.
        return tables.is_table(value) and tables.kind_of(value)[:2] == list(self.table)[:2]

    def join(self, parts: Sequence[Bytes], rows: Sequence[int], labels: JoinedLabels | None) -> Any:
        """One value of the leaves of several bodies, along the batch axis."""
        if self.records is not None:
            return self.records.frame(parts, rows, labels)
        is_of_callers = labels is not None and self.kind == FRAME_HOLE and len(parts) > 1
        found = [self.decode(part, count) for part, count in zip(parts, rows, strict=True)]
        if is_of_callers:
            return cast(JoinedLabels, labels).join(found)
        return concatenated(found, self.axis)


def concatenated(parts: list[Any], axis: int) -> Any:
    """One list, table, tensor or array of several, in the dtype that holds the values of all.

    Raises:
        TypeError: they are of different types.
        ValueError, RuntimeError: their other dimensions differ.
    """
    if len(parts) == 1:
        return parts[0]
    if all(type(part) is list for part in parts):
        return [item for part in parts for item in part]
    if all(map(tables.is_table, parts)):
        import pandas as pd

        joined = pd.concat(parts, ignore_index=True)
        if not all(map(tables.has_default_index, parts)):
            joined.index = tables.joined_index(parts)
        return joined
    if all(map(tensors.is_torch, parts)):
        import torch

        return torch.cat(parts, dim=axis)
    if not all(isinstance(part, np.ndarray) for part in parts) or any(map(arrays.is_unusual, parts)):
        if any(isinstance(part, list) or not dimensions(part) for part in parts):
            raise TypeError("they are of different types")
        return row_values.concatenated(parts, axis)
    kinds = {part.dtype.kind for part in parts}
    if "O" in kinds or kinds == {"U"}:
        return tensors.concatenate_strings(parts, axis)
    return np.concatenate(parts, axis=axis)


class Layout:
    """A parsed head: how to join, decode and cut the bodies that go with it."""

    def __init__(self, head: bytes) -> None:
        """Parse `head`; BadFrame if it is none."""
        check_msgpack(head, values.NESTED)
        self.placeholders: list[Placeholder] = []
        self.follows_rows = True
        """Of a result: whether its leaves are known to be rows, so that results of parts may be joined."""
        self._head = head
        self._fill(self._collect)
        if not self.placeholders:
            raise BadFrame("a head without a batched leaf")
        self.owns_memory = all(not placeholder.fixed for placeholder in self.placeholders)
        """Whether what is decoded shares no memory with the bodies that it came in."""
        self._contiguous = (
            len(self.placeholders) == 1 and self.placeholders[0].fixed and self.placeholders[0].axis == 0
        )
        self._row_bytes = self.placeholders[0].size(1) if self._contiguous else 0
        template = self.template()
        self._is_bare = template is Leaf
        spec = self.placeholders[0].spec
        self._tail = spec.shape[1:] if spec is not None else ()
        self._plain = self._plain_dtype() if self._is_bare and self._row_bytes else None
        # Not `==`, which would go into arrays of the template.
        self._is_one_argument = (
            type(template) is list
            and [type(item) for item in template] == [list, dict]
            and [len(item) for item in template] == [1, 0]
            and template[0][0] is Leaf
        )

    def _plain_dtype(self) -> np.dtype[Any] | None:
        """The dtype of a value that is one array of numbers, so that it is read in one step; None for all others."""
        spec = self.placeholders[0].spec
        if spec is None or spec.container != tensors.NUMPY or self.placeholders[0].kind == NUMBERS_HOLE:
            return None
        is_number = spec.dtype not in (tensors.STR, tensors.BFLOAT16, tensors.BOOL)
        return np.dtype(tensors.DTYPES[spec.dtype]) if is_number else None

    def _collect(self, code: int, data: bytes) -> Any:
        if code in (TENSOR_HOLE, WHOLE_HOLE):
            self.follows_rows = self.follows_rows and code == TENSOR_HOLE
            spec, end = tensors.unpack_spec(memoryview(data)[1:])
            if end + 1 != len(data) or data[0] >= len(spec.shape):
                raise BadTensor("a tensor hole whose axis is not one of its dimensions")
            self.placeholders.append(Placeholder(TENSOR_HOLE, data[0], spec))
        elif code == NUMBERS_HOLE:
            self.placeholders.append(_of_numbers(data))
        elif code == RECORDS_HOLE:
            records = RecordKind(values.decode_value(data))
            self.placeholders.append(Placeholder(code, 0, None, records=records))
        elif code == LIST_HOLE:
            self.placeholders.append(Placeholder(code, 0, None))
        elif code == VALUE_HOLE:
            kind = values.decode_value(data[1:])
            if not data or type(kind) is not list or not kind:
                raise BadFrame("a hole for rows of an unknown kind")
            self.placeholders.append(Placeholder(code, data[0], None, kind))
        else:
            self.placeholders.append(Placeholder(code, 0, None, _table_kind(data)))
        return None

    def _fill(self, placeholder: Callable[[int, bytes], Any]) -> Any:
        """Unpack the head anew, with `hole` called for each hole in order."""

        def extension(code: int, data: bytes) -> Any:
            if code in _HOLES:
                return placeholder(code, data)
            if code == values.TUPLE:
                return tuple(values.unpack_checked(data, extension))
            if code == values.MAPPING:
                return values.mapping_of(values.unpack_checked(data, extension))
            return values.from_extension(code, data)

        return values.unpack_checked(self._head, extension)

    def template(self) -> Any:
        """The value with the class Leaf wherever a batched leaf goes."""
        return self._fill(lambda _code, _data: Leaf)

    def join(self, bodies: Sequence[Bytes], rows: Sequence[int], labels: JoinedLabels | None = None) -> Any:
        """One value of k requests, in their order.

        Args:
            bodies: k bodies that go with this head.
            rows: their rows.
            labels: of different callers' tables; None where all bodies are one caller's.

        Returns:
            The value; each batched leaf has sum(rows) items along its axis. One leaf on axis 0 costs one copy.

        Raises:
            BadFrame, BadTensor: a body does not have the size that its rows and the head say.
            SharedLabels: as JoinedLabels.join.
        """
        if self._contiguous:
            placeholder = self.placeholders[0]
            # Each alone, or one body that is too short would shift the rows of the next.
            width = self._row_bytes
            if list(map(len, bodies)) != [count * width for count in rows]:
                raise BadFrame("a body does not have the size that its rows say")
            # Joined in memory that may be written to: a model may change its input in place.
            if self._plain is not None and len(bodies) == 1 and bodies[0]:
                array = np.frombuffer(bodies[0], self._plain)
                return array.reshape(rows[0], *self._tail) if self._tail else array
            data = bodies[0] if len(bodies) == 1 else memoryview(bytearray().join(bodies))
            value = placeholder.decode(data, sum(rows))
            if self._is_bare:
                return value
            if self._is_one_argument:
                return [[value], {}]
            joined = iter([value])
        else:
            parts = [self._leaves(body, count) for body, count in zip(bodies, rows, strict=True)]
            joined = iter(
                placeholder.join([part[i] for part in parts], rows, labels)
                for i, placeholder in enumerate(self.placeholders)
            )
        return self._fill(lambda _code, _data: next(joined))

    def _leaves(self, body: Bytes, rows: int) -> list[memoryview]:
        view, position, leaves = memoryview(body), 0, []
        for placeholder in self.placeholders:
            if placeholder.fixed:
                size = placeholder.size(rows)
            else:
                if position + SIZE.size > len(view):
                    raise BadFrame("truncated body")
                (size,) = SIZE.unpack_from(view, position)
                position += SIZE.size
            if position + size > len(view):
                raise BadFrame("truncated body")
            leaves.append(view[position : position + size])
            position += size
        if position != len(view):
            raise BadFrame(f"{len(view) - position} bytes after the body")
        return leaves

    def cut(self, body: Bytes, rows: int, counts: Sequence[int]) -> Iterator[bytes]:
        """Bodies of consecutive row ranges, for a request that is too large for one batch.

        Args:
            body: goes with this head.
            rows: its rows.
            counts: rows of the parts; sum(counts) == rows.

        Yields:
            One body per part.

        Raises:
            BadFrame, BadTensor: the body does not have the size that its rows and the head say.
        """
        slicers = [
            _slicer(placeholder, leaf, rows)
            for placeholder, leaf in zip(self.placeholders, self._leaves(body, rows), strict=True)
        ]
        for start, stop in ranges(counts):
            yield b"".join([slicer(start, stop) for slicer in slicers])


def _of_numbers(data: bytes) -> Placeholder:
    """A hole for tables of numbers: a spec [0, columns], and the columns' names."""
    spec, end = tensors.unpack_spec(memoryview(data))
    names = values.decode_value(data[end:])
    is_plain = spec.container == tensors.NUMPY and spec.dtype not in (tensors.STR, tensors.BFLOAT16)
    if not is_plain or type(names) is not list or spec.shape != (0, len(names)) or not names:
        raise BadFrame("a hole for a table of numbers that says something else")
    if any(type(name) is not str for name in names):
        raise BadFrame("a table of numbers whose names are not texts")
    return Placeholder(NUMBERS_HOLE, 0, spec, names)


def _table_kind(data: bytes) -> list[Any]:
    """What a hole says of the tables that go there: see tables.kind_of."""
    kind = values.decode_value(data)
    if type(kind) is not list or len(kind) not in (3, 5) or kind[0] not in ("DataFrame", "Series"):
        raise BadFrame("a hole for a table of an unknown kind")
    return kind


def _slicer(placeholder: Placeholder, data: memoryview, rows: int) -> Callable[[int, int], bytes]:
    """What gives the bytes of some rows of a leaf; tensors are cut as bytes, whatever their dtype or container."""
    if placeholder.records is not None:
        slicer = placeholder.records.slicer(data, rows)
        return lambda start, stop: sized(slicer(start, stop))
    if not placeholder.fixed:
        return Leaf(placeholder.decode(data, rows), placeholder.axis, "value").part
    spec = cast(tensors.Spec, placeholder.spec)
    if placeholder.axis == 0:
        width = len(data) // rows
        return lambda start, stop: bytes(data[start * width : stop * width])
    outer = math.prod(spec.shape[: placeholder.axis])
    inner_bytes = math.prod(spec.shape[placeholder.axis + 1 :]) * tensors.ITEM_BYTES[spec.dtype]
    if not outer * inner_bytes:
        return lambda start, stop: b""
    array = np.frombuffer(data, np.uint8).reshape(outer, rows, inner_bytes)
    return lambda start, stop: array[:, start:stop].tobytes()


@lru_cache(maxsize=512)
def table_dtypes(head: bytes) -> bytes | None:
    """The names and dtypes of all tables in a value, as bytes; None if there is none.

    Args:
        head: of the value.
    """
    kinds = [one.of_table for one in layout(head).placeholders if one.of_table is not None]
    return values.encode_value(kinds) if kinds else None


def short_name(head: bytes) -> bytes:
    """A head as what is remembered of it: itself, or a digest of one that holds large arguments."""
    return head if len(head) <= _MAX_NAME_BYTES else hashlib.sha256(head).digest()


def layout(head: bytes) -> Layout:
    """The parsed head.

    Args:
        head: of a packed value. Short ones are cached, since callers of one method share few of them.

    Raises:
        BadFrame, BadTensor, TooDeep: it is none.
    """
    return _cached(head) if len(head) <= _MAX_CACHED_BYTES else Layout(head)


_cached = lru_cache(maxsize=512)(Layout)
