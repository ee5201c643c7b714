"""What each form of a body costs beside the native JSON route, for one row and for many; writes benchmarks/formats.md.

All routes are those of one `vtsserving serve` process, their rounds are interleaved, every answer is checked: it was
decoded and compared with the model's own when the requests were made, and has to stay the same byte for byte. usage:
python -m benchmarks.formats [--rounds N] [--measure-s S] [--dry]
"""

from __future__ import annotations

import http.client
import importlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from benchmarks import ratios
from benchmarks.run import PREDICT, WORK, System
from examples.demo import DemoFailed, Processes, free_port, train_and_save, wait_ready
from tests.support.provenance import REPOSITORY, commit, machine

from vtsserving._codecs.npy import read_npy, write_npy
from vtsserving._wire.values import decode_value, encode_value

RESULTS: Final = REPOSITORY / "benchmarks" / "formats.md"
ARROW: Final = REPOSITORY / ".venv" / "clients" / "arrow"
"""Where pyarrow is installed for this benchmark alone."""

CLIENTS: Final = 16
SIZES: Final = (1, 64)
"""Rows of a request."""

CASES: Final = 64
"""Different requests of each form and size."""

INFER: Final = "/v2/models/iris_clf/infer"
LENGTH: Final = "Inference-Header-Content-Length"


class Form(NamedTuple):
    """One way to ask.

    Attributes:
        name: in the table.
        path: of the route.
        write: rows to (headers, body).
        read: (answer's headers, body) to predictions.
    """

    name: str
    path: str
    write: Callable[[Any], tuple[dict[str, str], bytes]]
    read: Callable[[Any, bytes], Any]


def _typed(media_type: str, write: Callable[[Any], bytes]) -> Callable[[Any], tuple[dict[str, str], bytes]]:
    return lambda rows: ({"Content-Type": media_type, "Accept": media_type}, write(rows))


def _to_arrow(rows: Any) -> bytes:
    pa: Any = importlib.import_module("pyarrow")
    table = pa.table({str(i): rows[:, i] for i in range(rows.shape[1])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _from_arrow(headers: Any, body: bytes) -> Any:
    pa: Any = importlib.import_module("pyarrow")
    with pa.ipc.open_stream(body) as reader:
        return reader.read_all().column(0).to_numpy()


def _oip_json(rows: Any) -> tuple[dict[str, str], bytes]:
    tensor = {"name": "X", "shape": rows.shape, "datatype": "FP64", "data": rows.ravel().tolist()}
    return {"Content-Type": "application/json"}, json.dumps({"inputs": [tensor]}).encode()


def _oip_binary(rows: Any) -> tuple[dict[str, str], bytes]:
    parameters = {"binary_data_size": rows.nbytes}
    tensor = {"name": "X", "shape": rows.shape, "datatype": "FP64", "parameters": parameters}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}, head + rows.tobytes()


def _from_binary(headers: Any, body: bytes) -> Any:
    return np.frombuffer(body[int(headers[LENGTH]) :], "<i8")


def _from_json(headers: Any, body: bytes) -> Any:
    return json.loads(body)


FORMS: Final = (
    Form(
        "native, JSON",
        PREDICT,
        _typed("application/json", lambda x: json.dumps(x.tolist()).encode()),
        _from_json,
    ),
    Form("native, .npy", PREDICT, _typed("application/x-npy", write_npy), lambda _, body: read_npy(body)),
    Form(
        "native, msgpack",
        PREDICT,
        _typed("application/msgpack", lambda x: encode_value(x, "the rows")),
        lambda _, body: decode_value(body),
    ),
    Form("native, Arrow", PREDICT, _typed("application/vnd.apache.arrow.stream", _to_arrow), _from_arrow),
    Form("/v2, JSON", INFER, _oip_json, lambda _, body: json.loads(body)["outputs"][0]["data"]),
    Form("/v2, binary", INFER, _oip_binary, _from_binary),
    Form(
        "Service, JSON",
        "/classify_async",
        lambda x: ({"Content-Type": "application/json"}, json.dumps(x.tolist()).encode()),
        _from_json,
    ),
)
"""The first one is what the others are compared with."""


def install_arrow() -> None:
    """Install pyarrow where only this benchmark finds it: our own environment does without."""
    if not ARROW.exists():
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--target", str(ARROW), "pyarrow>=15"], check=True)
    sys.path.append(str(ARROW))


def serve(processes: Processes) -> System:
    """Start `vtsserving serve` with the model and the Service of benchmarks/service_app.py."""
    port = free_port()
    target = str(REPOSITORY / "benchmarks" / "service_app.py") + ":svc"
    command = [sys.executable, "-m", "vtsserving_cli", "serve", target, "--port", str(port)]
    environment = {"VTSSERVING_HOME": str(WORK), "PYTHONPATH": str(ARROW)}
    served = processes.start("serve", command, environment)
    wait_ready(served, port)
    return System("serve", port, "-", (served.process.pid,))


def write_cases(form: Form, size: int, port: int, clf: Any, rows: Any) -> Path:
    """Whole requests and their answers for the load generator; the answers are checked against the model."""
    path = WORK / f"{FORMS.index(form)}-{size}.cases"
    random = np.random.default_rng(size)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with path.open("wb") as file:
        for _ in range(CASES):
            some = rows[random.integers(0, len(rows), size)]
            headers, body = form.write(some)
            connection.request("POST", form.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise DemoFailed(f"{form.name}: {answer.status} {content[:200]!r}")
            if list(form.read(answer.headers, content)) != clf.predict(some).tolist():
                raise DemoFailed(f"{form.name}: a wrong answer")
            fields = {"Host": "127.0.0.1", "Content-Length": str(len(body)), **headers}
            lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            request = f"POST {form.path} HTTP/1.1\r\n{lines}\r\n".encode() + body
            for part in (request, content):
                file.write(struct.pack("=I", len(part)) + part)
    connection.close()
    return path


def start(processes: Processes) -> list[ratios.Asked]:
    """The server with its routes, and each form of a body by the rows in it."""
    install_arrow()
    clf, rows = train_and_save()
    system = serve(processes)
    return [
        ratios.Asked(size, form.name, system, write_cases(form, size, system.port, clf, rows), CLIENTS)
        for size in SIZES
        for form in FORMS
    ]


def main() -> int:
    options = ratios.parser("Each form of a body beside native JSON.", measure_s=1.0).parse_args()
    columns = {"size": "rows", "name": "form", "base": "native JSON"}
    return ratios.run(options, start, columns, RESULTS, page)


def page(lines: list[str], rounds: int, measure_s: float) -> str:
    """The whole of formats.md."""
    head = [
        "# Each form of a body beside native JSON",
        "",
        "<!-- Written by `make bench` (benchmarks/formats.py). -->",
        "",
        f"- Commit {commit()}; machine: {machine()}; its load average at the end: {os.getloadavg()[0]:.0f}.",
        "  The load generator runs on the same cores.",
        f"- Method: as in results.md; {CLIENTS} clients, rows of four numbers, medians of {rounds} interleaved rounds",
        f"  of {measure_s:g} s; all routes in one `vtsserving serve` process. What counts is its CPU time with its",
        "  model process's: it depends least on what else the machine does. Answers come in the form of the question.",
        "",
    ]
    return "\n".join([*head, *lines]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
