"""The kinds of tables that travel as records, see table_records, and the DataFrames of their bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

import msgpack
import numpy as np

from vtsserving._wire import tables, values
from vtsserving._wire.joined_labels import JoinedLabels
from vtsserving._wire.limits import MAX_ROWS
from vtsserving._wire.table_columns import TIMES, unpack_column
from vtsserving._wire.tensors import NATIVE
from vtsserving.exceptions import BadFrame

Bytes = bytes | memoryview

LISTED: Final = ("object", "str", "string")
NUMBERS: Final = {np.dtype(text).name: np.dtype(text) for text in NATIVE}
NAME_OF: Final = {dtype.str: name for name, dtype in NUMBERS.items()}
MASKED: Final = {
    **{f"{kind}{bits}": np.dtype(f"{kind}{bits}".lower()) for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)},
    "Float32": np.dtype("f4"),
    "Float64": np.dtype("f8"),
    "boolean": np.dtype("?"),
}  # fmt: skip
CODE: Final = np.dtype("<i4")
_TEXTS: Final[frozenset[type]] = frozenset((str, type(None)))

NAMES: Final = ({str}, {int})


class RecordKind:
    """The tables that go into a hole of records.

    Attributes:
        names: of the columns.
        dtypes: names of their dtypes, as tables.kind_of has them.
    """

    def __init__(self, kind: Any) -> None:
        """Read what a hole says.

        Raises:
            BadFrame: it says something else.
        """
        is_kind = type(kind) is list and list(map(type, kind[:2])) == [list, list] and len(kind) == 3
        if not is_kind or len(kind[0]) != len(kind[1]) or set(map(type, kind[0])) not in NAMES:
            raise BadFrame("a hole for records of an unknown kind")
        self.names, columns, labels = kind
        if labels is not None and (
            type(labels) is not list or len(labels) != 2 or not is_plain_label(labels[1])
        ):
            raise BadFrame("a hole for records with labels of an unknown kind")
        self._readers = [_reader(column) for column in columns]
        self.dtypes = [_name_of(column) for column in columns]
        self._labels = None if labels is None else (_reader(labels[0]), labels[1])
        self._all = [*self._readers, *([self._labels[0]] if self._labels is not None else [])]
        self._record = record_dtype(tuple([dtype for reader in self._all for dtype in reader.fields]))
        self._lists = sum(reader.is_listed for reader in self._all)

    def frame(self, parts: Sequence[Bytes], counts: Sequence[int], labels: JoinedLabels | None) -> Any:
        """The DataFrame of several bodies, whose memory is its own.

        Args:
            parts: bytes of rows.
            counts: of each of them.
            labels: settles whose label is whose where several callers' tables are joined.

        Raises:
            BadFrame: a part is not what the head and its rows say.
            MissingDependency: pandas is not installed here.
            SharedLabels: as JoinedLabels.settled.
        """
        pd = tables.pandas_for("a table")
        data, lists = self._split(parts, counts)
        rows = sum(counts)
        if rows >= MAX_ROWS:
            raise BadFrame("a table of too many rows")
        try:
            found = list(self._columns(data, lists))
            index = None
            if self._labels is not None:
                own = found.pop()
                index = pd.Index(own, dtype=own.dtype, name=self._labels[1], tupleize_cols=False)
                index = index if labels is None or len(parts) == 1 else labels.settled(index, counts)
            # The dtype of objects is said, or pandas would guess another one from the items.
            made = pd.DataFrame(
                {i: pd.Series(one, index=index, dtype=one.dtype) if one.dtype == object else one
                 for i, one in enumerate(found)},
                index=index if index is not None else pd.RangeIndex(rows),
                copy=False,
            )  # fmt: skip
            made.columns = self._headings
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            raise BadFrame(f"unreadable table: {type(error).__name__}") from error
        return made

    @cached_property
    def _headings(self) -> Any:
        return sys.modules["pandas"].Index(self.names)

    def _split(self, parts: Sequence[Bytes], counts: Sequence[int]) -> tuple[Any, list[list[Any]]]:
        """The records of all parts, and the columns of values that follow them."""
        width, data = self._record.itemsize, bytearray()
        lists: list[list[Any]] = [[] for _ in range(self._lists)]
        for part, count in zip(parts, counts, strict=True):
            fixed, listed = self._halves(part, count)
            data += fixed
            for column, items in zip(lists, listed, strict=True):
                column.extend(items)
        return (np.frombuffer(data, self._record) if width else None), lists

    def _halves(self, part: Bytes, count: int) -> tuple[Bytes, list[list[Any]]]:
        size = count * self._record.itemsize
        if len(part) < size or (not self._lists and len(part) != size):
            raise BadFrame(f"records of another size than their rows say, {count}")
        listed = values.decode_value(part[size:]) if self._lists else []
        if type(listed) is not list or len(listed) != self._lists:
            raise BadFrame("records with another number of lists")
        if any(type(items) is not list or len(items) != count for items in listed):
            raise BadFrame(f"values beside records of another number than their rows say, {count}")
        return part[:size], listed

    def _columns(self, data: Any, lists: list[list[Any]]) -> Any:
        following, at = iter(lists), 0
        for reader in self._all:
            if reader.is_listed:
                yield reader.read(next(following))
            else:
                end = at + len(reader.fields)
                yield reader.read(*(data[f"f{i}"] for i in range(at, end)))
                at = end

    def slicer(self, part: Bytes, rows: int) -> Callable[[int, int], bytes]:
        """A function that gives the bytes of some rows of a body; BadFrame if it is none."""
        fixed, listed = self._halves(part, rows)
        width = self._record.itemsize

        def cut(start: int, stop: int) -> bytes:
            data = bytes(fixed[start * width : stop * width])
            packed = [pack_items(items[start:stop], "records") for items in listed]
            return data + array_of(packed, "records") if packed else data

        return cut


class _Reader(NamedTuple):
    """How a column is read: from fields of the record, or from the list that follows."""

    fields: tuple[np.dtype[Any], ...]
    read: Callable[..., Any]
    is_listed: bool = False


def _name_of(column: Any) -> str:
    return str(column[1]) if type(column) is list else str(column)


def _reader(column: Any) -> _Reader:
    if type(column) is list:
        return _category_reader(column)
    if type(column) is not str:
        raise BadFrame("a column of records without the name of a dtype")
    if column in LISTED:
        kind = "list" if column == "object" else column
        return _Reader((), lambda items: unpack_column([kind, items]), is_listed=True)
    if column in NUMBERS:
        dtype = NUMBERS[column]
        return _Reader((_stored(dtype),), _flags if dtype.kind == "b" else np.array)
    if column in MASKED:
        dtype = MASKED[column]
        read = _flags if dtype.kind == "b" else np.array
        return _Reader(
            (_stored(dtype), np.dtype("u1")),
            lambda data, missing: unpack_column(["masked", [read(data), _flags(missing)]]),
        )
    if TIMES.fullmatch(column):
        return _Reader((np.dtype("<i8"),), lambda data: np.array(data).view(column))
    raise BadFrame("a column of records of an unknown dtype")


def _stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """As it lies in a record: a bool is a byte, which may hold anything until it was looked at."""
    return np.dtype("u1") if dtype.kind == "b" else dtype


def _flags(data: Any) -> Any:
    return data != 0


def _category_reader(column: list[Any]) -> _Reader:
    if len(column) != 4 or column[0] != "category" or type(column[1]) is not str:
        raise BadFrame("a column of records of an unknown dtype")
    _, _, categories, ordered = column
    dtype: Any = None

    def read(codes: Any) -> Any:
        nonlocal dtype
        pandas = sys.modules["pandas"]
        if dtype is None:
            found = unpack_column(categories)
            dtype = pandas.CategoricalDtype(pandas.Index(found, dtype=found.dtype), ordered=ordered is True)
        return pandas.Categorical.from_codes(np.array(codes), dtype=dtype)

    return _Reader((CODE,), read)


def is_plain_label(name: Any) -> bool:
    """Whether labels under this name may travel beside records."""
    return name is None or type(name) in (str, int)


@lru_cache(maxsize=512)
def record_dtype(fields: tuple[np.dtype[Any], ...]) -> np.dtype[Any]:
    """The dtype of a record, packed."""
    return np.dtype([(f"f{i}", dtype) for i, dtype in enumerate(fields)])


def pack_items(items: list[Any], where: str) -> bytes:
    """The values of one list beside records.

    Raises:
        UnsupportedValue: one cannot be sent; names `where`.
    """
    if _TEXTS.issuperset(map(type, items)):
        try:
            return bytes(msgpack.packb(items))
        except ValueError:  # half of a surrogate pair: the error below names the column
            pass
    # In a list, as deep as it will lie, whose first byte is left out.
    return values.encode_value([items], where)[1:]


def array_of(packed: Sequence[bytes], where: str) -> bytes:
    """The msgpack array of packed lists; UnsupportedValue if a receiver would refuse it."""
    whole = bytes(msgpack.Packer().pack_array_header(len(packed))) + b"".join(packed)
    return values.check_packed(whole, where)
