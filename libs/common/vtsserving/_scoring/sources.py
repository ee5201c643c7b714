"""Files as streams of chunks: never more than a few of them is in memory, whatever the file's size.

A position is where reading goes on: bytes of a CSV file, rows of any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from vtsserving._scoring import packages
from vtsserving._scoring.chunks import ArrayChunk, ArrowChunk, Chunk, CsvChunk
from vtsserving._scoring.column_names import unique_names
from vtsserving._scoring.csv_text import (
    MAX_RECORD_BYTES,
    CsvLayout,
    guessed_dtypes,
    parsed_names,
    record_ends,
    starts_of,
)
from vtsserving._scoring.formats import DELIMITERS, Format
from vtsserving.exceptions import BadInput, InvalidArgument

DEFAULT_ROWS: Final = 16_384
CHUNK_BYTES: Final = 8 * 2**20
"""A chunk of wide rows has fewer of them, so that it is not larger than this."""

READ_BYTES: Final = 2**20

_INDEX_LEVEL: Final = re.compile(r"__index_level_\d+__")
"""Names that pandas gives the columns that hold an index."""


_NONE: Final = np.empty(0, np.int64)


class Read(NamedTuple):
    """A chunk and its place.

    Attributes:
        chunk: the rows.
        position: behind them.
    """

    chunk: Chunk
    position: int


class Source(Protocol):
    """A file to be scored.

    Attributes:
        kind: of its chunks' bytes: `npy`, `csv` or `arrow`.
        names: of its columns, made unique where one is there again (see column_names); None: it is one array.
        total: the position of its end.
    """

    kind: str
    names: tuple[str, ...] | None
    total: int

    def chunks(self, position: int, rows: int) -> Iterator[Read]:
        """Chunks of at most `rows` rows, from a position on."""


class NpySource:
    """An array; its rows lie along the first axis."""

    kind = "npy"
    names: tuple[str, ...] | None = None

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            BadInput: it is not an array of numbers, booleans, texts or times with at least one axis.
        """
        try:
            self._array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise BadInput(
                f"{path.name} cannot be read as .npy: {' '.join(str(error).split())[:200]}"
            ) from error
        if not isinstance(self._array, np.ndarray) or not self._array.ndim:
            raise BadInput(f"{path.name} holds no array with rows")
        self.total = len(self._array)
        self._path = path

    def chunks(self, position: int, rows: int) -> Iterator[Read]:
        """See Source."""
        row_bytes = max(1, self._array.nbytes // max(1, self.total))
        step = _fitting(rows, row_bytes)
        for start in range(position, self.total, step):
            # Mapped anew each time: pages that were read would count as this process' memory.
            mapped = np.load(self._path, mmap_mode="r", allow_pickle=False)
            stop = min(start + step, self.total)
            yield Read(ArrayChunk(np.array(mapped[start:stop])), stop)


class CsvSource:
    """A CSV file with a line of names."""

    kind = "csv"

    def __init__(self, path: Path, delimiter: str) -> None:
        """Open it and read the names.

        Raises:
            BadInput: there is no such line.
        """
        self._path = path
        self.total = path.stat().st_size
        with path.open("rb") as file:
            text = b""
            while not len(ends := record_ends(text)):
                piece = file.read(READ_BYTES)
                if not piece:
                    ends = np.array([len(text)])
                    break
                text += piece
                _check_record(text, path)
        self.start = int(ends[0])
        self.names: tuple[str, ...] | None = parsed_names(text[: self.start], delimiter)
        self.layout = CsvLayout(self.names, delimiter)

    def guess(self, names: Sequence[str], rows: int) -> None:
        """Take the dtypes of columns, of which nobody says one, from the first rows."""
        first = next(self._texts(self.start, rows), None)
        if first is not None and names:
            dtypes = guessed_dtypes(first[0], self.layout, names)
            self.layout = self.layout._replace(dtypes={**self.layout.dtypes, **dtypes}, guessed=tuple(names))

    def chunks(self, position: int, rows: int) -> Iterator[Read]:
        """See Source."""
        for text, count, end in self._texts(max(position, self.start), rows):
            if count:
                yield Read(CsvChunk(text, count, self.layout), end)

    def _texts(self, position: int, rows: int) -> Iterator[tuple[bytes, int, int]]:
        """Whole records, at most so many, with their number and the position behind them."""
        with self._path.open("rb") as file:
            file.seek(position)
            held, lines, is_end = b"", 0, False
            while True:
                is_full = is_end or len(held) >= CHUNK_BYTES or lines >= rows
                ends = record_ends(held) if is_full else _NONE
                # All newlines so far may stand in quotes: then it reads on, to the end of these or of the file.
                if not len(ends) and not is_end:
                    _check_record(held, self._path)
                    piece = file.read(READ_BYTES)
                    is_end = not piece
                    held += piece
                    lines += piece.count(b"\n")
                    continue
                ends = ends[:rows]
                at = int(ends[-1]) if len(ends) else len(held)
                if not at:
                    return
                position += at
                text, held = held[:at], held[at:]
                yield text, len(starts_of(text, ends)), position
                lines = held.count(b"\n")


class ParquetSource:
    """A Parquet file."""

    kind = "arrow"

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            BadInput: it cannot be read.
            MissingDependency: pyarrow is not installed.
        """
        self._file = _opened(path, lambda: _parquet(path))
        self._path = path
        self.total = self._file.metadata.num_rows
        self.names: tuple[str, ...] | None = _named(self._file.schema_arrow)

    def chunks(self, position: int, rows: int) -> Iterator[Read]:
        """See Source."""
        metadata = self._file.metadata
        counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        size = sum(metadata.row_group(i).total_byte_size for i in range(len(counts)))
        step = _fitting(rows, max(1, size // max(1, self.total)))
        done, group = 0, 0
        while group < len(counts) and done + counts[group] <= position:
            done += counts[group]
            group += 1
        for number in range(group, len(counts)):
            # One group at a time: a reader of all of them keeps what it has read of each.
            for batch in self._file.iter_batches(step, row_groups=[number]):
                done += batch.num_rows
                left = done - position
                if left > 0:
                    wanted = batch.slice(batch.num_rows - left) if left < batch.num_rows else batch
                    for read in _cut(wanted, done - wanted.num_rows, step):
                        position = read.position
                        yield read


class ArrowSource:
    """An Arrow file (also called Feather) or an Arrow stream."""

    kind = "arrow"

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            BadInput: it cannot be read.
            MissingDependency: pyarrow is not installed.
        """
        self._path = path
        with _opened(path, self._reader) as reader:
            self.names: tuple[str, ...] | None = _named(reader.schema)
            self.total = 0
        # Batches say how many rows they have; a stream has to be gone through for it.
        self.total = sum(batch.num_rows for batch in self._batches())

    def chunks(self, position: int, rows: int) -> Iterator[Read]:
        """See Source."""
        done = 0
        for batch in self._batches():
            done += batch.num_rows
            left = done - position
            if left > 0:
                wanted = batch.slice(batch.num_rows - left) if left < batch.num_rows else batch
                step = _fitting(rows, max(1, batch.nbytes // max(1, batch.num_rows)))
                for read in _cut(wanted, done - wanted.num_rows, step):
                    position = read.position
                    yield read

    def _reader(self) -> Any:
        pa = packages.pyarrow()
        mapped = pa.memory_map(str(self._path))
        if self._path.stat().st_size and mapped.read(6) == b"ARROW1":
            return pa.ipc.open_file(mapped)
        mapped.seek(0)
        return pa.ipc.open_stream(mapped)

    def _batches(self) -> Iterator[Any]:
        pa = packages.pyarrow()
        with self._reader() as reader:
            try:
                if hasattr(reader, "num_record_batches"):
                    for number in range(reader.num_record_batches):
                        yield reader.get_batch(number)
                else:
                    yield from reader
            except (pa.ArrowException, OSError) as error:
                raise BadInput(f"{self._path.name} is damaged: {str(error)[:200]}") from error


def open_source(path: Path, kind: Format) -> Source:
    """A file to be scored.

    Args:
        path: of the file.
        kind: its format.

    Raises:
        InvalidArgument: there is no such file.
        BadInput: it is not what its format says.
        MissingDependency: a package is needed that is not installed.
    """
    if not path.is_file():
        raise InvalidArgument(f"there is no file {str(path)!r}")
    if kind == "npy":
        return NpySource(path)
    if kind in DELIMITERS:
        return CsvSource(path, DELIMITERS[kind])
    return ParquetSource(path) if kind == "parquet" else ArrowSource(path)


def _fitting(rows: int, row_bytes: int) -> int:
    """Rows of a chunk, so many that it is not larger than CHUNK_BYTES."""
    return max(1, min(rows, CHUNK_BYTES // row_bytes))


def _cut(batch: Any, start: int, step: int) -> Iterator[Read]:
    """Chunks of a batch; what a reader knew only roughly shows here."""
    batch = _renamed(batch)
    step = min(step, _fitting(step, max(1, batch.nbytes // max(1, batch.num_rows))))
    for at in range(0, batch.num_rows, step):
        part = batch.slice(at, step)
        yield Read(ArrowChunk(part), start + at + part.num_rows)


def _named(schema: Any) -> tuple[str, ...]:
    return tuple(name for name in unique_names(schema.names) if not _INDEX_LEVEL.fullmatch(name))


def _renamed(batch: Any) -> Any:
    """A batch whose columns have names of their own; those that are there once keep theirs."""
    names = unique_names(batch.schema.names)
    if names == batch.schema.names:
        return batch
    return packages.pyarrow().RecordBatch.from_arrays(batch.columns, names=names)


def _parquet(path: Path) -> Any:
    # Buffered, or a whole column of a group is read at once; there are files with a single group.
    return packages.pyarrow("pyarrow.parquet").ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False)


def _opened(path: Path, opening: Any) -> Any:
    pa = packages.pyarrow()
    try:
        return opening()
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path.name} cannot be read: {str(error)[:200]}") from error


def _check_record(text: bytes, path: Path) -> None:
    if len(text) > MAX_RECORD_BYTES:
        raise BadInput(
            f"{path.name} has a record of more than {MAX_RECORD_BYTES >> 20} MiB; is a quote not closed?"
        )
