"""Bodies that are not JSON: .npy, msgpack values, and answers in the form of Accept."""

from __future__ import annotations

import io
import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from support.served_gateway import Answer, ServedGateway, post
from vtsserving._codecs.npy import write_npy
from vtsserving._wire.tensors import TORCH, Spec
from vtsserving._wire.values import TENSOR, decode_value, encode_value
from vtsserving_gateway.predict.forms import known_forms

NPY = "application/x-npy"
MSGPACK = "application/msgpack"
ARROW = b"application/vnd.apache.arrow.stream"
IRIS = "/v1/models/iris/predict"
ROWS = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])


def npy(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def ask(gateway: ServedGateway, body: bytes, kind: str, accept: str = "", path: str = IRIS) -> Answer:
    return gateway.ask(post(body, path, {"Content-Type": kind, "Accept": accept}))


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2", ">f8", "<i8", "<u1", "<i2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_is_read_and_cast(unharmed: ServedGateway, dtype: str, order: str) -> None:
    body = npy(np.asarray(ROWS.astype(dtype), order=order))  # type: ignore[call-overload]
    assert ask(unharmed, body, NPY).json == [10.0, 26.0]


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        ROWS.astype(np.float32),
        ROWS.tolist(),
        {"args": [ROWS]},
        {"kwargs": {"X": ROWS}},
        {"args": [ROWS.tolist()]},
    ],
    ids=["array", "float32", "list", "args", "kwargs", "args of lists"],
)
def test_msgpack_values_are_read_and_cast(unharmed: ServedGateway, value: Any) -> None:
    assert ask(unharmed, encode_value(value), MSGPACK).json == [10.0, 26.0]


def test_answers_come_in_the_form_of_accept(unharmed: ServedGateway) -> None:
    answer = ask(unharmed, b"[[1,2,3,4]]", "application/json", NPY)
    assert answer.headers["content-type"] == NPY
    assert np.load(io.BytesIO(answer.body)).tolist() == [10.0]
    answer = ask(unharmed, b"[[1,2,3,4]]", "application/json", MSGPACK)
    assert answer.headers["content-type"] == MSGPACK
    assert decode_value(answer.body).tolist() == [10.0]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/html, */*;q=0.8", "application/json"),
        ("application/x-npy;q=0, application/json", "application/json"),
        ("text/html, application/msgpack", MSGPACK),
        ("APPLICATION/X-NPY", NPY),
    ],
)
def test_the_first_known_form_in_accept_wins(unharmed: ServedGateway, accept: str, kind: str) -> None:
    assert ask(unharmed, b"[[1,2,3,4]]", "application/json", accept).headers["content-type"] == kind


def test_dtypes_survive_from_end_to_end(unharmed: ServedGateway) -> None:
    for dtype in ("float16", "float32", "int8", "uint64", "bool"):
        array = np.array([[0, 1], [1, 0]], dtype)
        answer = ask(unharmed, npy(array), NPY, NPY, "/v1/models/free/predict")
        loaded = np.load(io.BytesIO(answer.body))
        assert (loaded.dtype, loaded.tolist()) == (dtype, array.tolist())


def test_binary_forms_keep_nan_and_infinity(unharmed: ServedGateway) -> None:
    array = np.array([np.nan, np.inf, -np.inf, 1.0])
    for form, read in ((NPY, lambda body: np.load(io.BytesIO(body))), (MSGPACK, decode_value)):
        answer = ask(unharmed, npy(array), NPY, form, "/v1/models/free/predict")
        np.testing.assert_array_equal(read(answer.body), array)
    assert ask(unharmed, npy(array), NPY, "", "/v1/models/free/predict").json == [None, None, None, 1.0]


def test_tables_travel_as_msgpack(unharmed: ServedGateway) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    answer = ask(unharmed, encode_value(frame), MSGPACK, MSGPACK, "/v1/models/free/predict")
    pd.testing.assert_frame_equal(decode_value(answer.body), frame)
    assert ask(unharmed, encode_value(frame), MSGPACK, "", "/v1/models/free/predict").json == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]


class _Lying:
    """A .npy header that says anything."""

    @staticmethod
    def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
        text = header.encode("latin-1") + b"\n"
        return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text + data


BAD_NPY = [
    ("empty", b"", 400, "empty_body"),
    ("not npy", b"[[1,2,3,4]]", 400, "bad_input"),
    ("cut in the header", npy(ROWS)[:40], 400, "bad_input"),
    ("cut in the data", npy(ROWS)[:-1], 422, "bad_shape"),
    ("too long", npy(ROWS) + b"x", 422, "bad_shape"),
    ("pickled objects", npy(np.array([{}, []], object), allow_pickle=True), 422, "bad_dtype"),
    ("records", npy(np.zeros(2, [("a", "f8")])), 422, "bad_dtype"),
    ("complex", npy(np.zeros((1, 4), complex)), 422, "bad_dtype"),
    ("times", npy(np.zeros((1, 4), "M8[s]")), 422, "bad_dtype"),
    ("raw bytes", npy(np.zeros((1, 4), "S3")), 422, "bad_dtype"),
    (
        "product of 2^62",
        _Lying.npy(f"{{'descr':'<f8','fortran_order':False,'shape':({2**31},{2**31})}}"),
        422,
        "bad_shape",
    ),
    ("negative", _Lying.npy("{'descr':'<f8','fortran_order':False,'shape':(-1,4)}"), 422, "bad_shape"),
    ("huge item", _Lying.npy("{'descr':'V1000000000','fortran_order':False,'shape':(1,)}"), 422, "bad_dtype"),
    ("9 dimensions", npy(np.zeros((1,) * 9)), 422, "bad_shape"),
    (
        "code in the header",
        _Lying.npy("{'descr':__import__('os'),'fortran_order':False,'shape':(1,)}"),
        422,
        "bad_dtype",
    ),
    ("deep header", _Lying.npy("(" * 5000), 400, "bad_input"),
    ("unknown version", b"\x93NUMPY\x09\x00" + npy(ROWS)[8:], 400, "bad_input"),
    ("too narrow", npy(ROWS[:, :3]), 422, "bad_shape"),
    ("strings for numbers", npy(np.array([["a", "b", "c", "d"]])), 422, "wrong_type"),
    ("no rows", npy(ROWS[:0]), 422, "bad_shape"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"), [row[1:] for row in BAD_NPY], ids=[row[0] for row in BAD_NPY]
)
def test_bad_npy_is_refused_with_its_code(
    unharmed: ServedGateway, body: bytes, status: int, code: str
) -> None:
    answer = ask(unharmed, body, NPY)
    assert (answer.code, answer.status) == (code, status)


BAD_MSGPACK = [
    ("empty", b"", 400, "empty_body"),
    ("truncated", encode_value(ROWS)[:-1], 400, "bad_input"),
    ("trailing", encode_value(ROWS) + b"\x00", 400, "bad_input"),
    ("pickle", b"\x80\x04\x95", 400, "bad_input"),
    ("unknown extension", b"\xc7\x01\x63x", 400, "bad_input"),
    ("length of 2^32-1", b"\xdd\xff\xff\xff\xff", 400, None),
    ("too many nodes", b"\xdd\x00\x01\x00\x00" + b"\xc0" * 65536 + b"\x90" * 100_000, 400, None),
    ("600 levels", b"\x91" * 600 + b"\xc0", 400, "too_deep"),
    ("lying tensor", b"\xc7\x0c" + bytes([TENSOR]) + Spec(12, 0, (5,)).pack() + b"x", 422, "bad_shape"),
    ("a number", encode_value(5), 422, "wrong_type"),
    ("text", encode_value("rows"), 422, "wrong_type"),
    ("unknown field", encode_value({"rows": ROWS}), 422, "unknown_field"),
    ("too wide", encode_value(np.zeros((1, 5))), 422, "bad_shape"),
    ("ragged list", encode_value([[1.0, 2, 3, 4], [1]]), 422, "ragged"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"), [row[1:] for row in BAD_MSGPACK], ids=[row[0] for row in BAD_MSGPACK]
)
def test_bad_msgpack_is_refused_with_its_code(
    unharmed: ServedGateway, body: bytes, status: int, code: str | None
) -> None:
    answer = ask(unharmed, body, MSGPACK)
    assert answer.status == status
    assert code in (None, answer.code)


def test_an_npy_file_without_its_media_type_hears_how_to_say_it(unharmed: ServedGateway) -> None:
    for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}):
        answer = unharmed.ask(post(write_npy(np.ones((1, 4))), headers=headers))
        assert (answer.status, answer.code) == (400, "bad_encoding")
        assert "application/x-npy" in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("path", "array", "code"),
    [
        ("/v1/models/bytes", np.array([[300, 1]]), "out_of_range"),
        ("/v1/models/bytes", np.array([[-1, 1]]), "out_of_range"),
        ("/v1/models/bytes", np.array([[1.5, 1]]), "wrong_type"),
        ("/v1/models/bytes", np.array([[np.nan, 1]]), "wrong_type"),
        ("/v1/models/long", np.array([[2**63, 1]], np.uint64), "out_of_range"),
        ("/v1/models/long", np.array([[2.0**63, 1]]), "out_of_range"),
        ("/v1/models/single", np.array([[1e40, 1]]), "out_of_range"),
    ],
)
def test_arrays_that_do_not_fit_the_spec_are_refused(
    unharmed: ServedGateway, path: str, array: np.ndarray[Any, Any], code: str
) -> None:
    assert ask(unharmed, npy(array), NPY, path=path).code == code


@pytest.mark.skipif(ARROW in known_forms(), reason="Arrow is supported here")
def test_who_asks_for_arrow_in_vain_hears_what_the_gateway_needs(unharmed: ServedGateway) -> None:
    kind = ARROW.decode()
    sent, wanted = ask(unharmed, b"x", kind), ask(unharmed, b"[[1,2,3,4]]", "application/json", kind)
    assert (sent.status, wanted.status) == (415, 406)
    for answer in (sent, wanted):
        assert "pip install 'vtsserving[arrow,pandas]'" in answer.json["error"]["message"]
    assert "vtsserving[" not in ask(unharmed, b"x", "text/csv").json["error"]["message"]


def test_a_result_without_the_wanted_form_is_406(unharmed: ServedGateway) -> None:
    answer = unharmed.ask(post(b"{}", "/v1/models/whole", {"Accept": NPY}))
    assert (answer.code, answer.status) == ("not_acceptable", 406)


@pytest.mark.parametrize(("batched", "accept"), [(True, ""), (True, NPY), (False, ""), (False, MSGPACK)])
def test_tensors_are_shown_without_torch(unharmed: ServedGateway, batched: bool, accept: str) -> None:
    import sys

    spec = Spec(11, TORCH, (2,)).pack()
    tensor = b"\xc7" + bytes([len(spec) + 8, TENSOR]) + spec + np.array([1.5, 2.5], "<f4").tobytes()
    backend = unharmed.backend
    original = backend.answer_with
    unharmed.run(lambda: setattr(backend, "answer_with", (2 if batched else 0, spec, tensor)))
    try:
        body = b"[1, 2]" if batched else b"{}"
        path = "/v1/models/free" if batched else "/v1/models/whole"
        answer = unharmed.ask(post(body, path, {"Accept": accept}))
    finally:
        unharmed.run(lambda: setattr(backend, "answer_with", original))
    assert answer.status == 200, answer
    value = (
        answer.json
        if not accept
        else (np.load(io.BytesIO(answer.body)) if accept == NPY else decode_value(answer.body))
    )
    assert list(value) == [1.5, 2.5]
    assert "torch" not in sys.modules


# --- values that version 2 of the wire brought -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        {7: "a", True: "b", "7": "c"},
        date(2026, 12, 3),
        datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")),
        Decimal("0.10"),
        UUID(int=7),
        "ends in\0",
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_many_types_go_to_the_model_and_back(unharmed: ServedGateway, value: Any) -> None:
    body = encode_value({"args": [value], "kwargs": {"k": [value]}})
    answer = ask(unharmed, body, MSGPACK, MSGPACK, "/v1/models/whole")
    got = decode_value(answer.body)
    # A model of 0.1, which gets an array where all of a list are texts.
    assert (got["args"], list(got["kwargs"]["k"])) == ([value], [value])


def test_a_sparse_matrix_goes_to_the_model_and_back(unharmed: ServedGateway) -> None:
    sent = scipy.sparse.csr_matrix(np.array([[0.0, 1.5]]))
    answer = ask(unharmed, encode_value({"args": [sent], "kwargs": {}}), MSGPACK, MSGPACK, "/v1/models/whole")
    (got,) = decode_value(answer.body)["args"]
    assert (type(got), got.toarray().tolist()) == (type(sent), [[0.0, 1.5]])


@pytest.mark.parametrize(
    "body", [{1: 2}, {"args": [], 1: 2}, {"args": [], "kwargs": {1: 2}}, {"kwargs": {True: 2}}]
)
def test_names_that_are_no_strings_are_the_callers_mistake(unharmed: ServedGateway, body: Any) -> None:
    answer = ask(unharmed, encode_value(body), MSGPACK, path="/v1/models/whole")
    assert (answer.status, answer.code) in ((422, "wrong_type"), (422, "unknown_field"))


def test_keys_that_json_does_not_have_become_their_text(unharmed: ServedGateway) -> None:
    body = encode_value({"args": [{1: 2, None: 4, 2.5: 5}], "kwargs": {}})
    answer = ask(unharmed, body, MSGPACK, path="/v1/models/whole")
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {"args": [{"1": 2, "null": 4, "2.5": 5}], "kwargs": {}},
    )
