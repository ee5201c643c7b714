"""The real tritonclient, sync and asyncio, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.backend import entry, rows_spec
from support.client_environment import client_interpreter
from support.served_gateway import served

SYNC = """
import json, sys
import numpy as np
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

client = http.InferenceServerClient(sys.argv[1], concurrency=4)
rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
results = []
for binary in (True, False):
    for dtype, name in ((np.float64, "FP64"), (np.float32, "FP32"), (np.int64, "INT64")):
        given = http.InferInput("X", [2, 4], name)
        given.set_data_from_numpy(rows.astype(dtype), binary_data=binary)
        for outputs in (None, [http.InferRequestedOutput("output", binary_data=binary)]):
            for algorithm in (None, "gzip", "deflate"):
                answer = client.infer(
                    "iris", [given], outputs=outputs, request_id="9", timeout=5_000_000,
                    request_compression_algorithm=algorithm, response_compression_algorithm=algorithm,
                )
                assert answer.get_response()["id"] == "9"
                results.append(answer.as_numpy("output").tolist())
echoed = []
for name, dtype in (
    ("BOOL", bool), ("UINT8", "u1"), ("UINT16", "u2"), ("UINT32", "u4"), ("UINT64", "u8"), ("INT8", "i1"),
    ("INT16", "i2"), ("INT32", "i4"), ("INT64", "i8"), ("FP16", "f2"), ("FP32", "f4"), ("FP64", "f8"),
):
    for binary in (True, False) if name != "FP16" else (True,):
        array = np.array([[0, 1], [1, 0]], dtype)
        sent = http.InferInput("t", [2, 2], name)
        sent.set_data_from_numpy(array, binary_data=binary)
        wanted = [http.InferRequestedOutput("output", binary_data=binary)]
        back = client.infer("echo", [sent], outputs=wanted).as_numpy("output")
        echoed.append([name, str(back.dtype) == str(array.dtype), back.tolist() == array.tolist()])
text = http.InferInput("t", [3], "BYTES")
text.set_data_from_numpy(np.array(["a", "", "\\u00e9"], dtype=object))
futures = [client.async_infer("iris", [given]) for _ in range(50)]
refused = []
for model, version, inputs in (
    ("nothing", "", [given]), ("iris", "9", [given]), ("iris", "", [text]), ("iris", "", [given, text]),
):
    try:
        client.infer(model, inputs, model_version=version)
    except InferenceServerException as error:
        refused.append([error.status(), error.message()])
shared = []
outside = http.InferInput("X", [2, 4], "FP64")
outside.set_shared_memory("mine", 64)
wanted = http.InferRequestedOutput("output")
wanted.set_shared_memory("mine", 64)
for attempt in (
    lambda: client.register_system_shared_memory("mine", "/mine", 64),
    lambda: client.infer("iris", [outside]),
    lambda: client.infer("iris", [given], outputs=[wanted]),
):
    try:
        attempt()
    except InferenceServerException as error:
        shared.append([error.status(), error.message()])
print(json.dumps({
    "shared": shared,
    "echoed": echoed,
    "versions": [
        client.infer("iris", [given], model_version=version).get_response()["model_version"]
        for version in ("latest", "v1", "1")
    ],
    "unready": [client.is_model_ready("away"), client.is_model_ready("nothing")],
    "config of a version": client.get_model_config("iris", "1"),
    "all statistics": client.get_inference_statistics(),
    "alive": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("iris")],
    "server": client.get_server_metadata(),
    "model": client.get_model_metadata("iris"),
    "config": client.get_model_config("iris"),
    "results": results,
    "async": [future.get_result().as_numpy("output").tolist() for future in futures],
    "text": [item.decode() for item in client.infer("echo", [text]).as_numpy("output")],
    "numbered": client.infer("iris", [given], model_version="1").get_response()["model_version"],
    "statistics": client.get_inference_statistics("iris")["model_stats"][0],
    "index": client.get_model_repository_index(),
    "refused": refused,
}))
"""

ASYNCIO = """
import asyncio, json, sys
import numpy as np
import tritonclient.http.aio as http

async def main():
    async with http.InferenceServerClient(sys.argv[1]) as client:
        given = http.InferInput("X", [1, 4], "FP64")
        given.set_data_from_numpy(np.array([[1.0, 2, 3, 4]]))
        answers = await asyncio.gather(*[client.infer("iris", [given]) for _ in range(100)])
        ready = await client.is_server_ready() and await client.is_model_ready("iris", "1")
        assert (await client.get_model_metadata("iris", "1"))["name"] == "iris"
        assert (await client.get_inference_statistics("iris"))["model_stats"][0]["name"] == "iris"
        assert (await client.get_model_repository_index())[0]["state"] in ("READY", "UNAVAILABLE")
    print(json.dumps([ready, [answer.as_numpy("output").tolist() for answer in answers]]))

asyncio.run(main())
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter with tritonclient and without vtsserving."""
    return client_interpreter("tritonclient")


def run(python: Path, program: str, port: int) -> Any:
    done = subprocess.run(
        [str(python), "-c", program, f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tritonclient_gets_what_it_expects(python: Path) -> None:
    output = {"predict": {"dtype": "float64", "shape": [-1]}}
    entries = [
        replace(entry("iris", input_specs=rows_spec(4)), output_specs=output),
        entry("echo"),
        entry("away"),
    ]
    functions = {("iris", "predict"): lambda X: X.sum(axis=1), ("echo", "predict"): lambda t: t}
    with served(entries, functions) as gateway:
        gateway.run(lambda: gateway.backend.loaded.extend(["iris:v1", "echo:v1"]))
        found = run(python, SYNC, gateway.port)
        assert run(python, ASYNCIO, gateway.port) == [True, [[10.0]] * 100]
    assert found["alive"] == [True, True, True]
    assert found["server"]["name"] == "vtsserving"
    assert found["model"]["inputs"] == [
        {"name": "X", "datatype": "FP64", "shape": [-1, 4], "parameters": {"kind": "rows"}}
    ]
    assert found["model"]["outputs"] == [{"name": "output", "datatype": "FP64", "shape": [-1]}]
    assert found["config"]["max_batch_size"] == 64
    assert found["results"] == [[10.0, 26.0]] * 36
    assert found["async"] == [[10.0, 26.0]] * 50
    assert found["text"] == ["a", "", "é"]
    assert found["numbered"] == "1"
    assert found["statistics"]["inference_stats"]["success"]["count"] >= 36
    assert {model["name"] for model in found["index"]} == {"iris", "echo", "away"}
    assert [status for status, _ in found["refused"]] == ["404", "404", "400", "400"]
    assert [status for status, _ in found["shared"]] == ["404", "400", "400"]
    assert all("send tensors within requests" in message for _, message in found["shared"])
    assert [row for row in found["echoed"] if row[1:] != [True, True]] == []
    assert found["versions"] == ["v1", "v1", "1"]
    assert found["unready"] == [False, False]
    assert found["config of a version"] == found["config"]
    assert {each["name"] for each in found["all statistics"]["model_stats"]} >= {"iris", "echo"}
    assert "model_repository" in found["server"]["extensions"]
