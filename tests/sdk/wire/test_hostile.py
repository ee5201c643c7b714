"""Bytes that were changed on the way, or were never good: always one of our errors, and always fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import wire_frames, wire_values
from support.call_rules import every
from support.proofs import Proof
from vtsserving._wire import frames
from vtsserving._wire.layout import Layout
from vtsserving._wire.rows import join_calls, pack_call
from vtsserving._wire.values import decode_value, encode_value
from vtsserving.exceptions import MissingDependency, ProtocolError, TooDeep

pytestmark = pytest.mark.fast

REFUSED = (ProtocolError, TooDeep, MissingDependency)


@st.composite
def mutated(draw: Any, originals: Any) -> bytes:
    """Good bytes with a few flips, insertions, deletions, repetitions and cuts."""
    data = bytearray(draw(originals))
    for _ in range(draw(st.integers(1, 4))):
        where = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(["flip", "set", "insert", "delete", "cut", "repeat"]))
        if how == "flip" and where < len(data):
            data[where] ^= 1 << draw(st.integers(0, 7))
        elif how == "set" and where < len(data):
            # The type bytes of msgpack, and sizes at the ends of their ranges.
            data[where] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0x90, 0xC1, 0xC7, 0xC9, 0xDD, 0xDF, 0xFF]))
        elif how == "insert":
            data[where:where] = draw(st.binary(min_size=1, max_size=4))
        elif how == "delete":
            del data[where : where + draw(st.integers(1, 4))]
        elif how == "cut":
            del data[where:]
        elif how == "repeat":
            data[where:where] = data[where : where + draw(st.integers(1, 8))]
    return bytes(data)


def check(read: Callable[[], Any]) -> None:
    try:
        read()
    except REFUSED:
        return


@given(mutated(wire_frames.frames().map(frames.encode)))
def test_a_frame_that_was_changed_is_read_or_refused(data: bytes) -> None:
    check(lambda: frames.decode(data))


@given(mutated(wire_values.values.map(encode_value)))
def test_a_value_that_was_changed_is_read_or_refused(data: bytes) -> None:
    check(lambda: decode_value(data))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    check(lambda: frames.decode(data))
    check(lambda: decode_value(data))
    check(lambda: Layout(data))


CALLS = [
    pack_call((np.zeros((2, 3)),), {}, every(0)),
    pack_call((np.zeros((2, 2)),), {"k": 1}, every(1)),
    pack_call(([1, [2.5, "a"]],), {}, every(0)),
    pack_call(
        (np.array(["ab", "c"]), {"x": [None, 1]}), {"t": (np.zeros(2, "u1"), 7, np.float32(1))}, every(0)
    ),
    pack_call((pd.DataFrame({"a": [1, 2], "b": ["x", None]}),), {}, every(0)),
]


@given(st.sampled_from(CALLS), st.data())
def test_a_head_or_body_that_was_changed_is_read_or_refused(call: Any, data: Any) -> None:
    head = data.draw(mutated(st.just(call.head)) | st.just(call.head))
    body = data.draw(mutated(st.just(call.body)) | st.just(call.body))

    def read() -> None:
        join_calls(head, [body, call.body], [call.rows, call.rows])
        list(Layout(head).cut(body, call.rows, [1, call.rows - 1])) if head else None

    check(read)


def nested_arrays(item: bytes, levels: int) -> bytes:
    for _ in range(levels):
        item = b"\xdc\x00\x40" + item * 64
    return item


MANY = 10_000_000
SLOW_S = 0.01
LARGE = {
    "10 MB of empty maps in an array": b"\xdd" + MANY.to_bytes(4, "big") + b"\x80" * MANY,
    "10 MB of nils in an array": b"\xdd" + MANY.to_bytes(4, "big") + b"\xc0" * MANY,
    "10 MB of nils side by side": b"\xc0" * MANY,
    "10 MB of empty arrays in a map": b"\xdf" + MANY.to_bytes(4, "big") + b"\x90" * MANY,
    "an array of 2**32-1": b"\xdd\xff\xff\xff\xff",
    "a map of 2**32-1": b"\xdf\xff\xff\xff\xff",
    "a bin of 2**32-1": b"\xc6\xff\xff\xff\xff",
    "a str of 2**32-1": b"\xdb\xff\xff\xff\xff",
    "an extension of 2**32-1": b"\xc9\xff\xff\xff\xff\x01",
    "600 levels of arrays": b"\x91" * 600 + b"\xc0",
    "10 MB of levels of arrays": b"\x91" * MANY,
    "10 MB of levels of maps": b"\x81\xa0" * (MANY // 2),
    "10 MB of tuples in tuples": b"\xc9\x00\x98\x96\x80\x02\x91" * (MANY // 7),
    "a tensor of 2**62 items": encode_value(np.zeros(1)).replace(b"\x01" + bytes(7), bytes(7) + b"\x40"),
}


SLOW_HEADERS = {
    "64 arrays of 64 arrays of 64 nils": nested_arrays(b"\xc0", 3),
    "64 arrays of 32 arrays of 64 empty arrays": (
        b"\xdc\x00\x40" + (b"\xdc\x00\x20" + nested_arrays(b"\x90", 1) * 32) * 64
    ),
    "half a million levels": b"\x91" * 500_000,
}


@pytest.mark.alone
@pytest.mark.prove
def test_what_is_made_to_be_slow_is_refused_at_once(proof: Proof) -> None:
    took_s = {name: refusal_s(data, decode_value, Layout, frames.decode) for name, data in LARGE.items()}
    prefix = frames.encode(frames.Cancel("gw", (1,)))[:4]
    for name, header in (LARGE | SLOW_HEADERS).items():
        size = len(header).to_bytes(4, "little")
        took_s[f"{name}, as a header"] = refusal_s(prefix + size + header, frames.decode)
    slowest = max(took_s, key=lambda name: took_s[name])
    proof.record("hostile values and frames refused", kinds=len(took_s), slowest_ms=took_s[slowest] * 1000)
    assert took_s[slowest] < SLOW_S, slowest


def refusal_s(data: bytes, *readers: Callable[[bytes], Any]) -> float:
    """How long it takes to refuse some bytes at best; thread time, whatever the neighbours do."""
    return min(_refuse_s(data, readers) for _ in range(3))


def _refuse_s(data: bytes, readers: tuple[Callable[[bytes], Any], ...]) -> float:
    started_s = time.thread_time()
    for read in readers:
        with pytest.raises((ProtocolError, TooDeep)):
            read(data)
    return time.thread_time() - started_s
