"""Tables in Arrow streams and Parquet files, read within bounds: their sizes are known before memory is spent.

A few bytes may mean a table of any size: compressed pages, dictionaries, runs, columns of nothing. So each size that a
header claims is checked before it is believed, and offsets and indices before they are followed. Nothing that a file
names is opened, and no type is made of a pickle.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

from vtsserving._codecs.columns import EXACT, pandas_module
from vtsserving._codecs.ipc_message import sizes_of_message
from vtsserving._codecs.parquet_sizes import check_parquet
from vtsserving._codecs.table_limits import (
    MAX_TABLE_BYTES,
    MAX_TABLE_CELLS,
    MAX_TABLE_COLUMNS,
    MAX_TABLE_NESTING,
)
from vtsserving.exceptions import BadDtype, BadInput, EmptyBody, TooDeep, TooLarge, VtsServingException

BATCH_ROWS: Final = 16_384
"""Rows of a Parquet file that are read at a time, so that what they take is seen early."""

MAX_FIXED_BYTES: Final = 1_024
MAX_BATCHES: Final = 65_536
EXTENSION_NAME: Final = b"ARROW:extension:name"
KNOWN_EXTENSIONS: Final = (
    "pandas.period",
    "pandas.interval",
    "arrow.uuid",
    "arrow.json",
    "arrow.bool8",
    "arrow.opaque",
)
"""Types whose metadata is plain text."""

_MALFORMED: Final = (
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    ArithmeticError,
    OSError,
    RuntimeError,
)
"""Errors of pyarrow and pandas for a damaged body; pyarrow's own are among these."""


def read_arrow(body: bytes | bytearray) -> Any:
    """The table of an Arrow stream, as a DataFrame.

    Args:
        body: one stream, of any number of batches.

    Returns:
        A DataFrame; whole numbers beside a missing value keep every digit.

    Raises:
        BadInput: it is no such stream. BadDtype: a type that is not taken.
        TooLarge, TooDeep: more than a table may have.
        MissingDependency: pyarrow or pandas is not installed.
    """
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
            _check_schema(reader.schema)
            _check_messages(pa, body)
            table = pa.Table.from_batches(_bounded(reader, len(reader.schema)), reader.schema)
        return frame_of_arrow(table)
    except VtsServingException:
        raise
    except _MALFORMED as error:
        raise BadInput(f"the body is no Arrow stream of one table: {_shown(error)}") from error


def read_parquet(body: bytes | bytearray) -> Any:
    """The table of a Parquet file, as a DataFrame; otherwise as `read_arrow`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not body:
        raise EmptyBody("the body is empty")
    check_parquet(body)
    try:
        buffer = pa.BufferReader(pa.py_buffer(body))
        with pq.ParquetFile(buffer) as file:
            schema = file.schema_arrow
        _check_schema(schema)
        texts = [field.name for field in schema if _is_text(pa, field.type)]
        buffer.seek(0)
        with pq.ParquetFile(buffer, read_dictionary=texts, pre_buffer=False) as file:
            batches = file.iter_batches(batch_size=BATCH_ROWS, use_threads=False)
            table = pa.Table.from_batches(_bounded(batches, len(schema)), file.schema_arrow)
        return frame_of_arrow(_plain_texts(pa, table, schema))
    except VtsServingException:
        raise
    except _MALFORMED as error:
        raise BadInput(f"the body is no Parquet file that can be read: {_shown(error)}") from error


def _shown(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]


# --- before anything is read -----------------------------------------------------------------------------------------


def _check_schema(schema: Any) -> None:
    if len(schema) > MAX_TABLE_COLUMNS:
        raise TooLarge(f"the table has {len(schema)} columns; at most {MAX_TABLE_COLUMNS:,} are possible")
    for field in schema:
        _check_field(field, 1)


def _check_field(field: Any, depth: int) -> None:
    if depth > MAX_TABLE_NESTING:
        raise TooDeep(f"the type of a column is nested deeper than {MAX_TABLE_NESTING} levels")
    name = (field.metadata or {}).get(EXTENSION_NAME)
    kind = field.type
    extension = getattr(kind, "extension_name", None) or (name.decode("utf-8", "replace") if name else None)
    if extension is not None and extension not in KNOWN_EXTENSIONS:
        raise BadDtype(
            f"the column {field.name[:80]!r} has the extension type {extension[:60]!r}, which is not taken; "
            "send its storage type"
        )
    text = str(getattr(kind, "id", "")) and str(kind)
    if text.startswith(("run_end_encoded", "list_view", "large_list_view", "dense_union", "sparse_union")):
        raise BadDtype(f"the column {field.name[:80]!r} has the type {text[:60]}, which is not taken")
    if text.startswith("fixed_size_binary") and kind.byte_width > MAX_FIXED_BYTES:
        raise BadDtype(
            f"the column {field.name[:80]!r} has values of {kind.byte_width} bytes each; send binary"
        )
    if extension is None:
        for at in range(kind.num_fields):
            _check_field(kind.field(at), depth + 1)
    if hasattr(kind, "value_type") and not kind.num_fields:
        _check_field(_Anonymous(field.name, kind.value_type), depth + 1)


class _Anonymous:
    """The values of a dictionary, which have no field of their own."""

    metadata = None

    def __init__(self, name: str, kind: Any) -> None:
        self.name, self.type = name, kind


def _check_messages(pa: Any, body: bytes | bytearray) -> None:
    """Check the claims of a stream's headers: rows, and sizes after decompression."""
    total, count = 0, 0
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        count += 1
        if count > MAX_BATCHES:
            raise TooLarge(f"the stream has more than {MAX_BATCHES:,} batches")
        try:
            sizes = sizes_of_message(message.metadata.to_pybytes(), message.body)
        except (struct.error, IndexError) as error:
            raise BadInput("the body is no Arrow stream: a message has no header") from error
        if sizes.nodes > MAX_TABLE_CELLS:
            raise TooLarge(f"a column has more than {MAX_TABLE_CELLS:,} values")
        total += sizes.decompressed
        _check_bytes(total)


# --- while it is read ------------------------------------------------------------------------------------------------


def _bounded(batches: Any, columns: int) -> Iterator[Any]:
    """The batches of a table, each valid, and not more of them than fit."""
    rows, total = 0, 0
    for count, batch in enumerate(batches):
        rows += batch.num_rows
        _check_cells(rows, columns)
        if count >= MAX_BATCHES:
            raise TooLarge(f"the table has more than {MAX_BATCHES:,} batches")
        batch.validate(full=True)
        total += sum(_decoded_bytes(column) for column in batch.columns)
        _check_bytes(total)
        yield batch


def _decoded_bytes(array: Any) -> int:
    """The bytes of an array with its dictionaries written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _decoded_bytes(array.storage)
    if pa.types.is_dictionary(kind):
        values = array.dictionary
        if not _is_text(pa, kind.value_type):
            return len(array) * 8 + _decoded_bytes(values)
        sizes = pc.binary_length(values)
        used = pc.sum(sizes.take(array.indices)).as_py() or 0
        return int(used) + len(array) * 8 + _decoded_bytes(values)
    if _is_text(pa, kind):
        return (pc.sum(pc.binary_length(array)).as_py() or 0) + len(array) * 8
    if str(kind) in ("string_view", "binary_view"):
        plain = pa.large_string() if str(kind) == "string_view" else pa.large_binary()
        sizes = pc.binary_length(array.cast(plain)) if array.nbytes <= MAX_TABLE_BYTES else None
        return MAX_TABLE_BYTES + 1 if sizes is None else (pc.sum(sizes).as_py() or 0) + len(array) * 8
    if pa.types.is_struct(kind):
        return sum(_decoded_bytes(array.field(at)) for at in range(kind.num_fields)) + len(array) * 8
    if hasattr(array, "values") and pa.types.is_nested(kind):
        return _decoded_bytes(array.values) + len(array) * 8
    return len(array) * 8


def _check_cells(rows: int, columns: int) -> None:
    if rows < 0 or rows * max(columns, 1) > MAX_TABLE_CELLS:
        raise TooLarge(f"the table has more than {MAX_TABLE_CELLS:,} cells, rows times columns")


def _check_bytes(total: int) -> None:
    if total > MAX_TABLE_BYTES:
        raise TooLarge(f"the table takes more than {MAX_TABLE_BYTES:,} bytes, decompressed")


# --- to pandas -------------------------------------------------------------------------------------------------------


def _is_text(pa: Any, kind: Any) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _plain_texts(pa: Any, table: Any, schema: Any) -> Any:
    """The table with its texts written out, which were read as dictionaries: their size is known now."""
    for at, field in enumerate(schema):
        if pa.types.is_dictionary(table.schema.field(at).type) and not pa.types.is_dictionary(field.type):
            table = table.set_column(at, field, table.column(at).cast(field.type))
    return table.replace_schema_metadata(schema.metadata)


def frame_of_arrow(table: Any) -> Any:
    """The DataFrame of a table or batch of pyarrow; whole numbers beside a missing one lose no digit."""
    pd = pandas_module()
    frame = table.to_pandas(integer_object_nulls=True, use_threads=False)
    exact = {}
    for at, column in enumerate(table.schema.names):
        kind = table.schema.field(at).type
        if not (kind.__class__.__name__ == "DataType" and str(kind).startswith(("int", "uint", "bool"))):
            continue
        # Without columns that became labels of rows, each stands where it stood, whatever it is called.
        is_in_place = len(frame.columns) == table.num_columns
        place = [at] if is_in_place else [one for one, name in enumerate(frame.columns) if name == column]
        if len(place) == 1 and table.column(at).null_count and frame.dtypes.iloc[place[0]].kind == "O":
            exact[place[0]] = _with_gaps(pd, frame.iloc[:, place[0]], str(kind))
    if not exact:
        return frame
    columns = [exact.get(place, frame.iloc[:, place]) for place in range(frame.shape[1])]
    made = pd.DataFrame(dict(enumerate(columns)), index=frame.index)
    made.columns = frame.columns
    return made


def _with_gaps(pd: Any, series: Any, kind: str) -> Any:
    """Whole numbers with missing ones: as pandas has them if that is exact, else nullable."""
    if kind == "bool":
        return series
    if all(item is None or abs(item) <= EXACT for item in series):
        return series.astype("float64")
    return series.astype(kind.replace("uint", "UInt").replace("int", "Int"))
