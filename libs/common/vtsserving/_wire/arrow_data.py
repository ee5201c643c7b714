"""Arrow data as values: tables and columns of pyarrow and polars, as an Arrow stream.

    arrow = [class, name, bytes of the stream]

A stream is looked through before any library reads it: one that is compressed would be small on the wire and large in
memory, and one of Arrow's types holds a pickle.
"""

from __future__ import annotations

import io
import struct
import sys
from collections.abc import Callable
from typing import Any, Final

from vtsserving.exceptions import BadFrame, MissingDependency, UnsupportedValue

ARROW: Final = 14

_CONTINUED: Final = 0xFFFFFFFF
_PICKLED: Final = b"arrow.py_extension_type"
_DICTIONARY_BATCH: Final = 2
_RECORD_BATCH: Final = 3

_COMPRESSION_SLOT: Final = 3
"""Of a record batch's fields: its length, nodes, buffers, compression."""

# --- telling ----------------------------------------------------------------------------------------------------------

_PYARROW: Final = ("Table", "RecordBatch", "ChunkedArray", "Array")
_POLARS: Final = ("DataFrame", "Series")


def class_of(value: Any) -> str:
    """The class of a value of pyarrow or polars, such as `pyarrow.Table`; empty for all others; imports neither."""
    pyarrow, polars = sys.modules.get("pyarrow"), sys.modules.get("polars")
    if pyarrow is not None:
        for name in _PYARROW:
            if isinstance(value, getattr(pyarrow, name)):
                return f"pyarrow.{name}"
    if polars is not None:
        for name in _POLARS:
            if isinstance(value, getattr(polars, name)):
                return f"polars.{name}"
    return ""


def kind_of(value: Any) -> list[Any]:
    """The part that such values must have in common to be rows of one: class, names, types."""
    name = class_of(value)
    if name in ("pyarrow.Table", "pyarrow.RecordBatch"):
        return [name, str(value.schema)]
    if name == "polars.DataFrame":
        return [name, [[column, str(dtype)] for column, dtype in value.schema.items()]]
    return [name, str(value.dtype if name == "polars.Series" else value.type), getattr(value, "name", "")]


# --- rows -------------------------------------------------------------------------------------------------------------


def cut(value: Any, start: int, stop: int) -> Any:
    """Rows [start, stop)."""
    return value.slice(start, stop - start)


def concatenated(parts: list[Any]) -> Any:
    """One value of several of equal kind.

    Raises:
        TypeError, ValueError: they are not.
    """
    kinds = [kind_of(part) for part in parts]
    if any(kind != kinds[0] for kind in kinds):
        raise TypeError("they are of different types")
    name = kinds[0][0]
    if name.startswith("polars"):
        import polars

        return polars.concat(parts)
    import pyarrow as pa

    if name == "pyarrow.Table":
        return pa.concat_tables(parts)
    if name == "pyarrow.RecordBatch":
        return pa.Table.from_batches(parts).combine_chunks().to_batches()[0]
    if name == "pyarrow.ChunkedArray":
        return pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)
    return pa.concat_arrays(parts)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values of one class hold the same; NaN is the same as NaN."""
    if kind_of(one) != kind_of(other) or len(one) != len(other):
        return False
    if class_of(one).startswith("polars"):
        return bool(one.equals(other))
    first, second = _columns(one), _columns(other)
    return all(a.to_pylist() == b.to_pylist() or a.equals(b) for a, b in zip(first, second, strict=True))


def _columns(value: Any) -> list[Any]:
    return list(value.columns) if hasattr(value, "columns") else [value]


# --- writing ----------------------------------------------------------------------------------------------------------


def fields_of(value: Any, where: str) -> list[Any]:
    """The fields that travel; see the module.

    Args:
        value: of a class that `class_of` names.
        where: how to name it in an error.

    Raises:
        UnsupportedValue: a type that Arrow streams do not carry.
    """
    name = class_of(value)
    if name.startswith("polars"):
        frame = value if name == "polars.DataFrame" else value.to_frame()
        return [name, "", _written(lambda: _polars_stream(frame), where)]
    import pyarrow as pa

    if name == "pyarrow.RecordBatch":
        value = pa.Table.from_batches([value])
    elif name != "pyarrow.Table":
        value = pa.table({"": value})
    return [name, "", write_stream(value, where)]


def write_stream(table: Any, where: str) -> bytes:
    """An Arrow stream of a table of pyarrow; of views, only what they show.

    Raises:
        UnsupportedValue: a type that Arrow streams do not carry.
    """
    return _written(lambda: stream_of(table), where)


def stream_of(table: Any) -> bytes:
    """An Arrow stream of a table of pyarrow; raises what pyarrow raises."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _polars_stream(frame: Any) -> bytes:
    file = io.BytesIO()
    frame.write_ipc_stream(file, compression="uncompressed")
    return file.getvalue()


def _written(write: Callable[[], bytes], where: str) -> bytes:
    try:
        return write()
    except Exception as error:  # each library has errors of its own for types that it cannot write
        raise UnsupportedValue(f"{where} cannot be sent as Arrow data: {error}") from error


# --- reading ----------------------------------------------------------------------------------------------------------


def decode(fields: list[Any]) -> Any:
    """The value of what travelled.

    Raises:
        BadFrame: it is none, or compressed.
        MissingDependency: its library is not installed here.
    """
    if len(fields) != 3 or any(
        type(one) is not kind for one, kind in zip(fields, (str, str, bytes), strict=True)
    ):
        raise BadFrame("Arrow data is [class, name, stream]")
    name, _, stream = fields
    library, _, kind = name.partition(".")
    if (library == "polars" and kind in _POLARS) or (library == "pyarrow" and kind in _PYARROW):
        return _read_polars(kind, stream) if library == "polars" else _read_pyarrow(kind, stream)
    raise BadFrame("Arrow data of an unknown class")


def _read_polars(kind: str, stream: bytes) -> Any:
    try:
        import polars
    except ImportError as error:
        raise MissingDependency(
            "a polars table was received, but polars is missing: pip install polars"
        ) from error
    check_stream(stream)
    try:
        frame = polars.read_ipc_stream(io.BytesIO(stream), use_pyarrow=False)
        return frame if kind == "DataFrame" else frame.to_series()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # polars has a tree of errors of its own, and one that is not an Exception
        raise BadFrame(f"unreadable Arrow data: {type(error).__name__}") from error


def _read_pyarrow(kind: str, stream: bytes) -> Any:
    table = read_stream(stream)
    if kind == "Table":
        return table
    if kind == "RecordBatch":
        batches = table.combine_chunks().to_batches()
        if batches:
            return batches[0]
        import pyarrow as pa

        return pa.RecordBatch.from_pylist([], schema=table.schema)
    if table.num_columns != 1:
        raise BadFrame("Arrow data of several columns for one")
    return table.column(0) if kind == "ChunkedArray" else table.column(0).combine_chunks()


def read_stream(stream: Any) -> Any:
    """The table of an Arrow stream, validated in full.

    Raises:
        BadFrame: it is none, or compressed.
        MissingDependency: pyarrow is not installed here.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingDependency(
            "Arrow data was received, but pyarrow is missing: pip install pyarrow"
        ) from error
    if not isinstance(stream, bytes):
        raise BadFrame("Arrow data that is not bytes")
    check_stream(stream)
    try:
        with pa.ipc.open_stream(pa.py_buffer(stream)) as reader:
            table = reader.read_all()
        # Offsets that lead beyond their buffers are not looked at before they are used.
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise BadFrame(f"unreadable Arrow data: {type(error).__name__}") from error
    return table


def check_stream(stream: bytes) -> None:
    """Refuse an Arrow stream that would take more memory than its bytes, or that holds a pickle.

    Raises:
        BadFrame: it is compressed, pickled, or cut short.
    """
    position = 0
    try:
        while position < len(stream):
            (size,) = struct.unpack_from("<I", stream, position)
            position += 4
            if size == _CONTINUED:
                (size,) = struct.unpack_from("<I", stream, position)
                position += 4
            if size == 0:
                return
            message = stream[position : position + size]
            if _PICKLED in message:
                raise BadFrame("Arrow data with a pickle in it")
            position += size + _checked_body_bytes(message)
    except (struct.error, IndexError) as error:
        raise BadFrame("unreadable Arrow data") from error
    if position != len(stream):
        raise BadFrame("Arrow data that is cut short")


def _checked_body_bytes(message: bytes) -> int:
    """The bytes that follow a message, counted; BadFrame if they are compressed."""
    root = struct.unpack_from("<I", message)[0]
    kind_at, header_at, body_at = (_field(message, root, slot) for slot in (1, 2, 3))
    kind = message[kind_at] if kind_at else 0
    body_bytes = struct.unpack_from("<q", message, body_at)[0] if body_at else 0
    if body_bytes < 0:
        raise BadFrame("Arrow data of a negative size")
    if kind in (_DICTIONARY_BATCH, _RECORD_BATCH):
        batch = _table_at(message, header_at)
        if kind == _DICTIONARY_BATCH:
            batch = _table_at(message, _field(message, batch, 1))
        if _field(message, batch, _COMPRESSION_SLOT):
            raise BadFrame("Arrow data that is compressed, which is not read here")
    return int(body_bytes)


def _table_at(message: bytes, position: int) -> int:
    if not position:
        raise BadFrame("Arrow data without a header")
    return position + int(struct.unpack_from("<I", message, position)[0])


def _field(message: bytes, table: int, slot: int) -> int:
    """Where a field of a flatbuffer's table lies; 0 if it has none."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    if vtable < 0:
        raise BadFrame("unreadable Arrow data")
    (size,) = struct.unpack_from("<H", message, vtable)
    entry = 4 + 2 * slot
    if entry + 2 > size:
        return 0
    offset = struct.unpack_from("<H", message, vtable + entry)[0]
    return table + int(offset) if offset else 0
