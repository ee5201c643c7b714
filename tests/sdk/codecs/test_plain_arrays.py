"""The short way to an array gives what the strict way gives, or leaves the body to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._codecs.json_arrays import SMALL_BYTES, ArraySpec, infer, plain_array, to_array
from vtsserving._codecs.json_strict import MAX_CONTAINERS, read
from vtsserving.exceptions import TooLarge, VtsServingException
from vtsserving.io import NumpyNdarray
from vtsserving.io.base import Body

pytestmark = pytest.mark.fast

# Around the ends of exact floats, of int64 and of uint64, and fractions of which json writes 19 digits in a row.
EDGES = [sign * 2**power + step for sign in (1, -1) for power in (53, 62, 63, 64) for step in (-1, 0, 1)]
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.sampled_from(EDGES),
    st.integers(-9_000_000_000_000_000_001, 9_000_000_000_000_000_001),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(0, 0.01),
)
VALUES = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


def outcome(read_it: Callable[[], Any]) -> Any:
    try:
        array = np.asarray(read_it())
    except VtsServingException as error:
        return type(error)
    return array.dtype.str, array.shape, array.tobytes() if array.dtype.kind in "if" else array.tolist()


def strictly(body: bytes) -> Any:
    return infer(read(body), "input")


@given(VALUES, st.sampled_from([None, (0, 0), " "]), st.sampled_from([0, SMALL_BYTES]))
def test_what_the_short_way_takes_the_strict_way_reads_alike(value: Any, spaces: Any, padding: int) -> None:
    written = json.dumps(value, indent=spaces if isinstance(spaces, str) else None).encode()
    body = b" " * padding + written
    array = plain_array(body)
    if array is None:
        return
    strict = strictly(body)
    assert array.dtype == strict.dtype
    assert array.tolist() == strict.tolist()
    as_float = plain_array(body, np.dtype("float64"))
    assert as_float is not None
    # An object's field is read the strict way alone.
    field = to_array(
        read(b'{"x": %s}' % written)["x"],
        ArraySpec("x", np.dtype("float64"), (-1,) * array.ndim),
        "x",
    )
    assert as_float.tolist() == field.tolist()


@given(st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=4), st.booleans())
def test_a_long_body_means_what_a_short_one_does(rows: Any, typed: bool) -> None:
    body = json.dumps(rows).encode()
    descriptor = NumpyNdarray(dtype="float64" if typed else None)
    short, long = (
        outcome(lambda data=data: descriptor.read(Body(data)))  # type: ignore[misc]
        for data in (body, b" " * SMALL_BYTES + body)
    )
    assert short == long


def test_a_long_body_of_full_precision_goes_the_short_way() -> None:
    rows = [[0.0012345678901234567, i / 7] for i in range(100)]
    array = plain_array(json.dumps(rows).encode())
    assert array is not None
    assert array.tolist() == rows


def test_very_many_lists_are_refused_as_before() -> None:
    body = b"[" + b"[1]," * MAX_CONTAINERS + b"[1]]"
    with pytest.raises(TooLarge):
        NumpyNdarray().read(Body(body))


@pytest.mark.parametrize(
    "body",
    [
        b"1",
        b"[]",
        b"[[1], [2, 3]]",
        b"[1, 2",
        b"[1e999]",
        b"[9223372036854775808]",
        b"[--1]",
        b"[1]]",
        b"[[]]",
        b"[" * 70 + b"1" + b"]" * 70,
    ],
)
@pytest.mark.parametrize("padding", [0, SMALL_BYTES])
def test_what_is_odd_is_left_to_the_strict_way(body: bytes, padding: int) -> None:
    body = b" " * padding + body
    assert plain_array(body) is None
    descriptor = NumpyNdarray()
    try:
        expected = strictly(body)
    except VtsServingException as error:
        with pytest.raises(type(error)):
            descriptor.read(Body(body))
    else:
        assert descriptor.read(Body(body)).tolist() == np.asarray(expected).tolist()
