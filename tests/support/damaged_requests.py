"""A gateway under damaged bodies of every form: each gets an answer that is not the gateway's own fault."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from support.backend import entry
from support.damage import damaged
from support.served_gateway import ServedGateway, post, served
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._codecs.npy import write_npy
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.parameters import Parameters
from vtsserving._saving.table_columns import columns_of
from vtsserving._wire.values import encode_value

TABLE = pd.DataFrame(
    {
        "age": [22.0, np.nan, 38.0],
        "zip": ["01067", "NA", "1E5"],
        "id": [9007199254740993, 1, 2],
        "at": pd.to_datetime(["2024-05-01", "2024-05-02", "2024-05-03"]),
    }
)
ALLOWED = (200, 400, 404, 405, 408, 411, 413, 414, 415, 422, 431, 501, 505)
"""What a body may be answered with; 501 and 505 are those of a damaged request line, of which there is none."""


def described(name: str, argument: dict[str, Any]) -> CatalogEntry:
    """A model whose contract describes its only argument."""
    contract = MethodContract.declared("predict", {"batchable": True, "arguments": {"df": argument}})
    completed = contract.completed("predict", Parameters(("df",), (), takes_more=False))
    return replace(entry(name), contract_record=write_contracts({"predict": completed})["contract"])


WIDE = [
    {"name": "age", "dtype": "float64"},
    {"name": "kind", "dtype": "object"},
    {"name": "many", "dtype": "float64"},
    {"name": "listed", "dtype": "object"},
]
ENTRIES = [
    described("wide", {"type": "table", "columns": WIDE, "extra_columns": "ignore"}),
    described("table", {"type": "table", "columns": columns_of(TABLE)}),
    described("any", {"type": "table"}),
    entry("free"),
]
FUNCTIONS = {
    ("wide", "predict"): lambda df: df["age"].to_numpy(),
    ("table", "predict"): lambda df: df["age"].to_numpy(),
    ("any", "predict"): lambda df: np.zeros(len(df)),
    ("free", "predict"): lambda x: np.zeros(len(x) if hasattr(x, "__len__") else 1),
}


def oip_body() -> bytes:
    """A table as the columns of the protocol."""
    kinds = {"age": "FP64", "zip": "BYTES", "id": "INT64", "at": "BYTES"}
    values = {
        "age": [22.0, None, 38.0],
        "zip": ["01067", "NA", "1E5"],
        "id": [1, 2, 3],
        "at": ["2024-05-01"] * 3,
    }
    inputs = [
        {"name": name, "shape": [3], "datatype": kinds[name], "data": data} for name, data in values.items()
    ]
    return json.dumps({"inputs": inputs, "parameters": {"content_type": "pd"}}).encode()


def sound_bodies() -> dict[str, tuple[str, str, bytes]]:
    """Path, content type and body of one request of each form that needs no further package."""
    as_records = json.loads(TABLE.to_json(orient="records", date_format="iso"))
    records = [{**row, "at": row["at"][:10]} for row in as_records]
    split = {"columns": list(TABLE), "data": [list(row.values()) for row in records]}
    return {
        "records": ("/v1/models/table", "application/json", json.dumps(records).encode()),
        "split": ("/v1/models/any", "application/json", json.dumps(split).encode()),
        "CSV": ("/v1/models/table", "text/csv", TABLE.to_csv(index=False).encode()),
        "CSV of any columns": ("/v1/models/any", "text/csv", TABLE.to_csv(index=False).encode()),
        "msgpack": ("/v1/models/table", "application/msgpack", encode_value(TABLE)),
        "npy": ("/v1/models/free", "application/x-npy", write_npy(np.arange(24.0).reshape(6, 4))),
        "protocol": ("/v2/models/table/infer", "application/json", oip_body()),
    }


def arrow_bodies() -> dict[str, tuple[str, str, bytes]]:
    """Those that need pyarrow."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    found = {}
    frame = TABLE.assign(
        kind=pd.Categorical(["x", "y", None]),
        many=pd.array([1, None, 3], dtype="Int64"),
        listed=[[1], [], [2, 3]],
    )
    for name, table, path in (
        ("", pa.Table.from_pandas(TABLE), "/v1/models/table"),
        (" of many types", pa.Table.from_pandas(frame), "/v1/models/wide"),
    ):
        for compression in (None, "zstd", "lz4"):
            sink = pa.BufferOutputStream()
            options = pa.ipc.IpcWriteOptions(compression=compression)
            with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
                writer.write_table(table)
            body = sink.getvalue().to_pybytes()
            found[f"Arrow {compression}{name}"] = (path, "application/vnd.apache.arrow.stream", body)
        for compression, dictionary in (("snappy", True), ("zstd", False), ("none", True)):
            file = io.BytesIO()
            pq.write_table(table, file, compression=compression, use_dictionary=dictionary)
            found[f"Parquet {compression}{name}"] = (path, "application/vnd.apache.parquet", file.getvalue())
    return found


def counted(
    gateway: ServedGateway, form: tuple[str, str, bytes], count: int, seed: int
) -> tuple[Counter[int], list[str]]:
    """The statuses of damaged bodies, and what of them is wrong."""
    path, kind, body = form
    rng = random.Random(seed)
    found: Counter[int] = Counter()
    wrong = []
    headers = {"Content-Type": kind}
    for number in range(count):
        sent = damaged(body, rng)
        answer = gateway.ask(post(sent, path, headers))
        found[answer.status] += 1
        if answer.status not in ALLOWED:
            wrong.append(f"{number}: {answer.status} {answer.body[:200]!r} for {sent[:400]!r}")
    return found, wrong


def run(
    forms: Callable[[], dict[str, tuple[str, str, bytes]]], count: int, seed: int
) -> tuple[dict[str, dict[int, int]], list[str]]:
    """Statuses by form, and what is wrong; the gateway answers a sound body of each form before and after."""
    statuses: dict[str, dict[int, int]] = {}
    wrong: list[str] = []
    with served(ENTRIES, FUNCTIONS, {"max_body_bytes": 1 << 20}) as gateway:
        for name, form in forms().items():
            sound = post(form[2], form[0], {"Content-Type": form[1]})
            before = gateway.ask(sound)
            found, others = counted(gateway, form, count, seed)
            after = gateway.ask(sound)
            if (before.status, after.status) != (200, 200):
                others.append(f"the sound body: {before.status} {before.body[:200]!r}, {after.status}")
            statuses[name] = dict(found)
            wrong += [f"{name}: {one}" for one in others]
    return statuses, wrong


if __name__ == "__main__":
    # In a process of its own, which has pyarrow; the line on stdout is read by the test.
    done = run(arrow_bodies, int(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps({"statuses": done[0], "wrong": done[1]}))
