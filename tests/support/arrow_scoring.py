"""Scoring of Parquet and Arrow files, checked in a process that has pyarrow: `python -m support.arrow_scoring CHECK`.

Prints `ok` when the check holds.
"""

from __future__ import annotations

import csv
import datetime
import decimal
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import vtsserving
from support.runner_models import RAISE
from support.scored_models import people, save_echo, save_people, save_trouble
from vtsserving._scoring.sources import open_source
from vtsserving.exceptions import BadInput, BadShape

KINDS = ("parquet", "arrow", "arrows")


def write(path: Path, table: Any, **options: Any) -> None:
    """A table as a file of the format that the name says."""
    if path.suffix == ".parquet":
        pq.write_table(table, path, **options)
        return
    new = pa.ipc.new_file if path.suffix == ".arrow" else pa.ipc.new_stream
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=options.get("row_group_size"))


def read(path: Path) -> Any:
    """The table of a file."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    opening = pa.ipc.open_file if path.suffix == ".arrow" else pa.ipc.open_stream
    return opening(str(path) if path.suffix == ".arrow" else path.read_bytes()).read_all()


def formats(folder: Path) -> None:
    """Every format in, every format out: the same rows, in order, with the ids as they were."""
    save_people()
    frame = people(500)
    ids = [f"{number:05d}" for number in range(500)]
    table = pa.Table.from_pandas(frame).append_column("id", pa.array(ids))
    wanted = vtsserving.sklearn.load_model("people").predict(frame).tolist()
    frame.assign(id=ids).to_csv(folder / "in.csv", index=False)
    for kind in KINDS:
        write(folder / f"in.{kind}", table, row_group_size=130)
    for source in (*KINDS, "csv"):
        for target in KINDS:
            out = folder / f"out.{target}"
            vtsserving.predict_file("people", folder / f"in.{source}", out, keep=["id"], batch_rows=64)
            found = read(out)
            assert found.column_names == ["id", "prediction"]
            assert found["id"].to_pylist() == ids, (source, target)
            assert found["prediction"].to_pylist() == wanted, (source, target)
        vtsserving.predict_file("people", folder / f"in.{source}", folder / "out.csv", keep=["id"])
        with (folder / "out.csv").open(newline="") as file:
            assert [[one["id"], one["prediction"]] for one in csv.DictReader(file)] == [
                list(pair) for pair in zip(ids, wanted, strict=True)
            ]


def processes(folder: Path) -> None:
    """Two model processes give what one gives."""
    save_people()
    frame = people(500)
    write(folder / "in.parquet", pa.Table.from_pandas(frame))
    out = folder / "out.parquet"
    vtsserving.predict_file(
        "people", folder / "in.parquet", out, method="predict_proba", processes=2, batch_rows=50
    )
    found = np.column_stack([column.to_numpy() for column in read(out).columns])
    assert np.array_equal(found, vtsserving.sklearn.load_model("people").predict_proba(frame))


def kept(folder: Path) -> None:
    """Columns of every type are copied as they are; rows that fail have nulls beside them."""
    save_trouble(folder)
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, datetime.timezone.utc)
    columns = {
        "i": pa.array([2**53 + 1, None, 3], pa.int64()),
        "when": pa.array([moment, None, moment], pa.timestamp("us", "Europe/Berlin")),
        "price": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2.00")]),
        "raw": pa.array([b"\0\1", None, b""]),
        "list": pa.array([[1, 2], None, []], pa.list_(pa.int32())),
        "kind": pa.array(["x", None, "x"]).dictionary_encode(),
        "a": pa.array([1.0, RAISE, 3.0]),
        "b": pa.array([10.0, 20.0, 30.0]),
    }
    table = pa.table(columns)
    for kind in KINDS:
        write(folder / f"in.{kind}", table)
        out = folder / f"out.{kind}"
        scored = vtsserving.predict_file(
            "trouble", folder / f"in.{kind}", out, columns=["a", "b"], keep="all"
        )
        found = read(out)
        plain = found.drop_columns(["prediction_0", "prediction_1"]).to_pydict()
        assert plain == table.to_pydict(), (kind, plain)
        assert found.schema.field("when").type == pa.timestamp("us", "Europe/Berlin")
        assert found["prediction_0"].to_pylist() == [2.0, None, 6.0]
        assert found["prediction_1"].to_pylist() == [20.0, None, 60.0]
        assert scored.failed == 1


def columns_of_lists(folder: Path) -> None:
    """A column of lists of one length is an array; results with more dimensions are lists again."""
    save_echo("two")
    table = pa.table({"a": [[1.0, 2.0], [3.0, 4.0]], "b": [[5.0, 6.0], [7.0, 8.0]]})
    write(folder / "in.parquet", table)
    vtsserving.predict_file("echo", folder / "in.parquet", folder / "out.parquet")
    found = read(folder / "out.parquet").to_pydict()
    assert found["sum_0"] == [6.0, 10.0]
    assert found["both"] == [[[1.0, 2.0], [5.0, 6.0]], [[3.0, 4.0], [7.0, 8.0]]]


def positions(folder: Path) -> None:
    """Reading goes on at any row, whatever the groups and batches of the file are."""
    table = pa.table({"n": np.arange(1_000)})
    for kind in KINDS:
        for group in (1_000, 130, 64):
            path = folder / f"in.{kind}"
            write(path, table, row_group_size=group)
            source = open_source(path, kind)  # type: ignore[arg-type]
            assert source.total == 1_000
            for start in (0, 1, 63, 64, 129, 130, 131, 500, 999, 1_000):
                reads = list(source.chunks(start, 64))
                values = [n for one in reads for n in one.chunk.column("n").tolist()]
                assert values == list(range(start, 1_000)), (kind, group, start)
                assert [one.position for one in reads] == np.cumsum(
                    [start + reads[0].chunk.rows if reads else 0, *(one.chunk.rows for one in reads[1:])]
                ).tolist()[: len(reads)]
                assert all(one.chunk.rows <= 64 for one in reads)


def missing_numbers(folder: Path) -> None:
    """Long ids keep their digits beside a missing value; pandas' index columns are not given to the method."""
    save_echo("table")
    frame = people(3)[["age"]].assign(id=[2**53 + 1, 2, 3])
    table = pa.Table.from_pandas(frame.set_index(np.array([5, 9, 7])))
    assert "__index_level_0__" in table.column_names
    ids = pa.array([2**53 + 1, None, 3], pa.int64())
    write(folder / "in.parquet", table.set_column(1, "id", ids))
    vtsserving.predict_file(
        "echo", folder / "in.parquet", folder / "out.parquet", columns=["id"], rows_as="table"
    )
    shown = read(folder / "out.parquet")["prediction"].to_pylist()
    assert shown[0] == f"{{'id': {2**53 + 1}}}"
    vtsserving.predict_file("echo", folder / "in.parquet", folder / "out.parquet")
    assert "__index" not in read(folder / "out.parquet")["prediction"][0].as_py()


def refused(folder: Path) -> None:
    """Damaged files and other columns: the error that a request gets, and nothing is written."""
    save_people()
    write(folder / "in.parquet", pa.table({"age": [1], "fare": [1.0]}))
    for name, error in (("in.parquet", BadShape), ("torn.parquet", BadInput), ("torn.arrow", BadInput)):
        path = folder / name
        if name.startswith("torn"):
            whole = folder / f"whole{path.suffix}"
            write(whole, pa.Table.from_pandas(people(100)))
            path.write_bytes(whole.read_bytes()[:-40])
        try:
            vtsserving.predict_file("people", path, folder / "out.parquet")
        except error:
            assert not list(folder.glob("*out*"))
        else:
            raise AssertionError(name)


def shared_names(folder: Path) -> None:
    """Columns that share a name go by position where the method has the very same ones."""

    def shown(frame: Any) -> list[str]:
        return ["|".join(map(str, row)) for row in frame.itertuples(index=False, name=None)]

    example = pd.DataFrame({0: ["01067", "x"], 1: [1, 2], 2: [0.5, 1.5]})
    example.columns = ["a", "a", "b"]
    vtsserving.picklable_model.save_model("shared", shown, input_example=example)
    columns = [pa.array(["01067", "1E5"] * 50), pa.array(range(100)), pa.array([0.5, None] * 50)]
    right = [f"{text}|{at}|{part}" for at, (text, part) in enumerate([("01067", 0.5), ("1E5", "nan")] * 50)]
    for kind in KINDS:
        path = folder / f"in.{kind}"
        write(path, pa.Table.from_arrays(columns, names=["a", "a", "b"]), row_group_size=30)
        for many in (None, 2):
            vtsserving.predict_file("shared", path, folder / "out.parquet", processes=many)
            assert read(folder / "out.parquet").to_pydict() == {"prediction": right}
        write(path, pa.Table.from_arrays(columns, names=["a", "b", "a"]))
        try:
            vtsserving.predict_file("shared", path, folder / "out.parquet")
        except BadShape as error:
            assert "must be 'a', 'a', 'b' in this order" in error.message
        else:
            raise AssertionError(kind)


def memory(folder: Path) -> None:
    """One row group of half a gigabyte takes no more than some chunks of it."""
    save_trouble(folder)
    rows = 24 * 2**20
    random = np.random.default_rng(1)
    schema = pa.schema([("a", pa.float64()), ("b", pa.float64())])
    # Made by another process: what writing takes must not count here.
    if os.fork() == 0:
        table = pa.table([random.random(rows) + 1_000, random.random(rows)], schema=schema)
        pq.write_table(table, folder / "in.parquet", row_group_size=rows, use_dictionary=False)
        os._exit(0)
    assert os.wait()[1] == 0
    assert pq.ParquetFile(folder / "in.parquet").metadata.num_row_groups == 1
    write(folder / "small.parquet", pa.table({"a": [1.0], "b": [1.0]}))
    vtsserving.predict_file("trouble", folder / "small.parquet", folder / "out.parquet")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    vtsserving.predict_file("trouble", folder / "in.parquet", folder / "out.parquet")
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024 - before
    assert pq.ParquetFile(folder / "out.parquet").metadata.num_rows == rows
    assert more < 400, f"{more} MiB more"


CHECKS: dict[str, Callable[[Path], None]] = {
    check.__name__: check
    for check in (
        formats,
        processes,
        kept,
        columns_of_lists,
        positions,
        missing_numbers,
        refused,
        shared_names,
        memory,
    )
}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        CHECKS[sys.argv[1]](Path(made))
    print("ok")
