from __future__ import annotations

import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given

from support import wire_frames
from vtsserving._wire import frames
from vtsserving._wire.kinds import KINDS
from vtsserving._wire.limits import (
    MAX_ENTRIES,
    MAX_HEADER_BYTES,
    MAX_HEADER_ITEMS,
    MAX_HEADER_STR_BYTES,
    MAX_TAGS_BYTES,
)
from vtsserving._wire.model_reports import ModelReport
from vtsserving.exceptions import BadFrame, UnsupportedProtocol

pytestmark = pytest.mark.fast


@given(wire_frames.frames())
def test_a_frame_comes_back_as_it_was_sent(frame: Any) -> None:
    assert frames.decode(frames.encode(frame)) == frame


@given(wire_frames.frames())
def test_a_frame_may_be_decoded_in_place(frame: Any) -> None:
    assert frames.decode(bytearray(frames.encode(frame))) == frame


def test_bodies_are_views_that_copy_nothing() -> None:
    data = frames.encode(REQUEST)
    decoded = frames.decode_as(frames.Request, data)
    assert all(isinstance(body, memoryview) and body.obj is data for body in decoded.bodies)


def test_every_kind_has_one_letter_per_field() -> None:
    assert {cls.__name__: len(letters) for cls, letters in KINDS.values()} == {
        cls.__name__: len(cls._fields) for cls, _ in KINDS.values()
    }


REQUEST = frames.Request(
    "iris",
    "abc",
    "sha256:00",
    "predict",
    64,
    1000,
    0,
    60,
    (),
    (1, 2),
    (1, 2),
    (5, 6),
    b"\0\1",
    (),
    (),
    b"",
    b"h",
    [b"a", b"bc"],
)
CANCEL = frames.Cancel("gw", (1,))
HEARTBEAT = frames.Heartbeat("runner", "0" * 16, "ready", 0, [], {})


def of(kind: int, fields: Any, body: bytes = b"", version: int = 2, magic: bytes = b"VT") -> bytes:
    header = fields if isinstance(fields, bytes) else msgpack.packb(fields)
    return struct.pack("<2sBBI", magic, version, kind, len(header)) + header + body


def column(letter: str, *items: int) -> bytes:
    return struct.pack(f"<{len(items)}{letter}", *items)


def request_fields(**changes: Any) -> list[Any]:
    fields = dict(
        zip(
            frames.Request._fields,
            [
                *REQUEST[:8],
                b"",
                column("Q", 1, 2),
                column("I", 1, 2),
                column("Q", 5, 6),
                b"\0\1",
                b"",
                b"",
                b"",
                1,
                column("I", 1, 2),
            ],
            strict=True,
        )
    )
    return list((fields | changes).values())


def test_the_hand_made_request_is_good() -> None:
    assert frames.decode(of(1, request_fields(), b"habc")) == REQUEST


@pytest.mark.parametrize("version", [0, 1, 3, 255])
def test_another_protocol_version_is_refused_by_number(version: int) -> None:
    with pytest.raises(UnsupportedProtocol, match=rf"protocol version {version}; this side speaks 2"):
        frames.decode(of(5, ["gw", column("Q", 1)], version=version))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"VT\x02\x05", id="half a prefix"),
        pytest.param(of(5, ["gw", column("Q", 1)], magic=b"XX"), id="wrong magic"),
        pytest.param(of(0, []), id="kind 0"),
        pytest.param(of(12, []), id="kind 12"),
        pytest.param(of(255, []), id="kind 255"),
        pytest.param(of(5, ["gw", column("Q", 1)])[:-1], id="truncated header"),
        pytest.param(struct.pack("<2sBBI", b"VT", 2, 5, 2**32 - 1), id="header of 4 GiB"),
        pytest.param(of(5, b"\xc0" * (MAX_HEADER_BYTES + 1)), id="header over the limit"),
        pytest.param(of(5, {"gateway": "gw"}), id="a map for a header"),
        pytest.param(of(5, {}), id="an empty map for a header"),
        pytest.param(of(5, 7), id="a number for a header"),
        pytest.param(of(5, b""), id="no header"),
        pytest.param(of(5, ["gw"]), id="a field short"),
        pytest.param(of(5, ["gw", column("Q", 1), 0]), id="a field more"),
        pytest.param(of(5, msgpack.packb(["gw", column("Q", 1)]) + b"\xc0"), id="bytes after the header"),
        pytest.param(of(5, ["gw", column("Q", 1)], b"x"), id="bytes after the frame"),
        pytest.param(of(5, [7, column("Q", 1)]), id="a number for a str"),
        pytest.param(of(5, [b"gw", column("Q", 1)]), id="bytes for a str"),
        pytest.param(of(5, [None, column("Q", 1)]), id="nil for a str"),
        pytest.param(of(5, ["gw", [1]]), id="an array for a column"),
        pytest.param(of(5, ["gw", "12345678"]), id="a str for a column"),
        pytest.param(of(5, ["gw", bytes(7)]), id="half an item"),
        pytest.param(of(5, ["gw", b""]), id="no entries"),
        pytest.param(of(5, ["g" * (MAX_HEADER_STR_BYTES + 1), column("Q", 1)]), id="a long str"),
        pytest.param(of(5, ["gw", column("Q", *range(MAX_ENTRIES + 1))]), id="too many entries"),
        pytest.param(of(5, b"\x92\xa2gw\xc7\x08\x01" + bytes(8)), id="an extension for a column"),
        pytest.param(of(5, b"\x92\xa1\xff\xc4\x08" + bytes(8)), id="no UTF-8"),
        pytest.param(of(5, b"\x92\xd6\xff\0\0\0\0\xc4\x08" + bytes(8)), id="a timestamp for a str"),
        pytest.param(of(5, b"\xdd\xff\xff\xff\xff"), id="an array of 2**32-1"),
        pytest.param(of(5, b"\xdf\xff\xff\xff\xff"), id="a map of 2**32-1"),
        pytest.param(of(5, b"\x92\xa2gw\xc6\xff\xff\xff\xff"), id="a bin of 2**32-1"),
        pytest.param(of(5, b"\x91" * 600), id="600 levels"),
        pytest.param(of(5, b"\x91" * MAX_HEADER_BYTES), id="half a million levels"),
        pytest.param(of(6, ["credit", *"rmvd", 1, [-1], 0, 0, "", ""]), id="a negative credit"),
        pytest.param(of(6, ["credit", *"rmvd", -1, [1], 0, 0, "", ""]), id="a negative epoch"),
        pytest.param(of(6, ["credit", *"rmvd", True, [1], 0, 0, "", ""]), id="true for a number"),
        pytest.param(of(6, ["credit", *"rmvd", 1.0, [1], 0, 0, "", ""]), id="a float for a number"),
        pytest.param(of(6, ["credit", *"rmvd", 1, [1.0], 0, 0, "", ""]), id="a float for a credit"),
        pytest.param(of(6, ["credit", *"rmvd", 1, 1, 0, 0, "", ""]), id="a number for a list"),
        pytest.param(of(6, ["credit", *"rmvd", 1, list(range(65)), 0, 0, "", ""]), id="65 credits"),
        pytest.param(of(14, ["0" * 16, ["a"]]), id="a list for tags"),
        pytest.param(of(14, ["0" * 16, b"\xff"]), id="tags of no UTF-8"),
        pytest.param(of(14, ["0" * 16, bytes(MAX_TAGS_BYTES + 1)]), id="long tags"),
        pytest.param(of(10, [1, 1, 1, "code", "m", column("I", 0)]), id="1 for a bool"),
        pytest.param(of(1, request_fields(), b"hab"), id="a body too short"),
        pytest.param(of(1, request_fields(), b"habcd"), id="a body too long"),
        pytest.param(of(1, request_fields(head=2**40), b"habc"), id="a head of 1 TiB"),
        pytest.param(of(1, request_fields(head=-1), b"habc"), id="a head of -1 bytes"),
        pytest.param(
            of(1, request_fields(bodies=column("I", 2**32 - 1, 2**32 - 1)), b"habc"), id="bodies of 8 GiB"
        ),
        pytest.param(of(1, request_fields(ids=column("Q", 1)), b"habc"), id="a column too short"),
        pytest.param(of(1, request_fields(rows=column("I", 1, 2, 3)), b"habc"), id="a column too long"),
        pytest.param(of(1, request_fields(attempts=b"\0"), b"habc"), id="bytes for fewer entries"),
        pytest.param(b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94", id="a pickle"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        frames.decode(data)


def test_an_entry_for_a_gateway_that_is_not_listed_is_refused() -> None:
    batch = frames.Batch(
        *(1, "b", 1, 0, "m", "v", "d", "p", 1, 0, (), ["g"], b"\1", (1,), (1,), (1,), (1,), b"\0"),
        *((), (), b"", b"h", [b""]),
    )
    with pytest.raises(BadFrame, match="gateway"):
        frames.decode(frames.encode(batch))


def test_a_frame_of_another_kind_than_was_asked_for_is_refused() -> None:
    with pytest.raises(BadFrame, match="expected Cancel, got Heartbeat"):
        frames.decode_as(frames.Cancel, frames.encode(HEARTBEAT))


def test_as_many_entries_as_the_limit_are_carried() -> None:
    count = MAX_ENTRIES
    full = REQUEST._replace(
        ids=tuple(range(count)),
        rows=(2**31,) * count,
        remaining_us=(2**64 - 1,) * count,
        attempts=bytes(count),
        bodies=[b""] * count,
    )
    assert frames.decode(frames.encode(full)) == full


def test_as_many_items_and_letters_as_the_limits_are_carried() -> None:
    gateways = ["g" * MAX_HEADER_STR_BYTES] * MAX_HEADER_ITEMS
    batch = frames.Batch(
        *(1, "b", 1, 0, "m", "v", "d", "p", 1, 0, (), gateways, b"\x3f", (1,), (1,), (1,), (1,), b"\0"),
        *((), (), b"", b"h", [b""]),
    )
    assert frames.decode(frames.encode(batch)) == batch


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("x" * 5_000, id="long"),
        pytest.param("ü" * 5_000, id="long, of two bytes each"),
        pytest.param("\U0001f600" * 5_000, id="long, of four bytes each"),
        pytest.param("a lone \udcff surrogate", id="surrogate"),
        pytest.param("", id="empty"),
    ],
)
def test_a_message_of_any_length_and_content_can_be_sent(message: str) -> None:
    sent = frames.Failure("model_failed", message, 0, (1,))
    received = frames.decode_as(frames.Failure, frames.encode(sent))
    assert message.encode("utf-8", "replace").decode().startswith(received.message)
    assert len(received.message.encode()) >= min(len(message), MAX_HEADER_STR_BYTES - 3)


def test_a_heartbeat_of_many_models_names_as_many_as_fit() -> None:
    reports = [ModelReport(f"{'m' * 50}-{i}:latest", "ready", replicas=1) for i in range(8_000)]
    beat = frames.decode_as(frames.Heartbeat, frames.encode(HEARTBEAT._replace(models=reports)))
    assert len(beat.models) > 3_000
    assert beat.models == reports[: len(beat.models)]
