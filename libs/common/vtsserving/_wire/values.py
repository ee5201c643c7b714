"""Values: what a method takes and returns, as data. Encoded whole, self-describing, with explicit limits.

msgpack carries None, bool, int, float, str, bytes, list and dict with str, int or bool keys; everything else is an
extension:

    1 tensor     see wire/tensors.py
    2 tuple      msgpack array
    3 DataFrame  msgpack array, see wire/tables.py
    4 Series     msgpack array, see wire/tables.py
    5 image      msgpack array, see wire/images.py
    6 to 11      dates, times, durations, decimals, UUIDs, see wire/scalars.py
    12 sparse    msgpack array, see wire/sparse.py
    13 mapping   msgpack array of keys and values in turn: a dict with other keys
    14 Arrow     msgpack array, see wire/arrow_data.py
    15 pandas    msgpack array, see wire/pandas_values.py
    21 array     msgpack array, see wire/arrays.py

What a sender may send is exactly what a receiver takes: both sides have the same limits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import msgpack
import numpy as np

from vtsserving._wire import arrays, arrow_data, images, pandas_values, scalars, sparse, tables, tensors
from vtsserving._wire.arrays import ARRAY
from vtsserving._wire.arrow_data import ARROW
from vtsserving._wire.iterators import is_iterator, listed
from vtsserving._wire.limits import MAX_TABLE_DEPTH, MAX_VALUE_DEPTH, MAX_VALUE_NODES
from vtsserving._wire.pandas_values import PANDAS
from vtsserving._wire.scan import check_msgpack
from vtsserving._wire.sparse import SPARSE
from vtsserving._wire.uniform_lists import ListTensor
from vtsserving.exceptions import BadFrame, TooDeep, UnsupportedValue, VtsServingException

TENSOR: Final = 1
TUPLE: Final = 2
DATAFRAME: Final = 3
SERIES: Final = 4
IMAGE: Final = 5
MAPPING: Final = 13

KEYS: Final = frozenset((str, int, bool))
"""Types of the keys of a msgpack map."""

NESTED: Final = frozenset((TUPLE, DATAFRAME, SERIES, IMAGE, SPARSE, MAPPING, ARROW, PANDAS, ARRAY))
"""Extensions whose data is a msgpack array again, which the limits look into."""


class OtherKeys(list[Any]):
    """The keys and values, in turn, of a dict that is being packed and has keys that a msgpack map cannot have."""


class OtherKeysFound(Exception):
    """A value has a dict with keys that a msgpack map cannot have."""


def encode_value(value: Any, where: str = "value") -> bytes:
    """Encode any supported value.

    Args:
        value: see the module's list; subclasses of dict and list count as dict and list, keys that are texts or whole
            numbers of numpy as Python's.
        where: how an error names the value, for example "argument 1".

    Returns:
        msgpack bytes.

    Raises:
        UnsupportedValue: a type, dtype or dict key that cannot be sent, or too many objects; the message names
            `where`.
        TooDeep: nested deeper than 32 levels.
    """
    value, deepest = packable(value, where)
    return check_packed(pack(value, where), where, deepest)


def packable(value: Any, where: str) -> tuple[Any, int]:
    """The value as `pack` takes it, and the level of its deepest container; raises as `encode_value`."""
    try:
        return value, check_plain(value, where)
    except OtherKeysFound:
        value = _with_plain_keys(value, where, 1)
        return value, check_plain(value, where)


def _with_plain_keys(value: Any, where: str, depth: int) -> Any:
    """The same value with the keys of its dicts as msgpack has them, or as OtherKeys."""
    if depth > MAX_VALUE_DEPTH:
        raise TooDeep(f"{where} is nested deeper than {MAX_VALUE_DEPTH} levels")
    if sparse.is_mapping(value):
        items = {_plain_key(key): _with_plain_keys(item, where, depth + 1) for key, item in value.items()}
        if all(type(key) in KEYS for key in items):
            return items
        for key in items:
            if not hasattr(key, "dtype") and isinstance(key, (frozenset, range)):
                raise UnsupportedValue(f"{where} is a dict with a key of type {type(key).__name__}")
        return OtherKeys(part for pair in items.items() for part in pair)
    if isinstance(value, (list, tuple)):
        listed_items = [_with_plain_keys(item, where, depth + 1) for item in value]
        return listed_items if isinstance(value, list) else tuple(listed_items)
    return value


def _plain_key(key: Any) -> Any:
    """A text or whole number of numpy, or of a subclass, as Python's own."""
    if type(key) in KEYS:
        return key
    if isinstance(key, str):
        return str.__str__(key)
    if isinstance(key, np.bool_):
        return bool(key)
    return int(key) if isinstance(key, (int, np.integer)) else key


def pack(value: Any, where: str, extension: Callable[[Any], Any] | None = None) -> bytes:
    """Like encode_value, for a value whose containers were checked already.

    Args:
        value: what to encode.
        where: how an error names it.
        extension: gives the extension of a node that msgpack does not know; `to_extension` if there is none.
    """
    try:
        packed: bytes = msgpack.packb(
            value, default=extension or (lambda node: to_extension(node, where)), strict_types=True
        )
    except VtsServingException:
        raise
    except (ValueError, OverflowError, TypeError) as error:
        raise UnsupportedValue(f"{where} cannot be sent: {error}") from error
    return packed


def check_plain(value: Any, where: str, depth: int = 1) -> int:
    """Refuse what msgpack would take and the receiver not: deep nesting.

    Returns:
        The level of the deepest container.

    Raises:
        OtherKeysFound: a dict has keys of other types than a msgpack map may have.
    """
    if depth > MAX_VALUE_DEPTH:
        raise TooDeep(f"{where} is nested deeper than {MAX_VALUE_DEPTH} levels")
    deepest = depth
    if type(value) is dict or sparse.is_mapping(value):
        for key in value:
            if type(key) is not str and type(key) not in KEYS:
                raise OtherKeysFound
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return depth
    for item in value:
        if isinstance(item, (list, tuple, dict)):
            deepest = max(deepest, check_plain(item, where, depth + 1))
    return deepest


def check_packed(packed: bytes, where: str, deepest: int = 0) -> bytes:
    """Refuse what the receiver would refuse as too large, and look only where that is possible at all.

    Args:
        packed: a value that is about to be sent.
        where: how an error names it.
        deepest: of `check_plain`, which does not look into tables.

    Returns:
        `packed`.
    """
    if len(packed) > MAX_VALUE_NODES or deepest > MAX_VALUE_DEPTH - MAX_TABLE_DEPTH:
        try:
            check_msgpack(packed, NESTED)
        except BadFrame as error:
            raise UnsupportedValue(
                f"{where} holds more than {MAX_VALUE_NODES} objects; send an array instead of lists"
            ) from error
    return packed


def decode_value(data: bytes | memoryview) -> Any:
    """Decode what encode_value made.

    Args:
        data: one msgpack value.

    Returns:
        The value; arrays are read-only.

    Raises:
        BadFrame, BadTensor: malformed. TooDeep: over the limits of wire/limits.py.
    """
    check_msgpack(data, NESTED)
    return unpack_checked(data)


def decode_held(data: bytes | memoryview) -> Any:
    """Like `decode_value`, with tensors of torch as tensors.HeldTensor: torch is not needed, nor imported."""
    check_msgpack(data, NESTED)
    return unpack_checked(data, _held_extension)


def _held_extension(code: int, data: bytes) -> Any:
    if code == TENSOR:
        view = memoryview(data)
        spec, end = tensors.unpack_spec(view)
        return tensors.held_from_wire(spec, view[end:])
    if code == TUPLE:
        return tuple(unpack_checked(data, _held_extension))
    if code == MAPPING:
        return mapping_of(unpack_checked(data, _held_extension))
    return from_extension(code, data)


def unpack_checked(data: bytes | memoryview, ext_hook: Any = None) -> Any:
    """Unpack msgpack whose size and depth were checked already; see decode_value."""
    size = len(data)
    try:
        return msgpack.unpackb(
            data,
            ext_hook=ext_hook or from_extension,
            object_pairs_hook=_unique,
            strict_map_key=False,
            max_str_len=size,
            max_bin_len=size,
            max_array_len=size,
            max_map_len=size,
            max_ext_len=size,
        )
    except VtsServingException:
        raise
    except (
        ValueError,
        TypeError,
        LookupError,
        OverflowError,
        RecursionError,
        msgpack.UnpackException,
    ) as error:
        raise BadFrame(f"unreadable value: {type(error).__name__}") from error


def _unique(pairs: list[tuple[Any, Any]]) -> dict[str | int, Any]:
    result = dict(pairs)
    if len(result) != len(pairs) or not KEYS.issuperset(map(type, result)):
        raise BadFrame("a map has duplicate keys, or keys that are not str, int or bool")
    return result


def to_extension(node: Any, where: str) -> Any:
    """The extension of a node that msgpack does not know, or a plain equivalent (subclasses of dict, list, str...)."""
    if isinstance(node, np.bytes_):
        return bytes(node)
    if isinstance(node, (np.ndarray, np.generic)) or tensors.is_torch(node):
        if not tensors.is_torch(node) and arrays.is_unusual(node):
            return _nested(ARRAY, arrays.fields_of(node, where), where)
        spec, data = tensors.to_wire(node, where)
        return msgpack.ExtType(TENSOR, spec.pack() + (data if isinstance(data, bytes) else data.tobytes()))
    if sparse.is_sparse(node):
        return msgpack.ExtType(SPARSE, pack(sparse.fields_of(node, where), where))
    if isinstance(node, tuple):
        return msgpack.ExtType(TUPLE, pack(list(node), where))
    if type(node) is OtherKeys:
        return msgpack.ExtType(MAPPING, pack(list(node), where))
    if type(node) is ListTensor:
        return msgpack.ExtType(TENSOR, node.pack())
    for plain in (dict, list, str, bool, int, float, bytes):
        if isinstance(node, plain):
            return cast(Any, plain)(node)
    if isinstance(node, (bytearray, memoryview)):
        return bytes(node)
    if isinstance(node, complex):
        return to_extension(np.complex128(node), where)
    if scalars.is_scalar(node):
        return msgpack.ExtType(*scalars.pack(node, where))
    if is_iterator(node):
        return packable(listed(node), where)[0]
    return _table_or_image(node, where)


def _table_or_image(node: Any, where: str) -> Any:
    if tables.is_table(node):
        fields = tables.fields_of(node, where)
        # One level more than nests outside of tables, so that a table fits wherever `check_packed` looks away.
        fields, _ = packable(fields, where)
        check_plain(fields, where, MAX_VALUE_DEPTH - MAX_TABLE_DEPTH + 1)
        packed = pack(fields, where)
        check_msgpack(packed, NESTED, max_depth=MAX_TABLE_DEPTH)
        return msgpack.ExtType(SERIES if tables.is_series(node) else DATAFRAME, packed)
    if images.is_image(node):
        return msgpack.ExtType(IMAGE, pack(images.fields_of(node, where), where))
    if pandas_values.is_scalar(node) or pandas_values.is_list(node):
        return _nested(PANDAS, pandas_values.fields_of(node, where), where)
    if arrow_data.class_of(node):
        return msgpack.ExtType(ARROW, pack(arrow_data.fields_of(node, where), where))
    raise UnsupportedValue(
        f"{where} has type {type(node).__module__}.{type(node).__qualname__}, which cannot be sent; send arrays, "
        "tensors, DataFrames, images, sparse matrices, dates, or lists, dicts and tuples of these"
    )


def _nested(code: int, fields: list[Any], where: str) -> msgpack.ExtType:
    """An extension whose fields may hold any values again."""
    fields, deepest = packable(fields, where)
    return msgpack.ExtType(code, check_packed(pack(fields, where), where, deepest))


def mapping_of(fields: list[Any]) -> dict[Any, Any]:
    """The dict of keys and values in turn; BadFrame if there is none."""
    keys = fields[::2]
    try:
        found = dict(zip(keys, fields[1::2], strict=True))
    except (TypeError, ValueError) as error:
        raise BadFrame("a mapping with a key that cannot be one, or without its value") from error
    if len(found) != len(keys):
        raise BadFrame("a mapping has a key twice")
    return found


def from_extension(code: int, data: bytes) -> Any:
    """The value of an extension; BadFrame for a code that is not known."""
    if code == TENSOR:
        view = memoryview(data)
        spec, end = tensors.unpack_spec(view)
        return tensors.from_wire(spec, view[end:])
    if code in scalars.CODES:
        return scalars.unpack(code, data)
    if code not in NESTED:
        raise BadFrame(f"unknown extension {code}")
    fields = unpack_checked(data)
    if type(fields) is not list:
        raise BadFrame(f"extension {code} holds no array")
    if code == TUPLE:
        return tuple(fields)
    read = _NESTED_READERS.get(code)
    return tables.decode(fields, series=code == SERIES) if read is None else read(fields)


_NESTED_READERS: Final[dict[int, Callable[[list[Any]], Any]]] = {
    SPARSE: sparse.decode,
    IMAGE: images.decode,
    MAPPING: mapping_of,
    ARROW: arrow_data.decode,
    PANDAS: pandas_values.decode,
    ARRAY: arrays.decode,
}
