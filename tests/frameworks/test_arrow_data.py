"""Tables of pyarrow and polars as values, and Arrow streams that no library should see."""

from __future__ import annotations

import datetime
import random
import struct
from typing import Any

import pytest

from support.call_rules import every
from support.value_kinds import check_same
from vtsserving._wire import arrow_data
from vtsserving._wire.rows import Packed, join_results, pack_call, split_result, unpack_call
from vtsserving._wire.values import decode_value, encode_value
from vtsserving.exceptions import BadFrame, VtsServingException

pytestmark = [pytest.mark.frameworks("tables"), pytest.mark.timeout(120)]


def polars_table() -> Any:
    import polars as pl

    return pl.DataFrame(
        {
            "n": [1, None],
            "t": ["x", "é\0"],
            "d": [datetime.date(2024, 1, 1), None],
            "l": [[1], [2, 3]],
            "c": pl.Series(["a", "b"], dtype=pl.Categorical),
            "z": pl.Series([0, 1]).cast(pl.Datetime("us", "Asia/Tokyo")),
        }
    )


def arrow_table() -> Any:
    import pyarrow as pa

    return pa.table(
        {
            "n": pa.array([1, None], pa.int8()),
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "s": pa.array([{"a": 1}, None]),
            "m": pa.array([1, 2], pa.decimal128(9, 2)),
            "f": pa.array([0.1, None], pa.float16()),
        }
    )


def kinds() -> dict[str, Any]:
    import polars as pl
    import pyarrow as pa

    return {
        "polars table": polars_table(),
        "polars column": pl.Series("s", [1, None]),
        "polars table without rows": polars_table().head(0),
        "pyarrow table": arrow_table(),
        "pyarrow view": pa.concat_tables([arrow_table()] * 500).slice(700, 3),
        "pyarrow batch": pa.record_batch({"a": [1, 2]}),
        "pyarrow column": pa.array([1, None]),
        "pyarrow chunks": pa.chunked_array([[1], [2, 3]]),
    }


KINDS = (
    "polars table",
    "polars column",
    "polars table without rows",
    "pyarrow table",
    "pyarrow view",
    "pyarrow batch",
    "pyarrow column",
    "pyarrow chunks",
)


@pytest.mark.parametrize("name", KINDS)
def test_it_comes_back_as_it_was(name: str) -> None:
    value = kinds()[name]
    check_same(decode_value(encode_value(value)), value)
    check_same(unpack_call(pack_call((), {"k": value}, every(None)))[1]["k"], value)


@pytest.mark.parametrize("name", [name for name in KINDS if "without" not in name])
def test_its_rows_are_cut_and_joined(name: str) -> None:
    value = kinds()[name]
    head, bodies = split_result(value, [1] * len(value), 0)
    parts = [Packed(head, 1, body) for body in bodies]
    assert [len(join_results([part])) for part in parts] == [1] * len(value)
    joined = join_results(parts)
    assert arrow_data.kind_of(joined) == arrow_data.kind_of(value)
    assert arrow_data.is_same(joined, value)


def test_of_a_view_only_what_it_shows_is_sent() -> None:
    assert len(encode_value(kinds()["pyarrow view"])) < 4_000


def streamed(codec: str | None) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    table = pa.table({"a": [0] * 10_000, "d": pa.array(["x"] * 10_000).dictionary_encode()})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_stream_is_refused_before_it_is_read(codec: str) -> None:
    arrow_data.check_stream(streamed(None))
    for kind in ("pyarrow.Table", "polars.DataFrame"):
        with pytest.raises(BadFrame, match="compressed"):
            arrow_data.decode([kind, "", streamed(codec)])


def test_a_type_with_a_pickle_is_refused() -> None:
    import pyarrow as pa

    metadata = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": b"\x80\x04.",
    }
    table = pa.table({"a": [1]}, schema=pa.schema([pa.field("a", pa.int64(), metadata=metadata)]))
    with pytest.raises(BadFrame, match="pickle"):
        decode_value(encode_value(table))


def test_offsets_beyond_their_buffer_are_refused() -> None:
    import pyarrow as pa

    table = pa.table({"t": ["abc", "de"]})
    stream = arrow_data.write_stream(table, "a table")
    at = stream.rindex(struct.pack("<3i", 0, 3, 5))
    broken = stream[:at] + struct.pack("<3i", 0, 3, 5_000_000) + stream[at + 12 :]
    with pytest.raises(BadFrame, match="unreadable"):
        arrow_data.read_stream(broken)


@pytest.mark.parametrize("kind", ["pyarrow.Table", "polars.DataFrame"])
def test_a_damaged_stream_is_read_or_refused_and_nothing_else(kind: str) -> None:
    rng = random.Random(7)
    made = polars_table() if kind.startswith("polars") else arrow_table()
    stream = arrow_data.fields_of(made, "a table")[2]
    for _ in range(1_000):
        damaged = bytearray(stream)
        for _ in range(rng.choice([1, 1, 2, 8])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        if rng.random() < 0.2:
            damaged = damaged[: rng.randrange(len(damaged))]
        try:
            arrow_data.decode([kind, "", bytes(damaged)])
        except VtsServingException as error:
            assert error.code == "bad_frame"
