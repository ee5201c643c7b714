"""The Open Inference Protocol as its clients speak it: JSON and binary tensors, metadata, statistics, errors."""

from __future__ import annotations

import gzip
import json
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from support.backend import entry, rows_spec
from support.served_gateway import Answer, ServedGateway, get, post, served
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_record import write_contracts
from vtsserving._model.signature import ModelSignature

BATCHABLE = ModelSignature(batchable=True)
WHOLE = ModelSignature()
OUTPUT = {"predict": {"dtype": "float64", "shape": [-1]}}
PAIR = {"predict": {"args": [{"name": name, "dtype": "float32", "shape": [-1, 2]} for name in ("a", "b")]}}

ENTRIES = [
    entry("iris", "first", input_specs=rows_spec(4)),
    replace(entry("iris", "2", input_specs=rows_spec(4)), ordinal=2),
    replace(entry("iris", "third", input_specs=rows_spec(4)), ordinal=3, output_specs=OUTPUT),
    entry("free", methods={"predict": BATCHABLE, "other": BATCHABLE}),
    entry("pair", input_specs=PAIR),
    entry("many", methods={"one": BATCHABLE, "two": BATCHABLE}),
    entry("named", methods={"__call__": WHOLE}),
    replace(entry("5early", "5early"), ordinal=1),
    replace(
        entry("minus", methods={"predict": BATCHABLE, "times": BATCHABLE}),
        contract_record=write_contracts(
            {
                method: MethodContract(
                    True, names=("a", "b"), keywords=("scale",), takes_more=False, lists="arrays"
                )
                for method in ("predict", "times")
            }
        )["contract"],
    ),
    replace(
        entry("defaults", input_specs=PAIR),
        contract_record=write_contracts(
            {"predict": MethodContract(True, names=("a", "b", "c"), required=("a",), takes_more=False)}
        )["contract"],
    ),
    replace(
        entry("booster", input_specs=rows_spec(4)),
        output_specs=OUTPUT,
        contract_record=write_contracts(
            {"predict": MethodContract(True, names=("data", "scale"), required=("data",), takes_more=False)}
        )["contract"],
    ),
    replace(
        entry("quantiles"),
        contract_record=write_contracts(
            {
                "predict": MethodContract(
                    True, names=("X", "quantiles"), lists="arrays", undescribed="parameter"
                )
            }
        )["contract"],
    ),
    replace(
        entry("texts"),
        contract_record=write_contracts({"predict": MethodContract(True, names=("texts",))})["contract"],
    ),
]
FUNCTIONS = {
    ("iris", "predict"): lambda X: X.sum(axis=1),
    ("free", "predict"): lambda X: X,
    ("pair", "predict"): lambda a, b: a - b,
    ("minus", "predict"): lambda a, b, scale=1: (a - b) * np.asarray(scale).ravel()[0],
    ("minus", "times"): lambda a, b, scale=1: a * b,
    ("texts", "predict"): lambda texts: [type(texts).__name__, *texts][1:] if type(texts) is list else None,
    ("defaults", "predict"): lambda a, b=0, c=0: a + 10 * b + 100 * c,
    ("booster", "predict"): lambda data, scale=1: (data.sum(axis=1), data[:, 0]),
    ("quantiles", "predict"): lambda X, quantiles=0.5: [[type(quantiles).__name__] for _ in X],
    ("named", "__call__"): lambda *args: {
        "x": np.array([[1.5, 2.5]]),
        "n": np.array([7]),
        "t": np.array(["é", ""]),
    },
}
LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def gateway() -> Iterator[ServedGateway]:
    """Shadows the shared gateway with one that has versions and numbers."""
    with served(ENTRIES, FUNCTIONS, {"max_body_bytes": 200_000}) as running:
        yield running


GOOD: dict[str, Any] = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}]}


@pytest.fixture
def unharmed(gateway: ServedGateway) -> Iterator[ServedGateway]:
    yield gateway
    assert outputs(infer(gateway, GOOD))["output"] == [10.0]
    assert gateway.run(
        lambda: (gateway.app.gateway.buffered_bytes, gateway.app.gateway.metrics.in_progress)
    ) == (0, 0)


def infer(
    gateway: ServedGateway,
    request: Any,
    binary: bytes = b"",
    *,
    model: str = "iris",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    head = json.dumps(request).encode()
    extra = {LENGTH: str(len(head))} if binary else {}
    return gateway.ask(post(head + binary, f"/v2/models/{model}/infer", {**extra, **(headers or {})}))


def outputs(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer
    return {output["name"]: output["data"] for output in answer.json["outputs"]}


def tensor(array: np.ndarray[Any, Any], datatype: str, name: str = "X") -> dict[str, Any]:
    parameters = {"binary_data_size": array.nbytes}
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "parameters": parameters}


def error(answer: Answer) -> str:
    assert set(answer.json) == {"error"}, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    return str(answer.json["error"])


# --- inference -------------------------------------------------------------------------------------------------------


def test_an_answer_has_the_protocols_shape(unharmed: ServedGateway) -> None:
    answer = infer(unharmed, {"id": "42", **GOOD})
    assert answer.json == {
        "model_name": "iris",
        "model_version": "third",
        "id": "42",
        "outputs": [{"name": "output", "shape": [1], "datatype": "FP64", "data": [10.0]}],
    }
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-vts-model"] == "iris:third"
    assert "id" not in infer(unharmed, GOOD).json


@pytest.mark.parametrize(
    "data", [[1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]]], ids=["flat", "nested"]
)
def test_json_data_may_be_flat_or_nested(unharmed: ServedGateway, data: list[Any]) -> None:
    request = {"inputs": [{"name": "X", "shape": [2, 4], "datatype": "FP32", "data": data}]}
    assert outputs(infer(unharmed, request))["output"] == [10.0, 26.0]


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        ("BOOL", "bool"), ("UINT8", "u1"), ("UINT16", "u2"), ("UINT32", "u4"), ("UINT64", "u8"), ("INT8", "i1"),
        ("INT16", "i2"), ("INT32", "i4"), ("INT64", "i8"), ("FP16", "f2"), ("FP32", "f4"), ("FP64", "f8"),
    ],
)  # fmt: skip
def test_binary_tensors_survive_from_end_to_end(unharmed: ServedGateway, datatype: str, dtype: str) -> None:
    array = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    request = {"inputs": [tensor(array, datatype)], "parameters": {"binary_data_output": True}}
    answer = infer(unharmed, request, array.tobytes(), model="free")
    assert answer.headers["content-type"] == "application/octet-stream"
    size = int(answer.headers[LENGTH.lower()])
    (output,) = json.loads(answer.body[:size])["outputs"]
    assert output == {
        "name": "output", "shape": [2, 3], "datatype": datatype, "parameters": {"binary_data_size": array.nbytes},
    }  # fmt: skip
    assert answer.body[size:] == array.tobytes()


def test_bf16_is_read_as_float32(unharmed: ServedGateway) -> None:
    data = np.array([[1.5, -2.0, 0.5, 4.0]], np.float32).view(np.uint32).astype(np.uint32) >> 16
    request = {"inputs": [tensor(data.astype(np.uint16), "BF16")]}
    assert outputs(infer(unharmed, request, data.astype("<u2").tobytes()))["output"] == [4.0]


def strings(*items: str) -> bytes:
    return b"".join(struct.pack("<I", len(item.encode())) + item.encode() for item in items)


def test_bytes_are_strings_in_json_and_lengths_and_bytes_in_binary(unharmed: ServedGateway) -> None:
    request = {"inputs": [{"name": "t", "shape": [3], "datatype": "BYTES", "data": ["a", "", "é"]}]}
    assert outputs(infer(unharmed, request, model="free"))["output"] == ["a", "", "é"]
    data = strings("a", "", "é")
    request = {
        "inputs": [
            {"name": "t", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}
        ],
        "outputs": [{"name": "output", "parameters": {"binary_data": True}}],
    }
    answer = infer(unharmed, request, data, model="free")
    assert answer.body[int(answer.headers[LENGTH.lower()]) :] == data


def test_several_inputs_are_matched_by_name(unharmed: ServedGateway) -> None:
    a, b = np.array([[3, 4]], np.float32), np.array([[1, 1]], np.float32)
    for order in ("ab", "ba"):
        arrays = {"a": a, "b": b}
        request = {"inputs": [tensor(arrays[name], "FP32", name) for name in order]}
        answer = infer(unharmed, request, b"".join(arrays[name].tobytes() for name in order), model="pair")
        assert outputs(answer)["output"] == [2.0, 3.0]


def test_binary_and_json_inputs_may_be_mixed(unharmed: ServedGateway) -> None:
    b = np.array([[1, 1]], np.float32)
    request = {
        "inputs": [{"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [3, 4]}, tensor(b, "FP32", "b")]
    }
    assert outputs(infer(unharmed, request, b.tobytes(), model="pair"))["output"] == [2.0, 3.0]


def test_named_results_are_named_outputs(unharmed: ServedGateway) -> None:
    request: dict[str, Any] = {"inputs": [{"name": "i", "shape": [1], "datatype": "INT64", "data": [1]}]}
    assert outputs(infer(unharmed, request, model="named")) == {"x": [1.5, 2.5], "n": [7], "t": ["é", ""]}
    request["outputs"] = [{"name": "n"}, {"name": "x", "parameters": {"binary_data": True}}]
    answer = infer(unharmed, request, model="named")
    size = int(answer.headers[LENGTH.lower()])
    described = json.loads(answer.body[:size])["outputs"]
    assert [output["name"] for output in described] == ["n", "x"]
    assert np.frombuffer(answer.body[size:], "<f8").tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("identity", bytes)]
)
def test_compressed_requests_are_read(unharmed: ServedGateway, encoding: str, pack: Any) -> None:
    array = np.array([[1, 2, 3, 4]], np.float64)
    head = json.dumps({"inputs": [tensor(array, "FP64")]}).encode()
    body = pack(head + array.tobytes())
    answer = unharmed.ask(
        post(body, "/v2/models/iris/infer", {"Content-Encoding": encoding, LENGTH: str(len(head))})
    )
    assert outputs(answer)["output"] == [10.0]


@pytest.mark.parametrize(
    ("path", "version"),
    [
        ("iris", "third"),
        ("iris/versions/first", "first"),
        ("iris/versions/2", "2"),
        ("iris/versions/3", "3"),
        ("iris:first", "first"),
        ("iris/versions/latest", "third"),
    ],
)
def test_versions_are_found_by_reference_and_by_number(
    unharmed: ServedGateway, path: str, version: str
) -> None:
    for _ in range(2):
        assert infer(unharmed, GOOD, model=path).json["model_version"] == version


@pytest.mark.alone
def test_the_timeout_parameter_is_the_deadline_in_microseconds(unharmed: ServedGateway) -> None:
    backend = unharmed.backend
    unharmed.run(lambda: setattr(backend, "hold", True))
    started_s = time.monotonic()
    answer = infer(unharmed, {**GOOD, "parameters": {"timeout": 100_000}})
    assert answer.status == 504
    assert 0.09 < time.monotonic() - started_s < 0.5
    error(answer)
    unharmed.run(backend.release)


# --- bad input -------------------------------------------------------------------------------------------------------


def one(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{**GOOD["inputs"][0], **changes}]}


BAD = [
    ("no object", [1], "JSON object"),
    ("no inputs", {}, "inputs"),
    ("empty inputs", {"inputs": []}, "inputs"),
    ("inputs no list", {"inputs": {}}, "inputs"),
    ("input no object", {"inputs": [1]}, "object with a name"),
    ("no name", {"inputs": [{"shape": [1], "datatype": "FP32", "data": [1]}]}, "object with a name"),
    ("unknown name", one(name="Y"), "no input 'Y'"),
    ("twice", {"inputs": GOOD["inputs"] * 2}, "twice"),
    ("no shape", {"inputs": [{"name": "X", "datatype": "FP64", "data": [1]}]}, "shape"),
    ("negative shape", one(shape=[-1, 4]), "shape"),
    ("fractional shape", one(shape=[1.5, 4]), "shape"),
    ("boolean shape", one(shape=[True, 4]), "shape"),
    ("overflowing shape", one(shape=[2**62, 2**62]), "expected shape"),
    ("9 dimensions", one(shape=[1] * 9), "dimensions"),
    ("unknown datatype", one(datatype="FP128"), "datatype"),
    ("datatype no string", one(datatype=5), "datatype"),
    ("FP16 in JSON", one(datatype="FP16"), "no JSON form"),
    ("too little data", one(data=[1, 2, 3]), "expected shape"),
    ("too much data", one(data=[1, 2, 3, 4, 5]), "expected shape"),
    ("strings for numbers", one(data=["1", 2, 3, 4]), "is a string"),
    ("booleans for numbers", one(data=[True, 2, 3, 4]), "true or false"),
    ("null among whole numbers", one(datatype="INT64", data=[None, 2, 3, 4]), "null"),
    ("no data", {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP64"}]}, "no data"),
    ("wrong width", one(shape=[2, 2]), "expected shape"),
    ("out of range", one(datatype="UINT8", data=[300, 2, 3, 4]), "outside"),
    ("id no string", {"id": 5, **GOOD}, "'id'"),
    ("parameters no object", {"parameters": [], **GOOD}, "'parameters'"),
    ("timeout no number", {"parameters": {"timeout": "1"}, **GOOD}, "timeout"),
    ("unknown output", {"outputs": [{"name": "nothing"}], **GOOD}, "no output 'nothing'"),
    ("output no object", {"outputs": [1], **GOOD}, "object with a name"),
    ("binary size without data", one(parameters={"binary_data_size": 32}), "does not fit"),
    ("negative binary size", one(parameters={"binary_data_size": -1}), "does not fit"),
    ("both kinds of data", one(parameters={"binary_data_size": 0}), "both"),
    (
        "shared memory",
        one(parameters={"shared_memory_region": "mine"}),
        "'X' is in the region 'mine': shared memory",
    ),
    (
        "shared memory for an output",
        {"outputs": [{"name": "output", "parameters": {"shared_memory_region": "r"}}], **GOOD},
        "send tensors within requests",
    ),
]


@pytest.mark.parametrize(("request_", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_request_is_400_and_says_why(unharmed: ServedGateway, request_: Any, message: str) -> None:
    answer = infer(unharmed, request_)
    assert answer.status == 400
    assert message in error(answer)


ARRAY = np.array([[1, 2, 3, 4]], np.float64)


@pytest.mark.parametrize(
    ("request_", "binary", "message"),
    [
        ({"inputs": [tensor(ARRAY, "FP64")]}, ARRAY.tobytes()[:-1], "does not fit"),
        ({"inputs": [tensor(ARRAY, "FP64")]}, ARRAY.tobytes() + b"x", "the body 33"),
        ({"inputs": [tensor(ARRAY, "FP32")]}, ARRAY.tobytes(), "are no FP32 tensor"),
        ({"inputs": [{**tensor(ARRAY, "BYTES"), "shape": [4]}]}, ARRAY.tobytes(), "strings"),
    ],
    ids=["short", "long", "other datatype", "no strings"],
)
def test_binary_data_that_does_not_add_up_is_400(
    unharmed: ServedGateway, request_: Any, binary: bytes, message: str
) -> None:
    answer = infer(unharmed, request_, binary)
    assert answer.status == 400
    assert message in error(answer)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b'{"inputs": NaN}', {}, 400),
        (b'{"id": "1", "id": "2"}', {}, 400),
        (b"[" * 5_000, {}, 400),
        (b"{}", {LENGTH: "3"}, 400),
        (b"{}", {LENGTH: "-1"}, 400),
        (b"{}", {LENGTH: "x"}, 400),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"{}", {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], {"Content-Encoding": "gzip"}, 400),
        (gzip.compress(b" " * 10_000_000), {"Content-Encoding": "gzip"}, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b" " * 200_001, {}, 413),
    ],
)
def test_a_bad_body_has_the_protocols_error(
    unharmed: ServedGateway, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = unharmed.ask(post(body, "/v2/models/iris/infer", headers))
    assert answer.status == status
    error(answer)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/nothing/infer",
        "/v2/models/iris/versions/v9/infer",
        "/v2/models/iris/versions/9/infer",
        "/v2/models/iris/versions/%3E/infer",
        "/v2/models/iris:first/versions/2/infer",
        "/v2/models/many/infer",
        "/v2/models/iris/other/infer",
        "/v2/models/%2e%2e/infer",
        "/v2/nothing",
    ],
)
def test_unknown_names_are_404(unharmed: ServedGateway, path: str) -> None:
    answer = unharmed.ask(post(json.dumps(GOOD).encode(), path))
    assert answer.status == 404
    error(answer)


def test_broken_http_under_v2_has_the_protocols_error(unharmed: ServedGateway) -> None:
    error(unharmed.ask(b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n"))
    assert unharmed.ask(get("/v2/models/iris/infer")).status == 405


# --- the rest --------------------------------------------------------------------------------------------------------


def read(gateway: ServedGateway, path: str) -> Any:
    answer = gateway.ask(get(path))
    assert answer.status == 200, answer
    return answer.json


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_says_what_it_can_do(unharmed: ServedGateway, path: str) -> None:
    found = read(unharmed, path)
    assert set(found) == {"name", "version", "extensions"}
    assert "binary_tensor_data" in found["extensions"]


def test_health_has_the_fields_that_clients_return(unharmed: ServedGateway) -> None:
    assert read(unharmed, "/v2/health/live") == {"live": True}
    assert read(unharmed, "/v2/health/ready") == {"ready": True}


def test_metadata_lists_what_is_recorded(unharmed: ServedGateway) -> None:
    assert read(unharmed, "/v2/models/iris") == {
        "name": "iris",
        "versions": ["third"],
        "platform": "vtsserving",
        "inputs": [{"name": "X", "datatype": "FP64", "shape": [-1, 4], "parameters": {"kind": "rows"}}],
        "outputs": [{"name": "output", "datatype": "FP64", "shape": [-1]}],
    }
    assert read(unharmed, "/v2/models/iris/versions/3")["versions"] == ["3"]
    assert read(unharmed, "/v2/models/free")["inputs"] == []


def test_configuration_leaves_the_batch_dimension_out(unharmed: ServedGateway) -> None:
    found = read(unharmed, "/v2/models/iris/config")
    assert found["max_batch_size"] == 64
    assert found["input"] == [{"name": "X", "data_type": "TYPE_FP64", "dims": [4]}]
    assert read(unharmed, "/v2/models/named/config")["max_batch_size"] == 0


def test_readiness_of_a_model_follows_the_runners() -> None:
    with served(ENTRIES, FUNCTIONS) as gateway:
        answer = gateway.ask(get("/v2/models/iris/ready"))
        assert answer.status == 503
        error(answer)
        gateway.run(lambda: gateway.backend.loaded.append("iris:third"))
        deadline_s = time.monotonic() + 5
        while gateway.ask(get("/v2/models/iris/ready")).status != 200:
            assert time.monotonic() < deadline_s
        assert read(gateway, "/v2/models/iris/versions/3/ready") == {"name": "iris", "ready": True}
        assert gateway.ask(get("/v2/models/nothing/ready")).status == 404
        index = gateway.ask(post(b"", "/v2/repository/index")).json
        states = {(model["name"], model["version"]): model["state"] for model in index}
        assert (states["iris", "third"], states["iris", "first"]) == ("READY", "UNAVAILABLE")
        ready = gateway.ask(post(b'{"ready": true}', "/v2/repository/index")).json
        assert [(model["name"], model["version"]) for model in ready] == [("iris", "third")]


def test_statistics_count_requests_rows_and_failures() -> None:
    with served(ENTRIES, FUNCTIONS) as gateway:
        before_ms = time.time() * 1000 - 1
        infer(gateway, GOOD)
        infer(gateway, {"inputs": [{"name": "X", "shape": [2, 4], "datatype": "FP64", "data": [0] * 8}]})
        infer(gateway, one(name="Y"))
        (found,) = read(gateway, "/v2/models/iris/stats")["model_stats"]
        assert (found["name"], found["version"]) == ("iris", "third")
        assert (found["inference_count"], found["execution_count"]) == (3, 2)
        assert found["last_inference"] >= before_ms
        stats = found["inference_stats"]
        assert (stats["success"]["count"], stats["fail"]["count"]) == (2, 1)
        assert stats["queue"] == {"count": 2, "ns": 500_000}
        assert stats["compute_infer"] == {"count": 2, "ns": 3_000_000}
        assert [batch["batch_size"] for batch in found["batch_stats"]] == [1, 2]
        assert read(gateway, "/v2/models/iris/versions/3/stats")["model_stats"][0]["version"] == "3"
        assert [model["name"] for model in read(gateway, "/v2/models/stats")["model_stats"]] == ["iris"]


# --- names, methods and numbers --------------------------------------------------------------------------------------


def pair_of(a: float, b: float, *more: dict[str, Any], first: str = "a", second: str = "b") -> list[Any]:
    values = ((first, a), (second, b))
    return [{"name": n, "shape": [1], "datatype": "FP64", "data": [v]} for n, v in values] + list(more)


def test_inputs_go_to_the_arguments_of_their_names_in_any_order(unharmed: ServedGateway) -> None:
    for inputs in (pair_of(7.0, 2.0), pair_of(7.0, 2.0)[::-1]):
        assert outputs(infer(unharmed, {"inputs": inputs}, model="minus"))["output"] == [5.0]
    scale = {"name": "scale", "shape": [1], "datatype": "FP64", "data": [10.0]}
    for inputs in (pair_of(7.0, 2.0, scale), [scale, *pair_of(7.0, 2.0)[::-1]]):
        assert outputs(infer(unharmed, {"inputs": inputs}, model="minus"))["output"] == [50.0]


@pytest.mark.parametrize("names", [("a", "c"), ("A", "B"), ("x", "y")])
def test_a_name_that_the_method_does_not_have_is_refused(unharmed: ServedGateway, names: Any) -> None:
    answer = infer(unharmed, {"inputs": pair_of(7.0, 2.0, first=names[0], second=names[1])}, model="minus")
    assert answer.status == 400
    assert "the method takes a, b, scale" in error(answer)


def test_an_input_with_a_default_may_be_left_out_and_one_that_no_example_has_may_be_sent(
    unharmed: ServedGateway,
) -> None:
    def answer(*names: str) -> Answer:
        inputs = [{"name": name, "shape": [1, 2], "datatype": "FP32", "data": [1, 1]} for name in names]
        return infer(unharmed, {"inputs": inputs}, model="defaults")

    assert outputs(answer("a"))["output"] == [1.0, 1.0]
    assert outputs(answer("c", "a", "b"))["output"] == [111.0, 111.0]
    assert outputs(answer("c", "a"))["output"] == [101.0, 101.0]
    assert "the input 'a' is missing; the method takes a, b, c" in error(answer("b"))


def test_data_goes_by_the_name_that_the_method_gives_it_and_by_the_one_that_is_recorded(
    unharmed: ServedGateway,
) -> None:
    data = {"shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4]}

    def answer(*names: str) -> Answer:
        return infer(unharmed, {"inputs": [{"name": name, **data} for name in names]}, model="booster")

    for name in ("data", "X"):
        # One output is recorded, which says nothing of the two that there are.
        assert outputs(answer(name)) == {"output_0": [10.0], "output_1": [1.0]}
    assert "no input 'x'; the method takes data, scale" in error(answer("x"))
    assert "no input 'X'" in error(answer("X", "data"))
    path = "/v1/models/booster/predict"
    assert unharmed.ask(post(b'{"kwargs": {"data": [[1, 2, 3, 4]]}}', path)).status == 200
    refused = unharmed.ask(post(b'{"kwargs": {"X": [[1, 2, 3, 4]]}}', path))
    assert (refused.status, "'data' is missing" in refused.json["error"]["message"]) == (400, True)
    (found, *_) = read(unharmed, "/v2/models/booster")["inputs"]
    assert (found["name"], found["parameters"]) == ("data", {"kind": "rows"})


def test_a_parameter_beside_data_is_the_list_that_json_would_have(unharmed: ServedGateway) -> None:
    data = {"name": "X", "shape": [1, 2], "datatype": "FP64", "data": [1, 1]}
    quantiles = {"name": "quantiles", "shape": [2], "datatype": "FP64", "data": [0.1, 0.9]}
    answer = infer(unharmed, {"inputs": [quantiles, data]}, model="quantiles")
    assert "list" in json.dumps(outputs(answer)["output"])


def test_the_only_input_may_have_any_name(unharmed: ServedGateway) -> None:
    sent = {"name": "whatever", "shape": [2], "datatype": "BYTES", "data": ["a\0", "b"]}
    assert outputs(infer(unharmed, {"inputs": [sent]}, model="texts"))["output"] == ["a\0", "b"]


def test_the_body_may_name_the_method(unharmed: ServedGateway) -> None:
    for method, value in (("predict", 5.0), ("times", 14.0)):
        request = {"parameters": {"method": method}, "inputs": pair_of(7.0, 2.0)}
        assert outputs(infer(unharmed, request, model="minus"))["output"] == [value]
    for method, status in (("none", 404), (7, 400)):
        request = {"parameters": {"method": method}, "inputs": pair_of(7.0, 2.0)}
        assert infer(unharmed, request, model="minus").status == status


def test_a_version_of_digits_is_a_number_and_never_the_beginning_of_a_name(unharmed: ServedGateway) -> None:
    assert infer(unharmed, GOOD, model="iris/versions/3").json["model_version"] == "3"
    assert infer(unharmed, GOOD, model="iris/versions/2").json["model_version"] == "2"
    for path in ("5early/versions/5", "5early/versions/2", "iris/versions/99999999999999999999"):
        assert infer(unharmed, GOOD, model=path).status == 404
        assert unharmed.ask(get(f"/v2/models/{path}/ready")).status == 404
    assert unharmed.ask(get("/v2/models/5early/versions/1")).json["versions"] == ["1"]
