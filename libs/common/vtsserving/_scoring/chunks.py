"""Some rows of a file: what is read, computed and written at a time. A chunk can be halved down to a single row.

A chunk has bytes of its own kind, in which it travels to a model process: `.npy`, CSV records, an Arrow stream.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from vtsserving._scoring import packages
from vtsserving._scoring.csv_text import EXACT_FLOAT, CsvLayout, parsed_columns, parsed_frame, record_starts
from vtsserving.exceptions import BadInput

Array = np.ndarray[Any, Any]


class Chunk(Protocol):
    """Some rows of a file, in their order."""

    @property
    def rows(self) -> int:
        """The number of rows."""

    def halves(self) -> tuple[Chunk, Chunk]:
        """The same rows in two chunks; only where there are several."""

    def array(self) -> Array | None:
        """All values, where the file is one array; it may be written to."""

    def column(self, name: str) -> Any:
        """The values of one column: an array [rows], or [rows, ...] where a cell holds a list."""

    def frame(self, names: Sequence[str]) -> Any:
        """Some columns as a pandas DataFrame, numbered from 0."""

    def as_written(self, names: Sequence[str]) -> dict[str, Any]:
        """The values of some columns as they are copied to the output: exactly what the file has."""

    def encoded(self) -> bytes:
        """The bytes in which it travels."""


class ArrayChunk:
    """Rows of an array."""

    def __init__(self, array: Array) -> None:
        self._array = array

    @property
    def rows(self) -> int:
        """See Chunk."""
        return len(self._array)

    def halves(self) -> tuple[Chunk, Chunk]:
        """See Chunk."""
        middle = self.rows // 2
        return ArrayChunk(self._array[:middle]), ArrayChunk(self._array[middle:])

    def array(self) -> Array | None:
        """See Chunk."""
        return np.array(self._array)

    def column(self, name: str) -> Any:
        """See Chunk."""
        raise BadInput("a .npy file has no columns with names")

    def frame(self, names: Sequence[str]) -> Any:
        """See Chunk; columns are numbered."""
        return packages.pandas().DataFrame(np.array(self._array))

    def as_written(self, names: Sequence[str]) -> dict[str, Any]:
        """See Chunk."""
        return {name: self.column(name) for name in names}

    def encoded(self) -> bytes:
        """See Chunk."""
        sink = io.BytesIO()
        np.save(sink, self._array, allow_pickle=False)
        return sink.getvalue()


class CsvChunk:
    """Records of a CSV file."""

    def __init__(self, text: bytes, rows: int, layout: CsvLayout) -> None:
        """Hold `rows` whole records.

        Args:
            text: the records, without the line of names.
            rows: how many there are; blank lines are none.
            layout: names, delimiter and dtypes of the file.
        """
        self._text = text
        self._rows = rows
        self._layout = layout

    @property
    def rows(self) -> int:
        """See Chunk."""
        return self._rows

    def halves(self) -> tuple[Chunk, Chunk]:
        """See Chunk."""
        middle = self._rows // 2
        at = int(record_starts(self._text)[middle])
        return (
            CsvChunk(self._text[:at], middle, self._layout),
            CsvChunk(self._text[at:], self._rows - middle, self._layout),
        )

    def array(self) -> Array | None:
        """See Chunk."""
        return None

    def column(self, name: str) -> Any:
        """See Chunk."""
        if packages.has_pandas():
            return parsed_frame(self._text, self._layout, [name], self._rows)[name].to_numpy()
        return parsed_columns(self._text, self._layout, [name], self._rows)[name]

    def columns(self, names: Sequence[str]) -> list[Any]:
        """Several columns, for the text is read once."""
        if packages.has_pandas():
            frame = parsed_frame(self._text, self._layout, names, self._rows)
            return [frame[name].to_numpy() for name in names]
        found = parsed_columns(self._text, self._layout, names, self._rows)
        return [found[name] for name in names]

    def frame(self, names: Sequence[str]) -> Any:
        """See Chunk."""
        return parsed_frame(self._text, self._layout, names, self._rows)

    def as_written(self, names: Sequence[str]) -> dict[str, Any]:
        """See Chunk; the text of each cell."""
        found = parsed_columns(self._text, self._layout.of_texts(), names, self._rows)
        return {name: column.tolist() for name, column in found.items()}

    def encoded(self) -> bytes:
        """See Chunk."""
        return self._text


class ArrowChunk:
    """Rows of an Arrow table."""

    def __init__(self, batch: Any) -> None:
        """Hold a record batch."""
        self._batch = batch

    @property
    def rows(self) -> int:
        """See Chunk."""
        return int(self._batch.num_rows)

    def halves(self) -> tuple[Chunk, Chunk]:
        """See Chunk."""
        middle = self.rows // 2
        return ArrowChunk(self._batch.slice(0, middle)), ArrowChunk(self._batch.slice(middle))

    def array(self) -> Array | None:
        """See Chunk."""
        return None

    def column(self, name: str) -> Any:
        """See Chunk."""
        values = self._values(name)
        if values.type.num_fields == 1 and hasattr(values.type, "value_type") and "list" in str(values.type):
            return _stacked(values.to_pylist(), name)
        found: Array = values.to_numpy(zero_copy_only=False)
        return found

    def frame(self, names: Sequence[str]) -> Any:
        """See Chunk."""
        packages.pandas()
        pa = packages.pyarrow()
        table = pa.RecordBatch.from_arrays([self._values(name) for name in names], names=list(names))
        frame = table.to_pandas()
        for name in names:
            values = self._values(name)
            # With a missing value among them, pandas makes these float64, which cannot hold long ids.
            if values.null_count and pa.types.is_integer(values.type) and not _fits_float(values):
                frame[name] = packages.pandas().array(values.to_pylist(), dtype=_nullable(values.type))
        return frame

    def as_written(self, names: Sequence[str]) -> dict[str, Any]:
        """See Chunk."""
        return {name: self._values(name) for name in names}

    def encoded(self) -> bytes:
        """See Chunk."""
        pa = packages.pyarrow()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._batch.schema) as writer:
            writer.write_batch(self._batch)
        return bytes(sink.getvalue())

    def _values(self, name: str) -> Any:
        return self._batch.column(self._batch.schema.get_field_index(name))


def decoded(data: bytes, kind: str, rows: int, layout: Mapping[str, Any] | None) -> Chunk:
    """The chunk of what `encoded` gave.

    Args:
        data: the bytes.
        kind: of the source: `npy`, `csv` or `arrow`.
        rows: of the chunk.
        layout: of a CSV file.
    """
    if kind == "npy":
        return ArrayChunk(np.load(io.BytesIO(data), allow_pickle=False))
    if kind == "csv":
        return CsvChunk(data, rows, CsvLayout.from_dict(layout or {}))
    with packages.pyarrow().ipc.open_stream(data) as reader:
        return ArrowChunk(reader.read_next_batch())


def _stacked(items: list[Any], name: str) -> Array:
    """Lists of equal lengths as one array."""
    try:
        return np.array(items)
    except ValueError as error:
        raise BadInput(f"the lists in the column {name!r:.80} differ in length") from error


def _fits_float(values: Any) -> bool:
    ends = packages.pyarrow("pyarrow.compute").min_max(values).as_py()
    return bool(max(abs(ends["min"] or 0), abs(ends["max"] or 0)) <= EXACT_FLOAT)


def _nullable(arrow_type: Any) -> str:
    return str(arrow_type).replace("uint", "UInt").replace("int", "Int")
