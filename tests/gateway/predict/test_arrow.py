"""Arrow streams, with a pyarrow that is installed where only this test sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.python_process import install, python_with

PROGRAM = """
import numpy as np
import pandas as pd
import pyarrow as pa

from support.backend import entry
from support.served_gateway import post, served

ARROW = "application/vnd.apache.arrow.stream"


def write(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def read(body):
    return pa.ipc.open_stream(body).read_all()


functions = {
    ("table", "predict"): lambda frame: frame.assign(c=frame["a"] * 2),
    ("rows", "predict"): lambda X: np.asarray(X)[:, :1],
    ("whole", "predict"): lambda x: {"no": "table"},
}
entries = [entry("table"), entry("rows"), entry("whole")]
with served(entries, functions) as gateway:
    def ask(body, model, kind=ARROW, accept=ARROW):
        return gateway.ask(post(body, f"/v1/models/{model}", {"Content-Type": kind, "Accept": accept}))

    sent = pa.table({"a": [1, 2], "b": ["x", "y"]})
    answer = ask(write(sent), "table")
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == ARROW
    assert read(answer.body).to_pydict() == {"a": [1, 2], "b": ["x", "y"], "c": [2, 4]}
    assert ask(write(sent), "table", accept="application/json").json == [
        {"a": 1, "b": "x", "c": 2}, {"a": 2, "b": "y", "c": 4},
    ]
    answer = ask(b"[[1, 2], [3, 4]]", "rows", "application/json")
    assert read(answer.body).to_pydict() == {"0": [1, 3]}
    for bad in (b"no arrow", write(sent)[:-40], b"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x7f"):
        answer = ask(bad, "table")
        assert (answer.code, answer.status) == ("bad_input", 400), answer
    assert ask(b"", "table").code == "empty_body"
print("ok")
"""

pytestmark = [pytest.mark.frameworks("own"), pytest.mark.slow, pytest.mark.timeout(600)]


def test_tables_come_and_go_as_arrow_streams(tmp_path: Path) -> None:
    assert python_with(install(tmp_path), "-c", PROGRAM) == "ok\n"
