"""Arrow and Parquet at a gateway: tables that are read, those that are refused, and what the refusal costs.

Run in a process that has pyarrow; each check prints its name when it holds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import vtsserving
from support.damaged_requests import ENTRIES, FUNCTIONS, described
from support.served_gateway import Answer, ServedGateway, post, served
from vtsserving.io import JSON, PandasDataFrame

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
MIB = 2**20
MOST_MIB = 300
"""By which a body may make the process grow that is refused; the table that it means is larger."""
COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "dtype": "str"},
    {"name": "age", "dtype": "float64"},
    {"name": "many", "dtype": "int64"},
]


def seen(df: pd.DataFrame) -> list[str]:
    return [" ".join(map(str, row)) for row in df.itertuples(index=False)]


def stream(table: Any, compression: str | None = None) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def parquet(table: Any, **options: Any) -> bytes:
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def frames_at_a_service() -> None:
    """A client's frame comes to a Service, and back, as it was: index, categories, zones, every digit."""
    frame = pd.DataFrame(
        {
            "a": [1.5, None],
            "zip": ["01067", None],
            "id": pd.array([9007199254740993, None], dtype="Int64"),
            "kind": pd.Categorical(["x", "y"], categories=["y", "x"], ordered=True),
            "at": pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("Europe/Berlin"),
            "month": pd.period_range("2024-01", periods=2, freq="M"),
            "f": np.array([0.1, 0.2], "f4"),
            "took": pd.to_timedelta([1, 2], unit="s"),
        },
        index=pd.Index(["k", "l"], name="row"),
    )
    svc = vtsserving.Service("tables", runners=[])
    svc.api(input=PandasDataFrame(), output=PandasDataFrame(), name="same", route="/same")(lambda df: df)
    svc.api(input=PandasDataFrame(), output=JSON(), name="types", route="/types")(
        lambda df: [str(dtype) for dtype in df.dtypes]
    )
    with (
        served([], {}, service=svc) as gateway,
        vtsserving.Client(f"http://127.0.0.1:{gateway.port}") as client,
    ):
        assert client.types(frame) == [str(dtype) for dtype in frame.dtypes]
        pd.testing.assert_frame_equal(client.same(frame), frame)
        mixed = pd.DataFrame({"a": [1, "x"]})  # has no form in Parquet
        pd.testing.assert_frame_equal(client.same(mixed), mixed)
        try:
            client.same(pd.DataFrame([[1, 2]], columns=["a", "a"]))
        except vtsserving.exceptions.InvalidArgument as error:
            assert "the same name" in error.message, error
        else:
            raise AssertionError("a column was lost without a word")


def recorded_dtypes(gateway: ServedGateway) -> None:
    """Columns by name, in the recorded dtypes, from any form of pyarrow's tables."""
    import pyarrow as pa

    plain = pa.table({"many": [1, 2], "age": pa.array([9, None]), "id": ["01067", "NA"]})
    coded = plain.set_column(2, "id", plain.column("id").dictionary_encode())
    viewed = plain.set_column(2, "id", pa.array(["01067", "NA"], pa.string_view()))
    right = ["01067 9.0 1", "NA nan 2"]
    for body, kind in (
        *((stream(table, way), ARROW) for table in (plain, coded, viewed) for way in (None, "zstd", "lz4")),
        *((parquet(table, use_dictionary=way), PARQUET) for table in (plain, coded) for way in (True, False)),
        (parquet(plain), "application/x-parquet"),
    ):
        answer = ask(gateway, "wanted", body, kind)
        assert (answer.status, answer.json) == (200, right), answer
    missing = ask(gateway, "wanted", stream(plain.drop_columns(["id"])), ARROW)
    assert (missing.status, "misses 'id'" in missing.json["error"]["message"]) == (422, True), missing
    gap = ask(gateway, "wanted", parquet(plain.set_column(0, "many", pa.array([1, None]))), PARQUET)
    assert (gap.status, "column 'many', row 1 is missing" in gap.json["error"]["message"]) == (422, True), gap


def ask(gateway: ServedGateway, model: str, body: bytes, kind: str) -> Answer:
    return gateway.ask(post(body, f"/v1/models/{model}", {"Content-Type": kind}))


def bombs() -> dict[str, tuple[Callable[[], bytes], str, str]]:
    """What is small to send and large to read: how it is made, its content type, and the code that refuses it."""
    import pyarrow as pa

    zeros = pa.table({"x": np.zeros(1 << 25)})
    coded = pa.table(
        {
            "x": pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(1 << 20, np.int32)), pa.array(["x" * (1 << 16)])
            )
        }
    )
    runs = pa.table({"x": pa.RunEndEncodedArray.from_arrays(pa.array([1 << 30], pa.int32()), pa.array([1]))})
    nested: Any = pa.int8()
    for _ in range(20):
        nested = pa.list_(nested)
    long = pa.table({"x": pa.array([[1] * 300] * 60_000)})
    prefixed = pa.table({"x": [f"{'x' * 20_000}{at}" for at in range(5_000)]})
    wide = pa.schema([(f"c{at}", pa.int8()) for at in range(20_000)]).empty_table()
    pickled = pa.schema(
        [pa.field("x", pa.int8(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})]
    )
    return {
        "compressed zeros, Arrow": (lambda: stream(zeros, "zstd"), ARROW, "too_large"),
        "compressed zeros, Parquet": (lambda: parquet(zeros, compression="zstd"), PARQUET, "too_large"),
        "two billion of nothing": (lambda: stream(pa.table({"x": pa.nulls(2**31 - 1)})), ARROW, "too_large"),
        "a dictionary of one long text, Arrow": (lambda: stream(coded), ARROW, "too_large"),
        "a dictionary of one long text, Parquet": (lambda: parquet(coded), PARQUET, "too_large"),
        "a long run": (lambda: stream(runs), ARROW, "bad_dtype"),
        "deep nesting": (lambda: stream(pa.schema([("x", nested)]).empty_table()), ARROW, "too_deep"),
        "long lists of one value": (lambda: parquet(long), PARQUET, "too_large"),
        "texts that begin alike": (
            lambda: parquet(prefixed, use_dictionary=False, column_encoding={"x": "DELTA_BYTE_ARRAY"}),
            PARQUET,
            "bad_dtype",
        ),
        "twenty thousand columns, Arrow": (lambda: stream(wide), ARROW, "too_large"),
        "a pickle as a type, Arrow": (lambda: stream(pickled.empty_table()), ARROW, "bad_dtype"),
        "a pickle as a type, Parquet": (lambda: parquet(pickled.empty_table()), PARQUET, "bad_dtype"),
    }


def refused_before_memory_is_spent(gateway: ServedGateway) -> dict[str, int]:
    """Each is refused with its code; the MiB by which the process grew over them."""
    bodies = {name: (make(), kind, code) for name, (make, kind, code) in bombs().items()}
    grown = {}
    for name, (body, kind, code) in bodies.items():
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = memory_kib("VmRSS")
        answer = ask(gateway, "any", body, kind)
        assert answer.code == code, (name, answer)
        grown[name] = (memory_kib("VmHWM") - before) // 1024
    assert max(grown.values()) < MOST_MIB, grown
    return grown


def memory_kib(what: str) -> int:
    """Of this process: `VmRSS`, or its peak, `VmHWM`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


if __name__ == "__main__":
    frames_at_a_service()
    entries = [*ENTRIES, described("wanted", {"type": "table", "columns": COLUMNS})]
    functions = {**FUNCTIONS, ("wanted", "predict"): seen}
    with served(entries, functions, {"max_body_bytes": 16 * MIB}) as running:
        recorded_dtypes(running)
        print(json.dumps(refused_before_memory_is_spent(running)))
