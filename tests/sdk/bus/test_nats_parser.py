"""The parser reads what a nats-server sends, however the network cuts it."""

from __future__ import annotations

import contextlib
import itertools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.buses import Inbox
from vtsserving._bus import NO_RESPONDERS, Message
from vtsserving._bus.nats_parser import MAX_CONTROL_LINE_BYTES, MAX_MESSAGE_BYTES, NatsParser
from vtsserving.exceptions import ProtocolError

pytestmark = pytest.mark.fast

STREAM = (
    b'INFO {"max_payload":8}\r\n'
    b"MSG vts.a 1 5\r\nhello\r\n"
    b"PING\r\n"
    b"MSG vts.b 2 vts.back.9 12\r\nMSG x 1 1\r\n\r\r\n"
    b"+OK\r\n"
    b"MSG vts.c 99 1\r\nx\r\n"
    b"HMSG vts.back.3 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    b"HMSG vts.d 1 vts.back.4 18 21\r\nNATS/1.0\r\nA: b\r\n\r\nabc\r\n"
    b"-ERR 'Something'\r\n"
    b"MSG vts.e 1 0\r\n\r\n"
    b"PONG\r\n"
)
MESSAGES = {
    b"1": [
        Message("vts.a", b"hello", ""),
        Message("vts.back.3", NO_RESPONDERS, ""),
        Message("vts.d", b"abc", "vts.back.4"),
        Message("vts.e", b"", ""),
    ],
    b"2": [Message("vts.b", b"MSG x 1 1\r\n\r", "vts.back.9")],
}
LINES = [b'INFO {"max_payload":8}', b"PING", b"+OK", b"-ERR 'Something'", b"PONG"]


def read(chunks: list[bytes]) -> tuple[dict[bytes, list[Message]], list[bytes]]:
    lines: list[bytes] = []
    parser, one, two = NatsParser(lines.append), Inbox(), Inbox()
    parser.handlers.update({b"1": one, b"2": two})
    for chunk in chunks:
        parser.feed(chunk)
    return {b"1": one.messages, b"2": two.messages}, lines


def test_a_whole_stream_is_read_at_once() -> None:
    assert read([STREAM]) == (MESSAGES, LINES)


def test_a_stream_is_read_byte_by_byte() -> None:
    assert read([STREAM[n : n + 1] for n in range(len(STREAM))]) == (MESSAGES, LINES)


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_is_read_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[a:b] for a, b in itertools.pairwise(edges)]) == (MESSAGES, LINES)


@pytest.mark.parametrize(
    "data",
    [
        b"MSG\r\n",
        b"MSG vts.a 1 five\r\nhello\r\n",
        b"MSG \xff\xfe 1 1\r\nx\r\n",
        b"HMSG vts.a 1 x 1\r\nx\r\n",
        b"MSG vts.a 1 %d\r\n" % (MAX_MESSAGE_BYTES + 1),
        b"I" * (MAX_CONTROL_LINE_BYTES + 1),
    ],
)
def test_what_no_nats_server_sends_is_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read([data])


@given(st.binary(max_size=200))
def test_garbage_never_fails_in_another_way(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        read([STREAM + data])


def test_a_large_message_in_many_parts_is_joined_once() -> None:
    payload = bytes(4_000_000)
    data = b"MSG vts.a 1 %d\r\n%b\r\nMSG vts.a 1 1\r\ny\r\n" % (len(payload), payload)
    messages, _ = read([data[n : n + 1_000] for n in range(0, len(data), 1_000)])
    assert [m.payload for m in messages[b"1"]] == [payload, b"y"]


def test_what_follows_a_reset_is_read_from_its_beginning() -> None:
    inbox = Inbox()
    parser = NatsParser(lambda line: None)
    parser.handlers[b"1"] = inbox
    parser.feed(b"MSG vts.a 1 100\r\nhalf of")
    parser.reset()
    parser.feed(b"MSG vts.a 1 3\r\nnew\r\n")
    assert inbox.payloads == [b"new"]


def test_a_raising_handler_does_not_disturb_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    def fragile(message: Message) -> None:
        raise ValueError

    inbox = Inbox()
    parser = NatsParser(lambda line: None)
    parser.handlers.update({b"1": fragile, b"2": inbox})
    with caplog.at_level(logging.ERROR):
        parser.feed(b"MSG vts.a 1 1\r\nx\r\nMSG vts.a 2 1\r\ny\r\n")
    assert inbox.payloads == [b"y"]
    assert [record.getMessage() for record in caplog.records] == ["bus_handler_raised"]
