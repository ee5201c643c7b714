"""Kept answers to the output file, read and written a piece at a time."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from vtsserving._scoring import packages
from vtsserving._scoring.formats import DELIMITERS, Format
from vtsserving.exceptions import BadModelOutput

_SIZE: Final = struct.Struct("<Q")

GROUP_ROWS: Final = 1 << 20
GROUP_BYTES: Final = 64 * 2**20
"""Rows and bytes at which a row group of Parquet is written."""


def framed(data: bytes, kind: Format) -> bytes:
    """Encoded answers as they are kept: with their size before them, unless they are text."""
    return data if kind in DELIMITERS else _SIZE.pack(len(data)) + data


def finish(kept: Path, target: Path, kind: Format) -> Path:
    """Write the output.

    Args:
        kept: the answers.
        target: a new file.
        kind: its format.

    Returns:
        The output: the target, or of CSV the answers themselves.

    Raises:
        BadModelOutput: the results of different rows do not fit into one file.
    """
    if kind in DELIMITERS:
        return kept
    if kind == "npy":
        _finish_npy(kept, target)
    else:
        _finish_arrow(kept, target, kind)
    return target


def empty_answers(names: list[str], kind: Format) -> bytes:
    """Answers of a file without rows."""
    if kind == "npy":
        sink = io.BytesIO()
        np.save(sink, np.zeros(0))
        return framed(sink.getvalue(), kind)
    if kind in DELIMITERS:
        return b""
    pa = packages.pyarrow()
    table = pa.table({name: pa.nulls(0) for name in names})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return framed(bytes(sink.getvalue()), kind)


def _pieces(kept: Path) -> Iterator[bytes]:
    with kept.open("rb") as file:
        while head := file.read(_SIZE.size):
            yield file.read(_SIZE.unpack(head)[0])


def _finish_npy(kept: Path, target: Path) -> None:
    rows, dtype = 0, None
    shape: tuple[int, ...] = ()
    for piece in _pieces(kept):
        found = np.load(io.BytesIO(piece), allow_pickle=False)
        rows += len(found)
        if dtype is None or found.size:
            dtype = found.dtype if dtype is None else _common(dtype, found.dtype)
            shape = found.shape[1:]
    assert dtype is not None
    with target.open("wb") as file:
        described = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": (rows, *shape),
        }
        np.lib.format.write_array_header_2_0(file, described)
        for piece in _pieces(kept):
            file.write(np.ascontiguousarray(np.load(io.BytesIO(piece)).astype(dtype)).tobytes())


def _common(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that holds the values of both.

    Raises:
        BadModelOutput: there is none.
    """
    if (one.kind in "US") != (other.kind in "US"):
        raise BadModelOutput(f"some results are {one}, others {other}; .npy holds one dtype: write .parquet")
    return np.result_type(one, other)


def _finish_arrow(kept: Path, target: Path, kind: Format) -> None:
    pa = packages.pyarrow()
    schemas = {}
    for piece in _pieces(kept):
        schema = pa.ipc.open_stream(piece).schema
        schemas[schema.to_string()] = schema
    try:
        schema = pa.unify_schemas(list(schemas.values()), promote_options="permissive")
    except pa.ArrowException as error:
        raise BadModelOutput(f"the results of different rows differ in type: {str(error)[:200]}") from error
    with _writer(target, schema, kind) as writer:
        held: list[Any] = []
        held_rows = held_bytes = 0
        for piece in _pieces(kept):
            table = pa.ipc.open_stream(piece).read_all()
            held.append(table if table.schema.equals(schema) else table.cast(schema))
            held_rows, held_bytes = held_rows + table.num_rows, held_bytes + table.nbytes
            if held_rows >= GROUP_ROWS or held_bytes >= GROUP_BYTES:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held, held_rows, held_bytes = [], 0, 0
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks())


def _writer(target: Path, schema: Any, kind: Format) -> Any:
    if kind == "parquet":
        return packages.pyarrow("pyarrow.parquet").ParquetWriter(target, schema)
    pa = packages.pyarrow()
    return pa.ipc.new_file(str(target), schema) if kind == "arrow" else pa.ipc.new_stream(str(target), schema)
