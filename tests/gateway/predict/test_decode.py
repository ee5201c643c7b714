"""Bodies to packed calls: what a body means, by its spec or without one, on the fast path and on the strict one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.backend import entry, rows_spec
from vtsserving._codecs.json_arrays import SMALL_BYTES
from vtsserving._model.signature import ModelSignature
from vtsserving._wire.rows import unpack_call
from vtsserving.exceptions import BadInput, BadJson
from vtsserving_gateway.predict.decode import Target


def target(dtype: str | None = "float64", width: int = 4, specs: dict[str, Any] | None = None) -> Target:
    recorded = specs if specs is not None else rows_spec(width, dtype) if dtype else {}
    model = entry("m", input_specs=recorded)
    return Target(model, model.method("predict"))


def call(body: bytes | str, decoder: Target) -> tuple[list[Any], dict[str, Any]]:
    return unpack_call(decoder.decode(body.encode() if isinstance(body, str) else body))


def only(body: bytes | str, decoder: Target) -> Any:
    args, kwargs = call(body, decoder)
    assert not kwargs
    (array,) = args
    return array


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "int32", "int8", "uint8", "uint64"]
)
def test_numbers_are_cast_to_the_recorded_dtype(dtype: str) -> None:
    array = only("[[1, 2, 3, 4], [5, 6, 7, 8]]", target(dtype))
    assert array.dtype == dtype
    assert array.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_whole_floats_count_as_integers(dtype: str) -> None:
    array = only("[[1.0, 2e0, -0.0, 4]]", target(dtype))
    assert (array.dtype, array.tolist()) == (dtype, [[1, 2, 0, 4]])


@pytest.mark.parametrize(("dtype", "number"), [("uint8", -1), ("uint8", 256), ("int8", -129), ("int8", 128)])
def test_an_integer_beyond_the_recorded_dtype_is_refused_and_never_wraps(dtype: str, number: int) -> None:
    with pytest.raises(BadInput) as caught:
        target(dtype).decode(f"[[1, 2, 3, {number}]]".encode())
    assert caught.value.code == "out_of_range"


def test_both_ways_to_write_a_call_mean_the_same() -> None:
    rows = "[[1, 2.5, 3, 4]]"
    plain = target().decode(rows.encode())
    for other in (f'{{"args": [{rows}]}}', f'{{"kwargs": {{}}, "args": [{rows}]}}'):
        assert target().decode(other.encode()) == plain


def test_an_argument_may_be_given_by_its_recorded_name() -> None:
    args, kwargs = call('{"kwargs": {"X": [[1, 2, 3, 4]]}}', target())
    assert args == []
    assert (kwargs["X"].dtype, kwargs["X"].tolist()) == ("float64", [[1, 2, 3, 4]])


def test_further_arguments_are_inferred() -> None:
    args, kwargs = call('{"args": [[[1, 2, 3, 4]], true], "kwargs": {"k": "text", "n": null}}', target())
    assert args[1] is True
    assert kwargs == {"k": "text", "n": None}


@pytest.mark.parametrize(
    ("body", "dtype", "shape"),
    [
        ("[1, 2]", "int64", (2,)),
        ("[1, 2.0]", "float64", (2,)),
        ("[[1, 2], [3, 4]]", "int64", (2, 2)),
        ("[[[1]]]", "int64", (1, 1, 1)),
        ("[true, false]", "bool", (2,)),
        ("[[0.5]]", "float64", (1, 1)),
        ("[-9223372036854775808, 9223372036854775807]", "int64", (2,)),
    ],
)
def test_without_a_spec_numpy_decides(body: str, dtype: str, shape: tuple[int, ...]) -> None:
    array = only(body, target(None))
    assert (array.dtype, array.shape) == (dtype, shape)
    assert array.tolist() == json.loads(body)


def test_without_a_spec_strings_are_an_array_and_objects_a_list() -> None:
    assert only('["a", "ß"]', target(None)).tolist() == ["a", "ß"]
    assert only('[{"a": 1}, {"b": [1, "x"]}]', target(None)) == [{"a": 1}, {"b": [1, "x"]}]


def test_lists_in_an_object_are_arrays() -> None:
    (argument,), _ = call('{"args": [{"ids": [[1, 2]], "mask": [[true, false]]}]}', target(None))
    assert argument["ids"].dtype == "int64"
    assert argument["mask"].dtype == "bool"


@pytest.mark.parametrize(
    ("dtype", "body"), [("bool", "[[true, false, true, true]]"), ("str", '[["a", "b", "c", "d"]]')]
)
def test_booleans_and_strings_are_taken_where_they_are_recorded(dtype: str, body: str) -> None:
    assert only(body, target(dtype)).tolist() == json.loads(body)
    with pytest.raises(BadInput) as caught:
        target(dtype).decode(b"[[1, 2, 3, 4]]")
    assert caught.value.code == "wrong_type"


@pytest.mark.parametrize(
    ("shape", "body", "fits"),
    [
        ([-1, 2, 2], "[[[1, 2], [3, 4]]]", True),
        ([-1, 2, 2], "[[[1, 2]]]", False),
        ([-1, None], "[[1, 2, 3]]", True),
        ([-1, None], "[1, 2, 3]", False),
        ([-1], "[1, 2, 3]", True),
        ([2, -1], "[[1], [2]]", True),
        ([2, -1], "[[1], [2], [3]]", False),
    ],
)
def test_recorded_shapes_may_have_any_free_dimension(shape: list[int | None], body: str, fits: bool) -> None:
    decoder = target(specs={"predict": {"args": [{"name": "X", "dtype": "float32", "shape": shape}]}})
    if fits:
        assert only(body, decoder).tolist() == json.loads(body)
    else:
        with pytest.raises(BadInput) as caught:
            decoder.decode(body.encode())
        assert caught.value.code == "bad_shape"


def test_two_recorded_arguments_are_both_checked() -> None:
    args = [{"name": name, "dtype": "float64", "shape": [-1, 2]} for name in ("a", "b")]
    decoder = target(specs={"predict": {"args": args}})
    (first, second), _ = call('{"args": [[[1, 2]], [[3, 4]]]}', decoder)
    assert (first.tolist(), second.dtype) == ([[1, 2]], "float64")
    with pytest.raises(BadInput, match="'b' is missing"):
        decoder.decode(b"[[1, 2]]")
    with pytest.raises(BadInput, match=r"b: expected shape \[-1, 2\], got \[1, 3\]"):
        decoder.decode(b'{"args": [[[1, 2]], [[1, 2, 3]]]}')


@pytest.mark.parametrize(
    "specs",
    [
        {"predict": {"args": [{"dtype": "nonsense", "shape": [-1]}]}},
        {"predict": {"args": [{"dtype": "float64"}]}},
        {"predict": {"args": [{}]}},
        {"predict": {}},
        {"other": {"args": [{"dtype": "float64", "shape": [-1, 9]}]}},
    ],
)
def test_specs_that_cannot_be_read_count_as_not_recorded(specs: dict[str, Any]) -> None:
    assert only("[[1, 2]]", target(specs=specs)).dtype == "int64"


def test_a_method_that_is_not_batchable_takes_anything() -> None:
    model = entry("m", methods={"run": ModelSignature()})
    decoder = Target(model, model.method("run"))
    assert call("{}", decoder) == ([], {})
    assert call('{"args": [5, "a", null, {"k": [1.5]}]}', decoder)[0][:3] == [5, "a", None]


def test_floats_of_17_digits_are_exact() -> None:
    numbers = [0.1 + 0.2, 1.7976931348623157e308, 5e-324, 0.00012345678901234567, 123456789012345680.0]
    assert only(json.dumps([numbers]), target(width=5)).tolist() == [numbers]


def test_errors_name_the_position() -> None:
    with pytest.raises(BadInput, match=r"X\[1\]\[2\] is a string; expected a number"):
        target().decode(b'[[1, 2, 3, 4], [1, 2, "3", 4]]')
    with pytest.raises(BadInput, match=r"X\[1\] has 3 items, where others of its level have 4"):
        target().decode(b"[[1, 2, 3, 4], [1, 2, 3]]")
    with pytest.raises(BadJson, match="line 2, column 4"):
        target().decode(b"[[1, 2,\n 3 4]]")


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(finite, min_size=4, max_size=4), min_size=1, max_size=8))
def test_any_rows_of_floats_arrive_as_they_were_sent(rows: list[list[float]]) -> None:
    assert only(json.dumps(rows), target()).tolist() == rows


@given(st.lists(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=2), min_size=1, max_size=8))
def test_any_rows_of_integers_arrive_as_they_were_sent(rows: list[list[int]]) -> None:
    assert only(json.dumps(rows), target("int64", 2)).tolist() == rows
    assert only(json.dumps(rows), target(None)).tolist() == rows


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | finite | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)


@given(json_values, st.sampled_from(["float64", "float32", "uint8", "int64", "bool", "str", None]))
def test_any_json_is_decoded_or_refused_with_a_code(value: Any, dtype: str | None) -> None:
    body = json.dumps(value).encode()
    try:
        target(dtype, 2).decode(body)
    except BadInput as error:
        assert error.http_status in (400, 422)
        assert error.message


@given(st.binary(max_size=40) | st.text('[]{},:"0123456789.eE+-truefalsnN \\', max_size=40).map(str.encode))
def test_any_bytes_are_decoded_or_refused_with_a_code(body: bytes) -> None:
    try:
        target(None).decode(body)
    except BadInput as error:
        assert error.http_status in (400, 422)


@pytest.mark.parametrize("literal", ["9223372036854775808", "-9223372036854775809", "1e19"])
def test_large_bodies_are_checked_for_long_integers_too(literal: str) -> None:
    rows = ["[1, 2, 3, 4]"] * (SMALL_BYTES // 10) + [f"[1, 2, 3, {literal}]"]
    body = f"[{','.join(rows)}]"
    if "e" in literal:
        assert only(body, target())[-1, 3] == np.float64(literal)
    else:
        with pytest.raises(BadInput) as caught:
            target().decode(body.encode())
        assert caught.value.code == "bad_number"


def outcome(body: bytes, decoder: Target) -> Any:
    try:
        packed = decoder.decode(body)
    except BadInput as error:
        return error.code
    return packed.head, packed.rows, bytes(packed.body)


# Around the ends of exact floats and of integer types, and fractions of which json writes 19 digits in a row.
EDGES = [sign * 2**power + step for sign in (1, -1) for power in (7, 24, 53, 63, 64) for step in (-1, 0, 1)]
NUMBERS = (
    st.sampled_from(EDGES)
    | st.integers(-9_000_000_000_000_000_001, 9_000_000_000_000_000_001)
    | st.integers(-(2**70), 2**70)
    | st.floats(0, 0.01)
    | st.floats(allow_nan=False, allow_infinity=False)
)


@given(
    st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=4),
    st.sampled_from(["float64", "float32", "float16", "int64", "int8", "uint64", None]),
    st.sampled_from([0, SMALL_BYTES]),
)
def test_plain_rows_mean_what_the_strict_way_makes_of_them(
    rows: Any, dtype: str | None, padding: int
) -> None:
    body = json.dumps(rows).encode()
    # The fields of an object are read the strict way alone.
    strict = outcome(b'{"args": [%s]}' % body, target(dtype, 2))
    assert outcome(b" " * padding + body, target(dtype, 2)) == strict


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
@pytest.mark.parametrize("padding", [0, SMALL_BYTES])
def test_no_rows_are_refused_for_rows_that_are_single_numbers_too(dtype: str, padding: int) -> None:
    decoder = target(specs={"predict": {"args": [{"name": "X", "dtype": dtype, "shape": [-1]}]}})
    with pytest.raises(BadInput, match="at least one is needed"):
        decoder.decode(b" " * padding + b"[]")
