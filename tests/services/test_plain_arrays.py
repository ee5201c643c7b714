"""The short way to an array gives what the strict way gives, or leaves the body to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._codecs.json_arrays import infer, plain_array
from vtsserving._codecs.json_strict import read
from vtsserving.exceptions import VtsServingException
from vtsserving.io import NumpyNdarray
from vtsserving.io.base import Body

NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(NUMBERS, lambda inner: st.lists(inner, max_size=4), max_leaves=12)


def strictly(body: bytes) -> Any:
    return infer(read(body), "input")


@given(VALUES, st.sampled_from([None, (0, 0), " "]))
def test_what_the_short_way_takes_the_strict_way_reads_alike(value: Any, spaces: Any) -> None:
    body = json.dumps(value, indent=spaces if isinstance(spaces, str) else None).encode()
    array = plain_array(body)
    if array is None:
        return
    strict = strictly(body)
    assert array.dtype == strict.dtype
    assert array.tolist() == strict.tolist()
    as_float = plain_array(body, np.dtype("float64"))
    assert as_float is not None
    assert as_float.tolist() == NumpyNdarray(dtype="float64").read(Body(b" " * 70_000 + body)).tolist()


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
def test_what_is_odd_is_left_to_the_strict_way(body: bytes) -> None:
    assert plain_array(body) is None
    descriptor = NumpyNdarray()
    try:
        expected = strictly(body)
    except VtsServingException as error:
        with pytest.raises(type(error)):
            descriptor.read(Body(body))
    else:
        assert descriptor.read(Body(body)).tolist() == np.asarray(expected).tolist()
