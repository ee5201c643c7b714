"""What is wrong with a request, and what the client hears: one row each. The next good request always succeeds."""

from __future__ import annotations

import pytest

from support.served_gateway import ServedGateway, post

pytestmark = pytest.mark.parametrize("bus_url", ["inprocess", "nats"], indirect=True)

IRIS = "/v1/models/iris/predict"
FREE = "/v1/models/free/predict"

BODIES = [
    ("truncated", IRIS, b"[[1, 2", 400, "bad_json"),
    ("trailing comma", IRIS, b"[[1,2,3,4],]", 400, "bad_json"),
    ("single quotes", IRIS, b"[['1',2,3,4]]", 400, "bad_json"),
    ("leading zero", IRIS, b"[[01,2,3,4]]", 400, "bad_json"),
    ("two documents", IRIS, b"[[1,2,3,4]] [[1,2,3,4]]", 400, "bad_json"),
    ("control character", IRIS, b'["a\nb"]', 400, "bad_json"),
    ("a form", IRIS, b"a=1&b=2", 400, "bad_json"),
    ("a tensor of raw bytes", IRIS, b"\x93NUMPY\x01\x00v\x00", 400, "bad_encoding"),
    ("empty", IRIS, b"", 400, "empty_body"),
    ("blank", IRIS, b" \r\n ", 400, "empty_body"),
    ("NaN", IRIS, b"[[NaN,2,3,4]]", 400, "non_finite"),
    ("nan", IRIS, b"[[1,nan,3,4]]", 400, "non_finite"),
    ("Infinity", IRIS, b"[[1,Infinity,3,4]]", 400, "non_finite"),
    ("-Infinity", IRIS, b"[[1,-Infinity,3,4]]", 400, "non_finite"),
    ("NaN without a spec", FREE, b"[NaN]", 400, "non_finite"),
    ("1e999", IRIS, b"[[1e999,2,3,4]]", 400, "non_finite"),
    ("-1e999", IRIS, b"[[-1e999,2,3,4]]", 400, "non_finite"),
    ("1e999 in an object", IRIS, b'{"args":[[[1e999,2,3,4]]]}', 400, "non_finite"),
    ("5,000 levels", IRIS, b"[" * 5_000, 400, "too_deep"),
    ("5,000 levels, closed", IRIS, b"[" * 5_000 + b"]" * 5_000, 400, "too_deep"),
    ("90,000 levels", IRIS, b"[" * 90_000 + b"]" * 90_000, 400, "too_deep"),
    ("33 levels", FREE, b"[" * 33 + b"1" + b"]" * 33, 400, "too_deep"),
    (
        "33 levels of objects",
        "/v1/models/whole",
        b'{"kwargs":' + b'{"a":' * 32 + b"1" + b"}" * 33,
        400,
        "too_deep",
    ),
    ("9 dimensions", FREE, b"[" * 9 + b"1" + b"]" * 9, 400, "too_deep"),
    ("5,000 digits", IRIS, b"[[" + b"9" * 5_000 + b",2,3,4]]", 400, "bad_number"),
    ("20 digits", IRIS, b"[[18446744073709551616,2,3,4]]", 400, "bad_number"),
    ("above int64", IRIS, b"[[9223372036854775808,2,3,4]]", 400, "bad_number"),
    ("below int64", IRIS, b"[[-9223372036854775809,2,3,4]]", 400, "bad_number"),
    ("above int64, int64 wanted", "/v1/models/long", b"[[9223372036854775808,2]]", 400, "bad_number"),
    ("above int64, no spec", FREE, b"[9223372036854775808]", 400, "bad_number"),
    ("text", IRIS, b'[["1",2,3,4]]', 422, "wrong_type"),
    ("true for an integer", "/v1/models/bytes", b"[[true,2]]", 422, "wrong_type"),
    ("null for an integer", "/v1/models/bytes", b"[[null,2]]", 422, "wrong_type"),
    ("an object in a row", IRIS, b"[[{},2,3,4]]", 422, "wrong_type"),
    ("half for an integer", "/v1/models/bytes", b"[[1.5,2]]", 422, "wrong_type"),
    ("numbers and text, no spec", FREE, b'[1,"a"]', 422, "wrong_type"),
    ("null and text, no spec", FREE, b'[null,"a"]', 422, "wrong_type"),
    ("only nulls, no spec", FREE, b"[null]", 422, "wrong_type"),
    ("a bare number", IRIS, b"5", 422, "wrong_type"),
    ("a bare string", IRIS, b'"rows"', 422, "wrong_type"),
    ("a bare null", IRIS, b"null", 422, "wrong_type"),
    ("args no list", IRIS, b'{"args": 5}', 422, "wrong_type"),
    ("kwargs no object", IRIS, b'{"kwargs": []}', 422, "wrong_type"),
    ("ragged", IRIS, b"[[1,2,3,4],[1,2,3]]", 422, "ragged"),
    ("ragged in depth", IRIS, b"[[1,2,3,[4]]]", 422, "ragged"),
    ("a number among rows", IRIS, b"[[1,2,3,4],5]", 422, "ragged"),
    ("ragged, no spec", FREE, b"[[1],[1,2]]", 422, "ragged"),
    ("too narrow", IRIS, b"[[1,2,3]]", 422, "bad_shape"),
    ("too wide", IRIS, b"[[1,2,3,4,5]]", 422, "bad_shape"),
    ("one row without brackets", IRIS, b"[1,2,3,4]", 422, "bad_shape"),
    ("a dimension too many", IRIS, b"[[[1,2,3,4]]]", 422, "bad_shape"),
    ("no rows", IRIS, b"[]", 422, "bad_shape"),
    ("an empty row", IRIS, b"[[]]", 422, "bad_shape"),
    ("no rows, no spec", FREE, b"[]", 422, "bad_shape"),
    ("a scalar argument", IRIS, b'{"args":[5]}', 422, "bad_shape"),
    ("300 into uint8", "/v1/models/bytes", b"[[300,2]]", 422, "out_of_range"),
    ("-1 into uint8", "/v1/models/bytes", b"[[-1,2]]", 422, "out_of_range"),
    ("1e40 into float32", "/v1/models/single", b"[[1e40,2]]", 422, "out_of_range"),
    ("1e300 into int64", "/v1/models/long", b"[[1e300,2]]", 422, "out_of_range"),
    ("a key twice", IRIS, b'{"args":[[[1,2,3,4]]],"args":[[[1,2,3,4]]]}', 400, "duplicate_key"),
    ("a key twice in depth", "/v1/models/whole", b'{"kwargs":{"a":{"b":1,"b":2}}}', 400, "duplicate_key"),
    ("UTF-16", IRIS, "[[1,2,3,4]]".encode("utf-16"), 400, "bad_encoding"),
    ("UTF-16 without a mark", IRIS, "[[1,2,3,4]]".encode("utf-16-le"), 400, "bad_encoding"),
    ("byte order mark", IRIS, b"\xef\xbb\xbf[[1,2,3,4]]", 400, "bad_encoding"),
    ("invalid UTF-8", "/v1/models/whole", b'{"args":["\xff"]}', 400, "bad_encoding"),
    ("lone surrogate", "/v1/models/whole", b'{"args":["\\ud800"]}', 400, "bad_encoding"),
    ("encoded surrogate", "/v1/models/whole", b'{"args":["\xed\xa0\x80"]}', 400, "bad_encoding"),
    ("unknown field", IRIS, b'{"args":[[[1,2,3,4]]],"extra":1}', 422, "unknown_field"),
    ("another form", IRIS, b'{"instances":[[1,2,3,4]]}', 422, "unknown_field"),
    ("an argument twice", IRIS, b'{"args":[[[1,2,3,4]]],"kwargs":{"X":[[1,2,3,4]]}}', 400, "bad_input"),
    ("missing argument", IRIS, b'{"kwargs":{}}', 400, "bad_input"),
    ("too many rows", IRIS, b"[" + b",".join([b"[1,2,3,4]"] * 1_001) + b"]", 413, "too_many_rows"),
]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES]
)
def test_bad_body_is_refused_with_its_code(
    unharmed: ServedGateway, path: str, body: bytes, status: int, code: str
) -> None:
    answer = unharmed.ask(post(body, path))
    assert (answer.code, answer.status) == (code, status)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/models/nothing/predict", "model_not_found"),
        ("/v1/models/nothing", "model_not_found"),
        ("/v1/models/iris:v9/predict", "version_not_found"),
        ("/v1/models/iris/fit", "method_not_found"),
        ("/v1/models/iris/__class__", "method_not_found"),
        ("/v1/models/iris/__call__", "method_not_found"),
        ("/v1/models/many", "method_not_found"),
        ("/v1/models/iris/predict/more", "not_found"),
        ("/v1/models/", "model_not_found"),
        ("/v1/models//predict", "model_not_found"),
        ("/v1/models/*/predict", "model_not_found"),
        ("/v1/models/%3E/predict", "model_not_found"),
        ("/v1/models/a.b%20c/predict", "model_not_found"),
        ("/v1/models/iris%00/predict", "model_not_found"),
        ("/v1/models/%2e%2e%2firis/predict", "model_not_found"),
        ("/v1/models/%252e/predict", "model_not_found"),
        ("/v1/models/..\\iris/predict", "model_not_found"),
        ("/v1/models/iris:a:b/predict", "model_not_found"),
        ("/v1/models/iris:/predict", "model_not_found"),
        ("/v1/models/%ff/predict", "model_not_found"),
        ("/v1/models/" + "a" * 64 + "/predict", "model_not_found"),
        ("/v1/models/stats/predict", "model_not_found"),
        ("//v1/models/iris/predict", "not_found"),
        ("/v1//models/iris/predict", "not_found"),
        ("/nothing", "not_found"),
    ],
)
def test_unknown_names_are_404_and_reach_nobody(unharmed: ServedGateway, path: str, code: str) -> None:
    received = unharmed.backend.received
    answer = unharmed.ask(post(b"[[1,2,3,4]]", path))
    assert (answer.code, answer.status) == (code, 404)
    assert unharmed.backend.received == received


@pytest.mark.parametrize(
    "path", ["/v1/models/nothing/predict", "/v1/models/iris:v9/predict", "/v2/models/nothing/infer"]
)
def test_an_unknown_model_or_version_hears_where_all_are_listed(unharmed: ServedGateway, path: str) -> None:
    answer = unharmed.ask(post(b"{}", path))
    assert answer.status == 404
    error = answer.json["error"]
    message = error if path.startswith("/v2") else error["message"]
    assert message.endswith("; GET /v1/models lists what there is")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/json; charset=utf-16"}, 415, "unsupported_media_type"),
        ({"Content-Encoding": "gzip"}, 415, "unsupported_media_type"),
        ({"Accept": "text/html"}, 406, "not_acceptable"),
        ({"X-Request-Timeout": "-1"}, 400, "bad_deadline"),
        ({"X-Request-Timeout": "0"}, 400, "bad_deadline"),
        ({"X-Request-Timeout": "0.000"}, 400, "bad_deadline"),
        ({"X-Request-Timeout": "abc"}, 400, "bad_deadline"),
        ({"X-Request-Timeout": "1e12"}, 400, "bad_deadline"),
        ({"X-Request-Timeout": "NaN"}, 400, "bad_deadline"),
        ({"X-Request-Timeout": "\xb2"}, 400, "bad_deadline"),
    ],
)
def test_bad_header_is_refused_with_its_code(
    unharmed: ServedGateway, headers: dict[str, str], status: int, code: str
) -> None:
    answer = unharmed.ask(post(b"[[1,2,3,4]]", headers=headers))
    assert (answer.code, answer.status) == (code, status)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/x-www-form-urlencoded", ""]
)
def test_what_clients_call_json_is_read_as_json(unharmed: ServedGateway, kind: str) -> None:
    assert unharmed.ask(post(b"[[1,2,3,4]]", headers={"Content-Type": kind})).json == [10.0]


@pytest.mark.parametrize(
    ("method", "status", "code", "retry_after"),
    [
        ("raises", 500, "model_failed", None),
        ("loading", 503, "model_loading", "1"),
        ("failed", 503, "model_load_failed", "1"),
        ("full", 503, "queue_full", "3"),
    ],
)
def test_errors_of_the_model_keep_their_status(
    unharmed: ServedGateway, method: str, status: int, code: str, retry_after: str | None
) -> None:
    answer = unharmed.ask(post(b"[1]", f"/v1/models/failing/{method}"))
    assert (answer.code, answer.status, answer.headers.get("retry-after")) == (code, status, retry_after)


BROKEN_HTTP = [
    ("length and chunks", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
    ("two lengths", b"Content-Length: 3\r\nContent-Length: 4\r\n"),
    ("unknown transfer encoding", b"Transfer-Encoding: xchunked\r\n"),
    ("negative length", b"Content-Length: -1\r\n"),
    ("signed length", b"Content-Length: +1\r\n"),
    ("no number", b"Content-Length: ten\r\n"),
    ("length of 23 digits", b"Content-Length: 99999999999999999999999\r\n"),
    ("bad chunk size", b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ("chunk of 2^64 bytes", b"Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n"),
    ("NUL in a header", b"A: b\0c\r\n"),
    ("CR in a header", b"A: b\rc\r\n"),
    ("space before the colon", b"A : b\r\n"),
    ("folded header", b"A: b\r\n c\r\n"),
    ("LF only", b"A: b\n"),
    ("upgrade with a body", b"Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc"),
]


@pytest.mark.parametrize("path", [IRIS, "/other"], ids=["call", "other route"])
@pytest.mark.parametrize("headers", [row[1] for row in BROKEN_HTTP], ids=[row[0] for row in BROKEN_HTTP])
def test_broken_http_is_400_and_closes(unharmed: ServedGateway, path: str, headers: bytes) -> None:
    with unharmed.connect() as client:
        answer = client.ask(b"POST " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n")
        assert (answer.code, answer.status, answer.headers["connection"]) == ("bad_request", 400, "close")
        assert client.closed()


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=[
        "HTTP/2 preface",
        "TLS hello",
        "HTTP/0.9",
        "HTTP/2.0",
        "no host",
        "URL not ASCII",
        "unknown HTTP method",
    ],
)
def test_what_is_no_http_1_request_is_400_and_closes(unharmed: ServedGateway, data: bytes) -> None:
    with unharmed.connect() as client:
        assert client.ask(data).code == "bad_request"
        assert client.closed()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_http_methods_are_405(unharmed: ServedGateway, method: str) -> None:
    answer = unharmed.ask(f"{method} {IRIS} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    assert (answer.code, answer.status, answer.headers["allow"]) == ("method_not_allowed", 405, "POST")


@pytest.mark.parametrize(
    "wanted", ["a b", "x" * 129, "caf\xe9", "a\tb", "<script>", '"quoted"'], ids=lambda text: ascii(text)[:12]
)
def test_request_ids_that_could_do_harm_are_replaced(unharmed: ServedGateway, wanted: str) -> None:
    answer = unharmed.ask(post(b"[", headers={"X-Request-Id": wanted}))
    assert answer.code == "bad_json"
    assert answer.headers["x-request-id"] != wanted


def test_harmless_request_ids_come_back(unharmed: ServedGateway) -> None:
    wanted = "Client-1.2_3"
    assert (
        unharmed.ask(post(b"[[1,2,3,4]]", headers={"X-Request-Id": wanted})).headers["x-request-id"] == wanted
    )
    assert unharmed.ask(post(b"[", headers={"X-Request-Id": wanted})).headers["x-request-id"] == wanted
