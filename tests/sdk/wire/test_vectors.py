"""The bytes of protocol version 2, fixed: what they mean is what is read, and what is written is these bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from support import wire_vectors
from support.call_rules import every
from support.wire_vectors import CALLS, FRAMES, MALFORMED, VALUES, data_of, describe, fields_of, load
from vtsserving._wire import frames
from vtsserving._wire.layout import Layout
from vtsserving._wire.limits import PROTOCOL_VERSION
from vtsserving._wire.rows import Packed, pack_call, unpack_call
from vtsserving._wire.values import decode_value, encode_value
from vtsserving.exceptions import VtsServingException

pytestmark = pytest.mark.fast

VECTORS = load()


def each(section: str) -> Any:
    return pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in VECTORS[section]])


def test_every_case_has_its_vector_and_every_vector_its_case() -> None:
    cases = {"frames": FRAMES, "values": VALUES, "calls": CALLS, "malformed": MALFORMED}
    assert {section: [vector["name"] for vector in listed] for section, listed in VECTORS.items()} == {
        section: list(named) for section, named in cases.items()
    }
    assert PROTOCOL_VERSION == 2


@each("frames")
def test_a_frame_has_the_bytes_that_were_fixed(vector: dict[str, Any]) -> None:
    decoded = frames.decode(bytes.fromhex(vector["hex"]))
    assert (type(decoded).__name__, fields_of(decoded)) == (vector["kind"], vector["fields"])
    assert frames.encode(FRAMES[vector["name"]]).hex() == vector["hex"]


@each("values")
def test_a_value_has_the_bytes_that_were_fixed(vector: dict[str, Any]) -> None:
    assert describe(decode_value(bytes.fromhex(vector["hex"]))) == vector["means"]
    assert encode_value(VALUES[vector["name"]]).hex() == vector["hex"]


@each("calls")
def test_a_call_has_the_head_and_the_body_that_were_fixed(vector: dict[str, Any]) -> None:
    packed = Packed(bytes.fromhex(vector["head"]), vector["rows"], bytes.fromhex(vector["body"]))
    args, kwargs = unpack_call(packed)
    assert describe([args, kwargs]) == vector["means"]
    given, named, axis = CALLS[vector["name"]]
    assert pack_call(given, named, every(axis)) == packed


READERS: dict[str, Callable[[bytes], Any]] = {"frame": frames.decode, "value": decode_value, "head": Layout}


@each("malformed")
def test_malformed_bytes_are_refused_with_the_code_that_was_fixed(vector: dict[str, Any]) -> None:
    with pytest.raises(VtsServingException) as refused:
        READERS[vector["of"]](data_of(vector))
    assert refused.value.code == vector["error"]


def test_the_frozen_file_is_what_the_cases_give() -> None:
    known = {(section, vector["name"]): vector for section, listed in VECTORS.items() for vector in listed}
    assert {(section, vector["name"]): vector for section, vector in wire_vectors.vectors()} == known
