"""kserve's InferenceRESTClient, in an environment of its own, since it holds other versions of what we use."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from support.backend import entry, rows_spec
from support.client_environment import client_interpreter
from support.served_gateway import served

PROGRAM = r"""
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceRESTClient, RESTConfig


async def main(url):
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30, retries=1))
    rows = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    results, refused = [], []
    for binary in (True, False):
        for name, dtype in (("FP64", np.float64), ("FP32", np.float32), ("INT64", np.int64)):
            given = InferInput("X", [2, 4], name)
            given.set_data_from_numpy(rows.astype(dtype), binary_data=binary)
            request = InferRequest(model_name="iris", infer_inputs=[given], request_id="r1")
            answer = await client.infer(url, request, model_name="iris")
            output = answer.outputs[0]
            results.append([answer.id, output.name, output.as_numpy().tolist()])
    texts = InferInput("t", [2], "BYTES")
    texts.set_data_from_numpy(np.array(["a", "\u00e9"], dtype=object), binary_data=False)
    echo = await client.infer(url, InferRequest(model_name="echo", infer_inputs=[texts]), model_name="echo")
    for model, sent in (("nothing", [given]), ("iris", [texts])):
        try:
            await client.infer(url, InferRequest(model_name=model, infer_inputs=sent), model_name=model)
        except Exception as error:
            refused.append([error.response.status_code, str(error)])
    plain = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]}
    print(json.dumps({
        "results": results,
        "plain": (await client.infer(url, plain, model_name="iris")).outputs[0].data,
        "echo": echo.outputs[0].data,
        "server": [await client.is_server_ready(url), await client.is_server_live(url)],
        "models": [await client.is_model_ready(url, name) for name in ("iris", "away")],
        "refused": refused,
    }))


asyncio.run(main(sys.argv[1]))
"""

pytestmark = [pytest.mark.frameworks("kserve"), pytest.mark.slow, pytest.mark.timeout(900)]


def test_kserves_client_gets_what_it_expects() -> None:
    python = client_interpreter("kserve")
    entries = [entry("iris", input_specs=rows_spec(4)), entry("echo"), entry("away")]
    entries[0] = replace(entries[0], output_specs={"predict": {"dtype": "float64", "shape": [-1]}})
    functions = {("iris", "predict"): lambda X: X.sum(axis=1), ("echo", "predict"): lambda t: t}
    with served(entries, functions) as gateway:
        gateway.run(lambda: gateway.backend.loaded.extend(["iris:v1", "echo:v1"]))
        done = subprocess.run(
            [str(python), "-c", PROGRAM, f"http://127.0.0.1:{gateway.port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["results"] == [["r1", "output", [10.0, 26.0]]] * 6
    assert found["plain"] == [10.0]
    assert found["echo"] == ["a", "é"]
    assert found["server"] == [True, True]
    assert found["models"] == [True, False]
    assert [status for status, _ in found["refused"]] == [404, 400]
    assert "no model 'nothing'" in found["refused"][0][1]
    assert "no input 't'; the method takes X" in found["refused"][1][1]
