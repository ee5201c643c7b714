"""Results as JSON, and errors in their one shape."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vtsserving._codecs.json_write import to_json
from vtsserving.exceptions import BadModelOutput, BadShape, QueueFull, from_code
from vtsserving_gateway.http.respond import error_body, error_response

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([0, 2]), [0, 2]),
        (np.array([[0.5, 1.5]], np.float32), [[0.5, 1.5]]),
        (np.array([0.5], np.float16), [0.5]),
        (np.array([True, False]), [True, False]),
        (np.array(["a", "ß"]), ["a", "ß"]),
        (np.array([1.0, np.nan, np.inf, -np.inf]), [1.0, None, None, None]),
        (np.arange(6).reshape(2, 3).T, [[0, 3], [1, 4], [2, 5]]),
        (np.array(5), 5),
        (np.float32(0.5), 0.5),
        (np.int64(2**62), 2**62),
        (np.uint64(2**63), 2**63),
        (np.zeros((2, 0)), [[], []]),
        ((1, (2, 3)), [1, [2, 3]]),
        ({"a": np.array([1]), "b": (None, True)}, {"a": [1], "b": [None, True]}),
        ([float("nan")], [None]),
        (None, None),
        ("text", "text"),
        (np.array(["2024-01-02"], "datetime64[s]"), ["2024-01-02T00:00:00"]),
    ],
)
def test_values_have_a_json_form(value: Any, expected: Any) -> None:
    assert json.loads(to_json(value)) == expected


def test_frames_are_records_and_series_lists() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, np.nan], "c": ["x", None]})
    assert json.loads(to_json(frame)) == [{"a": 1, "b": 0.5, "c": "x"}, {"a": 2, "b": None, "c": None}]
    assert json.loads(to_json(frame["b"])) == [0.5, None]
    times = pd.DataFrame({"t": pd.to_datetime(["2024-01-02", None])})
    assert json.loads(to_json(times)) == [{"t": "2024-01-02T00:00:00"}, {"t": None}]


@pytest.mark.parametrize("value", [1j, [1j], np.array([1j]), {"a": object()}, 2**70])
def test_values_without_a_json_form_are_the_models_fault(value: Any) -> None:
    with pytest.raises(BadModelOutput):
        to_json(value)


def test_bytes_are_base64() -> None:
    assert json.loads(to_json([b"", b"\xff\x00"])) == ["", "/wA="]


def test_what_has_no_json_form_is_named() -> None:
    with pytest.raises(BadModelOutput, match="object, which has no JSON form"):
        to_json([object()])


def test_an_error_has_one_shape() -> None:
    body = json.loads(error_body(BadShape("expected [-1, 4]"), "id-1"))
    assert body == {"error": {"code": "bad_shape", "message": "expected [-1, 4]", "request_id": "id-1"}}


def test_an_error_of_a_newer_version_keeps_its_code() -> None:
    assert json.loads(error_body(from_code("brand_new", "what"), "i"))["error"]["code"] == "brand_new"


def test_messages_that_are_no_unicode_are_sent_all_the_same() -> None:
    assert json.loads(error_body(BadShape("half \ud800 pair"), "i"))["error"]["message"] == "half ? pair"


@pytest.mark.parametrize(("advice_s", "header"), [(None, b"1"), (0.2, b"1"), (2.5, b"3")])
def test_503_says_when_to_come_back(advice_s: float | None, header: bytes) -> None:
    response = error_response(QueueFull("full", retry_after_s=advice_s), 503, b"{}", b"i", b"", b"")
    assert response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: " + header + b"\r\n" in response
