"""One row for each way in which a request can be wrong, by itself or for its moment, on both buses.

Each row names what is wrong, the request, and the status and code that the client gets. After each, the next good
request is answered, and nothing of the bad one has reached anybody.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydantic
import pytest

import vtsserving
from support.gateway_models import ENTRIES, FUNCTIONS, GOOD, LIMITS
from support.nats_server import NatsServer
from support.served_gateway import Answer, ServedGateway, get, post, served
from vtsserving._auth.token_file import TokenFile
from vtsserving._codecs.npy import write_npy
from vtsserving._runtime.settings import SharedSettings
from vtsserving._wire.values import encode_value
from vtsserving.io import JSON, NumpyNdarray, PandasDataFrame, Text

IRIS = "/v1/models/iris/predict"
FREE = "/v1/models/free/predict"
OIP = "/v2/models/iris/infer"
NPY = {"Content-Type": "application/x-npy"}
MSGPACK = {"Content-Type": "application/msgpack"}
LENGTH = "Inference-Header-Content-Length"
ARRAY, SMALL, ANY, MODEL, TEXT, TABLE_OF = (
    f"/f/{name}" for name in ("array", "small", "any", "model", "text", "table")
)


class Sized(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    size: float


def make_service() -> vtsserving.Service:
    """One function for each descriptor that reads more than bytes."""
    svc = vtsserving.Service("functions", runners=[])
    for path, descriptor in (
        (ARRAY, NumpyNdarray(dtype="float64", shape=(-1, 4), enforce_shape=True)),
        (SMALL, NumpyNdarray(dtype="uint8")),
        (ANY, JSON()),
        (MODEL, JSON(pydantic_model=Sized)),
        (TEXT, Text()),
        (TABLE_OF, PandasDataFrame(columns=["a"])),
    ):
        svc.api(input=descriptor, output=JSON(), name=path[3:], route=path)(_never)
    return svc


def _never(value: Any) -> Any:
    pytest.fail(f"a bad request reached its function: {value!r}")


class Row(NamedTuple):
    """One bad request.

    Attributes:
        what: is wrong.
        request: its bytes.
        status: of the answer.
        code: of the error; empty under /v2, whose errors have none.
        guarded: whether it goes to the gateway that asks for tokens.
        retry: whether the answer says when to come back.
    """

    what: str
    request: bytes
    status: int
    code: str
    guarded: bool = False
    retry: bool = False


def rows(body: bytes, status: int, code: str, what: str, path: str = IRIS, **headers: str) -> Row:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Row(what, post(body, path, named), status, code)


def binary(what: str, body: bytes, status: int, code: str, headers: dict[str, str], path: str = IRIS) -> Row:
    return Row(what, post(body, path, headers), status, code)


def oip(
    what: str, status: int, raw: bytes = b"", raw_json: bytes = b"", path: str = "iris", **tensor: Any
) -> Row:
    """A call under /v2: `raw` follows the JSON, `raw_json` is the text of the first number."""
    given = {"name": "X", "shape": [1, 4], "datatype": "FP64", "data": [1, 2, 3, 4], **tensor}
    head = json.dumps(
        {"inputs": [{key: value for key, value in given.items() if value is not None}]}
    ).encode()
    if raw_json:
        head = head.replace(b'"data": [1', b'"data": [' + raw_json)
    extra = {LENGTH: str(len(head))} if raw else {}
    return Row(f"{what}, /v2", post(head + raw, OIP.replace("iris", path), extra), status, "")


def where_of(row: Row) -> str:
    return row.request.split(b" ", 2)[1].decode()


def npy_of(header: str, data: bytes = bytes(32)) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


HUGE_NPY = npy_of("{'descr': '<f8', 'fortran_order': False, 'shape': (2147483648, 2147483648), }")
"""A header that promises 2^62 values."""

TABLE: dict[str, list[Row]] = {
    "B1": [
        rows(b"[[1, 2", 400, "bad_json", "cut off"),
        rows(b"[[1,2,3,4]] x", 400, "bad_json", "something after it"),
        Row("cut off, /v2", post(b'{"inputs": [', OIP), 400, ""),
        binary("cut off", write_npy(np.ones((1, 4)))[:-3], 422, "bad_shape", NPY),
        binary("cut off", encode_value([1, 2], "x")[:-1], 400, "bad_input", MSGPACK),
    ],
    "B2": [
        rows(b"", 400, "empty_body", "nothing"),
        binary("nothing", b"", 400, "empty_body", NPY),
        Row("nothing, /v2", post(b"", OIP), 400, ""),
    ],
    "B3": [
        rows(b"[[%s,2,3,4]]" % word, 400, "non_finite", word.decode())
        for word in (b"NaN", b"Infinity", b"-Infinity")
    ],
    "B4": [rows(b"[[%s,2,3,4]]" % n, 400, "non_finite", n.decode()) for n in (b"1e999", b"-1e999")],
    "B5": [
        rows(b"[" * depth + b"]" * depth, 400, "too_deep", f"{depth} levels") for depth in (33, 5_000, 90_000)
    ],
    "B6": [
        rows(b"[[" + b"9" * 5_000 + b",2,3,4]]", 400, "bad_number", "5,000 digits"),
        rows(b"[9223372036854775808]", 400, "bad_number", "above int64", FREE),
    ],
    # A model of fractions takes true for 1.0, as in process; whole numbers do not.
    "B7": [rows(b"[[%s,2,3,4]]" % word, 422, "wrong_type", word.decode()) for word in (b'"1"', b"{}")]
    + [rows(b"[[true,2]]", 422, "wrong_type", "true among whole numbers", "/v1/models/long/predict")]
    + [rows(b"[[null,2]]", 422, "wrong_type", "null among whole numbers", "/v1/models/long/predict")],
    "B8": [rows(b"[[1,2,3,4],[1]]", 422, "ragged", "rows of two lengths")],
    "B9": [
        rows(b"[1,2,3,4]", 422, "bad_shape", "a dimension less"),
        rows(b"[[1,2,3]]", 422, "bad_shape", "too narrow"),
        rows(b"[]", 422, "bad_shape", "no rows"),
        binary("a dimension more", write_npy(np.ones((1, 4, 1))), 422, "bad_shape", NPY),
        oip("a negative dimension", 400, shape=[-1, 4]),
        oip("too narrow", 400, shape=[1, 3], data=[1, 2, 3]),
    ],
    "B10": [
        binary(
            "objects",
            npy_of("{'descr': '|O', 'fortran_order': False, 'shape': (4,), }"),
            422,
            "bad_dtype",
            NPY,
        ),
        binary(
            "a void of a gigabyte",
            npy_of("{'descr': '|V1000000000', 'fortran_order': False, 'shape': (1,), }"),
            422,
            "bad_dtype",
            NPY,
        ),
        oip("unknown dtype", 400, datatype="V1000000000"),
    ],
    "B11": [
        rows(b"[[300,1]]", 422, "out_of_range", "300 into uint8", "/v1/models/bytes/predict"),
        rows(b"[[1e40,1]]", 422, "out_of_range", "1e40 into float32", "/v1/models/single/predict"),
        binary(
            "300 into uint8",
            write_npy(np.array([[300, 1]])),
            422,
            "out_of_range",
            NPY,
            "/v1/models/bytes/predict",
        ),
    ],
    "B12": [
        binary(
            "2^62 values",
            HUGE_NPY,
            422,
            "bad_shape",
            NPY,
        ),
        oip("less data than the shape says", 400, shape=[2, 4]),
        oip("2^62 values", 400, shape=[2**31, 2**31]),
        oip("sizes that lie", 400, raw=bytes(32), data=None, parameters={"binary_data_size": 33}),
    ],
    "B13": [rows(b'{"args": [[[1,2,3,4]]], "args": []}', 400, "duplicate_key", "a key twice")],
    "B14": [
        rows("[[1,2,3,4]]".encode("utf-16"), 400, "bad_encoding", "UTF-16"),
        rows(b'["\xff"]', 400, "bad_encoding", "no UTF-8", FREE),
        rows(b"\xef\xbb\xbf[[1,2,3,4]]", 400, "bad_encoding", "a byte order mark"),
        rows(b'["\\ud800"]', 400, "bad_encoding", "half a surrogate pair", FREE),
    ],
    "B15": [rows(b'{"rows": [[1,2,3,4]]}', 422, "unknown_field", "an unknown field")],
    "B16": [
        rows(b"[[1,2,3,4]]", 415, "unsupported_media_type", kind, Content_Type=kind)
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/x-pickle")
    ],
    "B17": [
        rows(gzip.compress(bytes(10**6)), 415, "unsupported_media_type", "gzip", Content_Encoding="gzip"),
        Row("1000:1, /v2", post(gzip.compress(bytes(10**7)), OIP, {"Content-Encoding": "gzip"}), 413, ""),
        Row("no gzip, /v2", post(b"[", OIP, {"Content-Encoding": "gzip"}), 400, ""),
    ],
    "B28": [
        rows(b"[[1]]", 404, "model_not_found", "unknown model", "/v1/models/nothing/predict"),
        rows(b"[[1]]", 404, "version_not_found", "unknown version", "/v1/models/iris:v9/predict"),
        rows(b"[[1]]", 404, "method_not_found", "unknown method", "/v1/models/iris/fit"),
        Row("unknown model", get("/v1/models/nothing"), 404, "model_not_found"),
        Row("unknown model, /v2", post(b"{}", "/v2/models/nothing/infer"), 404, ""),
        Row("unknown model to load, /v2", post(b"", "/v2/repository/models/nothing/load"), 404, ""),
        Row(
            "unknown model to load",
            post(b"", "/v1/models/nothing/loaded").replace(b"POST", b"PUT", 1),
            404,
            "model_not_found",
        ),
    ],
    "B29": [
        rows(b"[1]", 503, "model_loading", "loading", "/v1/models/failing/loading")._replace(retry=True),
        rows(b"[1]", 503, "model_load_failed", "failed", "/v1/models/failing/failed")._replace(retry=True),
        Row("not loaded, /v2", get("/v2/models/iris/ready"), 503, "", retry=True),
    ],
    "B30": [
        rows(b"[[1]]", 404, "model_not_found", name, f"/v1/models/{name}/predict")
        for name in ("*", "%3E", "a.b%20c", "iris%0a")
    ]
    + [Row("*, /v2", post(b"{}", "/v2/models/*/infer"), 404, "")],
    "B32": [
        Row("GET of a call", get(IRIS), 405, "method_not_allowed"),
        Row("GET of what is loaded", get("/v1/models/iris/loaded"), 405, "method_not_allowed"),
        Row("GET of a call, /v2", get(OIP), 405, ""),
        Row("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        Row("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "bad_request"),
    ],
    "B34": [rows(b"[" + b"[1,2,3,4]," * 1_000 + b"[1,2,3,4]]", 413, "too_many_rows", "1,001 rows")],
    "B35": [
        rows(b"[[1,2,3,4]]", 406, "not_acceptable", kind, Accept=kind)
        for kind in ("text/html", "image/png, text/*;q=0.5", "application/json;q=0")
    ],
    "B36": [
        Row("no token", post(b"[[1,2,3,4]]", IRIS), 401, "unauthorized", guarded=True),
        Row("no token, /v2", post(b"{}", OIP), 401, "", guarded=True),
        Row(
            "token in the query",
            post(b"[[1,2,3,4]]", f"{IRIS}?token=TOKEN"),
            401,
            "unauthorized",
            guarded=True,
        ),
        rows(b"[[1]]", 401, "unauthorized", "nonsense", Authorization="Bearer x")._replace(guarded=True),
        rows(b"[[1]]", 401, "unauthorized", "expired", Authorization="Bearer EXPIRED")._replace(guarded=True),
        Row(
            "a scope that does not reach",
            post(b"", "/v1/models/iris/loaded", {"Authorization": "Bearer TOKEN"}).replace(
                b"POST", b"PUT", 1
            ),
            403,
            "forbidden",
            guarded=True,
        ),
    ],
}
MORE_OIP: dict[str, list[Row]] = {
    "B3": [oip("NaN", 400, raw_json=b"NaN")],
    "B4": [oip("1e999", 400, raw_json=b"1e999")],
    "B6": [oip("above int64", 400, raw_json=b"9223372036854775808", datatype="INT64", path="long")],
    "B7": [oip(str(one), 400, data=[one, 2, 3, 4]) for one in ("1", True)]
    + [oip("null among whole numbers", 400, data=[None, 2], shape=[1, 2], datatype="INT64", path="long")],
    "B8": [oip("ragged", 400, data=[[1, 2], [3]])],
    "B9": [oip("a dimension less", 400, shape=[4])],
    "B10": [oip("text for numbers", 400, datatype="BYTES", data=["a", "b", "c", "d"])],
    "B11": [
        oip("300 into uint8", 400, shape=[1, 2], datatype="UINT8", data=[300, 1], path="bytes"),
        oip("1e40 into float32", 400, shape=[1, 2], datatype="FP32", data=[1e40, 1], path="single"),
    ],
    "B13": [Row("a key twice, /v2", post(b'{"inputs": [], "inputs": []}', OIP), 400, "")],
    "B14": [Row("UTF-16, /v2", post('{"inputs": []}'.encode("utf-16"), OIP), 400, "")],
    "B28": [
        Row("unknown version, /v2", post(b"{}", "/v2/models/iris/versions/v9/infer"), 404, ""),
        Row("unknown ordinal, /v2", get("/v2/models/iris/versions/99"), 404, ""),
    ],
    "B34": [oip("1,001 rows", 413, shape=[1_001, 4], data=[1] * 4_004)],
}
MORE_BINARY: dict[str, list[Row]] = {
    "B9": [binary("no rows", write_npy(np.ones((0, 4))), 422, "bad_shape", NPY)],
    "B10": [
        binary("text", write_npy(np.array([["a"] * 4])), 422, "wrong_type", NPY),
        binary("complex", write_npy(np.ones((1, 4), "complex64")), 422, "bad_dtype", NPY),
    ],
    "B12": [
        binary(
            "a negative dimension",
            npy_of("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }"),
            422,
            "bad_shape",
            NPY,
        )
    ],
    "B15": [rows(b'{"kwargs": {"Y": [[1,2,3,4]]}}', 400, "bad_input", "an argument of another name")],
    "B34": [
        binary("1,001 rows", write_npy(np.ones((1_001, 4))), 413, "too_many_rows", NPY),
        binary("1,001 rows", encode_value(np.ones((1_001, 4)), "x"), 413, "too_many_rows", MSGPACK),
    ],
}
FUNCTION_ROWS: dict[str, list[Row]] = {
    "B1": [
        rows(b"[[1, 2", 400, "bad_json", "cut off", ARRAY),
        binary("cut off", write_npy(np.ones((1, 4)))[:-3], 422, "bad_shape", NPY, ARRAY),
        rows(b'{"a": ', 400, "bad_json", "cut off", ANY),
        rows(b'{"size": ', 400, "bad_json", "cut off", MODEL),
    ],
    "B2": [rows(b"", 400, "bad_input", "nothing", path) for path in (ARRAY, ANY, MODEL, TABLE_OF)],
    "B3": [rows(b"[[NaN,2,3,4]]", 400, "non_finite", "NaN", path) for path in (ARRAY, ANY)],
    "B4": [rows(b"[[1e999,2,3,4]]", 400, "non_finite", "1e999", path) for path in (ARRAY, ANY, TABLE_OF)],
    "B5": [
        rows(b"[" * 5_000 + b"]" * 5_000, 400, "too_deep", "5,000 levels", path)
        for path in (ARRAY, ANY, MODEL, TABLE_OF)
    ],
    "B6": [
        rows(b"[[" + b"9" * 5_000 + b"]]", 400, "bad_number", "5,000 digits", path) for path in (ARRAY, ANY)
    ],
    "B7": [
        rows(b"[[%s,2,3,4]]" % word, 422, "wrong_type", word.decode(), ARRAY) for word in (b'"1"', b"true")
    ]
    + [rows(b"[null]", 422, "wrong_type", "null among whole numbers", SMALL)]
    + [rows(b'{"size": "x"}', 422, "wrong_type", "text for a number", MODEL)],
    "B8": [rows(b"[[1,2,3,4],[1]]", 422, "ragged", "rows of two lengths", ARRAY)],
    "B9": [
        rows(b"[1,2,3,4]", 422, "bad_shape", "a dimension less", ARRAY),
        rows(b"[[1,2,3]]", 422, "bad_shape", "too narrow", ARRAY),
        rows(b'[{"b": 1}]', 422, "bad_shape", "another column", TABLE_OF),
    ],
    "B10": [binary("complex", write_npy(np.ones((1, 4), "complex64")), 422, "bad_dtype", NPY, ARRAY)],
    "B11": [rows(b"[300]", 422, "out_of_range", "300 into uint8", SMALL)],
    "B12": [
        binary(
            "2^62 values",
            HUGE_NPY,
            422,
            "bad_shape",
            NPY,
            ARRAY,
        )
    ],
    "B13": [
        rows(b'{"size": 1, "size": 2}', 400, "duplicate_key", "a key twice", path) for path in (ANY, MODEL)
    ],
    "B14": [
        rows("[[1,2,3,4]]".encode("utf-16"), 400, "bad_encoding", "UTF-16", ARRAY),
        rows(b'["\\ud800"]', 400, "bad_encoding", "half a surrogate pair", ANY),
        rows(b"\xff", 400, "bad_encoding", "no UTF-8", TEXT),
    ],
    "B15": [rows(b'{"size": 1, "colour": 2}', 422, "wrong_type", "an unknown field", MODEL)],
    "B16": [
        rows(b"[[1,2,3,4]]", 415, "unsupported_media_type", kind, path, Content_Type=kind)
        for kind in ("text/plain", "multipart/mixed; boundary=x", "application/x-pickle")
        for path in (ARRAY, ANY, TABLE_OF)
    ]
    + [
        rows(
            b"[[1,2,3,4]]", 400, "bad_input", "no form", path, Content_Type="multipart/form-data; boundary=x"
        )
        for path in (ARRAY, ANY, TABLE_OF)
    ],
    "B17": [
        rows(
            gzip.compress(bytes(10**6)), 415, "unsupported_media_type", "gzip", path, Content_Encoding="gzip"
        )
        for path in (ARRAY, TEXT)
    ],
    "B28": [rows(b"1", 404, "not_found", "unknown function", "/f/nothing")],
    "B32": [Row("GET of a function", get(ARRAY), 405, "method_not_allowed")],
    "B36": [rows(b"1", 401, "unauthorized", "no token", ARRAY)._replace(guarded=True)],
}
for more in (MORE_OIP, MORE_BINARY, FUNCTION_ROWS):
    for row_name, added in more.items():
        TABLE[row_name] += [row._replace(what=f"{row.what}, {where_of(row)}") for row in added]
CASES = [(name, row) for name, listed in TABLE.items() for row in listed]


class Both(NamedTuple):
    """Two gateways with a service on one kind of bus, and the tokens of the second one."""

    open: ServedGateway
    guarded: ServedGateway
    tokens: dict[bytes, bytes]

    def ask(self, row: Row) -> Answer:
        request = row.request
        for word, token in self.tokens.items():
            request = request.replace(word, token)
        return (self.guarded if row.guarded else self.open).ask(request)

    @property
    def received(self) -> int:
        """What reached the model's side: on one nats-server either gateway may choose either backend."""
        return self.open.backend.received + self.guarded.backend.received

    def ask_well(self, guarded: bool) -> Answer:
        if not guarded:
            return self.open.ask(GOOD)
        header = b"Authorization: Bearer " + self.tokens[b"TOKEN"] + b"\r\nHost:"
        return self.guarded.ask(GOOD.replace(b"Host:", header, 1))


@pytest.fixture(scope="module", params=["inprocess", "nats"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    if request.param == "inprocess":
        with both_on(None, tmp_path_factory) as made:
            yield made
        return
    # Its own: a backend of other tests on the same server would take requests, too, which nobody here counts.
    with NatsServer(tmp_path_factory.mktemp("nats")) as server, both_on(server.url, tmp_path_factory) as made:
        yield made


@contextlib.contextmanager
def both_on(bus_url: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    path: Path = tmp_path_factory.mktemp("tokens") / "tokens.jsonl"
    file = TokenFile(path)
    tokens = {
        b"TOKEN": file.create("caller", "infer")[1].encode(),
        b"EXPIRED": file.create("old", "admin", expires_in_s=-1_000)[1].encode(),
    }
    shared = SharedSettings(auth="required", tokens_file=path)
    with (
        served(ENTRIES, FUNCTIONS, LIMITS, nats_url=bus_url, service=make_service()) as gateway,
        served(
            ENTRIES, FUNCTIONS, LIMITS, nats_url=bus_url, shared=shared, service=make_service()
        ) as guarded,
    ):
        yield Both(gateway, guarded, tokens)


@pytest.mark.parametrize(("name", "row"), CASES, ids=[f"{name} {row.what}" for name, row in CASES])
def test_a_bad_request_gets_its_error_and_harms_nobody(both: Both, name: str, row: Row) -> None:
    received = both.received
    answer = both.ask(row)
    assert answer.status == row.status, answer
    if row.code:
        assert answer.code == row.code
    else:
        assert list(answer.json) == ["error"]
        assert isinstance(answer.json["error"], str)
    assert ("retry-after" in answer.headers) == row.retry
    assert ("www-authenticate" in answer.headers) == (row.status == 401)
    reached = 1 if name == "B29" and row.code else 0  # only these are for the model's side to refuse
    assert both.received == received + reached
    good = both.ask_well(row.guarded)
    assert (good.status, good.json) == (200, [10.0])
