from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict, namedtuple
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from enum import IntEnum
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from support import wire_values
from vtsserving._wire.call_rule import CallRule
from vtsserving._wire.limits import MAX_VALUE_DEPTH, MAX_VALUE_NODES
from vtsserving._wire.rows import Packed, join_calls, join_results, pack_call, split_result
from vtsserving._wire.values import decode_value, encode_value
from vtsserving.exceptions import BadFrame, TooDeep, UnsupportedValue

pytestmark = pytest.mark.fast


class DriftingZone(tzinfo):
    """A zone that is code."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(hours=1)


@given(wire_values.values)
def test_a_value_comes_back_as_it_was_sent(value: Any) -> None:
    assert wire_values.is_same(value, decode_value(encode_value(value)))


@given(wire_values.values)
def test_an_encoded_value_is_read_the_same_from_a_view(value: Any) -> None:
    packed = encode_value(value)
    assert wire_values.is_same(decode_value(packed), decode_value(memoryview(b"x" + packed)[1:]))


def nested(levels: int, make: Any = lambda item: [item]) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = make(value)
    return value


KINDS = {
    "list": lambda item: [item],
    "tuple": lambda item: (item,),
    "dict": lambda item: {"k": item},
}


@pytest.mark.parametrize("kind", KINDS)
def test_as_many_levels_as_the_limit_come_back(kind: str) -> None:
    value = nested(MAX_VALUE_DEPTH, KINDS[kind])
    assert decode_value(encode_value(value)) == value


@pytest.mark.parametrize("kind", KINDS)
def test_one_level_more_is_refused_by_the_sender(kind: str) -> None:
    with pytest.raises(TooDeep):
        encode_value(nested(MAX_VALUE_DEPTH + 1, KINDS[kind]))


def test_a_list_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(TooDeep):
        encode_value(value)


@pytest.mark.parametrize("levels", range(20, MAX_VALUE_DEPTH + 1))
def test_a_table_that_the_sender_takes_is_taken_by_the_receiver(levels: int) -> None:
    table = pd.DataFrame({"a": [1], "b": pd.Series([[1, [2]]], dtype=object)})
    try:
        packed = encode_value(nested(levels, lambda item: [table if item == 1 else item]))
    except TooDeep:
        assert levels > MAX_VALUE_DEPTH - 8
        return
    decode_value(packed)


def test_as_many_objects_as_the_limit_come_back() -> None:
    value = [None] * (MAX_VALUE_NODES - 1)
    assert decode_value(encode_value(value)) == value


def test_one_object_more_is_refused_by_the_sender_who_can_do_something_about_it() -> None:
    with pytest.raises(UnsupportedValue, match=r"argument 1 holds more than 100000 objects; send an array"):
        encode_value([None] * MAX_VALUE_NODES, "argument 1")


def test_a_large_tensor_is_one_object() -> None:
    value = [np.zeros(MAX_VALUE_NODES * 2, np.uint8)] * 2
    assert len(decode_value(encode_value(value))) == 2


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param({2**64: 2}, "cannot be sent", id="large int key"),
        pytest.param(2**64, "cannot be sent", id="large int"),
        pytest.param([-(2**63) - 1], "cannot be sent", id="small int"),
        pytest.param("\ud800", "cannot be sent", id="lone surrogate"),
        pytest.param(object(), "has type builtins.object", id="object"),
        pytest.param({frozenset((1,)): 2}, "a dict with a key of type frozenset", id="a key that is a set"),
        pytest.param(
            np.zeros(1, "f2").astype("longdouble"), "dtype longdouble|dtype float128", id="long double"
        ),
        pytest.param(np.zeros((1,) * 9), "9 dimensions", id="nine dimensions"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(value: Any, reason: str) -> None:
    with pytest.raises(UnsupportedValue, match=rf"argument 'x'.*{reason}"):
        encode_value(value, "argument 'x'")


class Colour(IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(Colour.RED, 1, id="enum"),
        pytest.param(OrderedDict(a=1), {"a": 1}, id="ordered dict"),
        pytest.param(Point(1, 2), (1, 2), id="named tuple"),
        pytest.param(bytearray(b"ab"), b"ab", id="bytearray"),
        pytest.param(memoryview(b"ab"), b"ab", id="memoryview"),
        pytest.param(type("L", (list,), {})([1]), [1], id="list subclass"),
        pytest.param(type("S", (str,), {})("a"), "a", id="str subclass"),
    ],
)
def test_subclasses_come_back_as_what_they_are_made_of(value: Any, expected: Any) -> None:
    decoded = decode_value(encode_value(value))
    assert (type(decoded), decoded) == (type(expected), expected)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xc1", id="unused type byte"),
        pytest.param(b"\x81\xcb" + bytes(8) + b"\x02", id="float key"),
        pytest.param(b"\x81\xc0\x02", id="nil key"),
        pytest.param(b"\x82\x01\x02\xc3\x02", id="1 and true, which are one key"),
        pytest.param(b"\x81\xc4\x01a\x02", id="bytes key"),
        pytest.param(b"\x82\xa1a\x01\xa1a\x02", id="duplicate key"),
        pytest.param(b"\x81\x90\x02", id="list key"),
        pytest.param(b"\xa1\xff", id="not UTF-8"),
        pytest.param(b"\xd6\xff\x00\x00\x00\x00", id="timestamp"),
        pytest.param(b"\xd4\x63\x00", id="unknown extension"),
        pytest.param(b"\xd4\x02\x01", id="tuple of no array"),
        pytest.param(b"\xc7\x03\x02\x91\x01\x01", id="tuple with something after its array"),
        pytest.param(b"\x92\xc7\x02\x02\x92\x01\x01", id="tuple shorter than its array"),
        pytest.param(b"\xc7\x00\x02", id="empty tuple extension"),
    ],
)
def test_what_is_no_value_is_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame):
        decode_value(data)


@pytest.mark.slow
def test_the_wire_can_be_used_without_importing_pandas_pillow_or_torch() -> None:
    program = (
        "import sys, numpy; from vtsserving._wire import call_rule, rows, values;"
        "rows.pack_call((numpy.zeros((1, 2)),), {}, call_rule.CallRule(0)); values.encode_value({'a': [1, (2.0,)]});"
        "sys.exit(any(name in sys.modules for name in ('pandas', 'PIL', 'torch', 'pickle_does_not_count')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param(
            datetime(2026, 1, 1, tzinfo=DriftingZone()), "the time zone .*Drifting", id="a zone of code"
        ),
        pytest.param(Decimal("1E+10000"), "a Decimal of more than 1024", id="large exponent"),
        pytest.param(Decimal("0E-10000"), "a Decimal of more than 1024", id="small exponent of nothing"),
        pytest.param(Decimal("1" * 1_025), "a Decimal of more than 1024", id="many digits"),
        pytest.param(scipy.sparse.coo_array((1, 2, 3)), "a sparse array of shape", id="three dimensions"),
        pytest.param(scipy.sparse.coo_array((1, 2**31)), "a sparse array of shape", id="too wide"),
        pytest.param(scipy.sparse.csr_array(np.array([[1j]])), "complex numbers", id="complex"),
    ],
)
def test_what_has_no_place_on_the_wire_is_refused_by_name(value: Any, reason: str) -> None:
    with pytest.raises(UnsupportedValue, match=rf"argument 'x'.*{reason}"):
        encode_value({1: [value]}, "argument 'x'")


def test_room_that_a_sparse_matrix_did_not_use_is_not_sent() -> None:
    matrix = scipy.sparse.csr_array(np.array([[1.0, 0.0], [0.0, 2.0]]))
    matrix.data, matrix.indices = np.append(matrix.data, 9.0), np.append(matrix.indices, 77)
    decoded = decode_value(encode_value(matrix))
    assert (decoded.toarray().tolist(), len(decoded.data)) == ([[1.0, 0.0], [0.0, 2.0]], 2)


def test_a_received_sparse_matrix_may_be_changed() -> None:
    decoded = decode_value(encode_value(scipy.sparse.csr_matrix(np.eye(2))))
    decoded.data[:] = 3
    decoded.sort_indices()
    assert decoded.toarray().tolist() == [[3.0, 0.0], [0.0, 3.0]]


def without(*modules: str) -> str:
    """The start of a program in which some modules cannot be imported."""
    return f"import sys; sys.modules.update(dict.fromkeys({modules!r}));"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "missing", "named"),
    [
        (scipy.sparse.csr_matrix(np.eye(2)), ["scipy", "scipy.sparse"], "scipy"),
        (datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")), ["tzdata"], "tzdata"),
    ],
    ids=["scipy", "time zones"],
)
def test_a_receiver_without_the_package_says_which(value: Any, missing: list[str], named: str) -> None:
    program = without(*missing) + (
        "import zoneinfo; zoneinfo.reset_tzpath(to=[]);"
        "from vtsserving._wire.values import decode_value; from vtsserving.exceptions import MissingDependency\n"
        f"try:\n decode_value({encode_value(value)!r})\n"
        "except MissingDependency as error:\n print(error.message)"
    )
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert f"pip install {named}" in ran.stdout


@pytest.mark.slow
def test_a_sender_does_not_import_scipy() -> None:
    program = (
        "import sys; from vtsserving._wire.values import encode_value, decode_value;"
        "import datetime; decode_value(encode_value([{1: datetime.date(2026, 1, 1)}, object.__doc__]));"
        "sys.exit(any(name.partition('.')[0] == 'scipy' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@given(st.lists(st.text("a\0", max_size=3), min_size=1, max_size=6), st.integers(1, 5))
def test_strings_keep_the_nuls_at_their_ends_also_when_arrays_are_joined(items: list[str], cut: int) -> None:
    parts = [np.array(part, dtype=object) for part in (items[:cut], items[cut:]) if part]
    packed = [pack_call((part,), {}, CallRule(0)) for part in parts]
    (joined,), _ = join_calls(packed[0].head, [p.body for p in packed], [p.rows for p in packed])
    assert joined.tolist() == items
    head, bodies = split_result(joined, [1] * len(items), 0)
    assert join_results([Packed(head, 1, body) for body in bodies]).tolist() == items
    assert decode_value(encode_value([np.str_(item) for item in items])) == items


@pytest.mark.parametrize("value", [b"", b"\0", b"a\0\0", bytes(range(256)), np.bytes_(b"a\0")])
def test_bytes_are_the_same_bytes(value: bytes) -> None:
    decoded = decode_value(encode_value([value, {"k": (value,)}]))
    assert decoded == [bytes(value), {"k": (bytes(value),)}]
    assert type(decoded[0]) is bytes
