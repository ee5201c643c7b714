"""Messages on the socket of a model process, however they are cut."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving.exceptions import BadFrame
from vtsserving_runner.framing import MAX_FRAME_BYTES, PREFIX, Assembler, BlockingLink


def message(stamp_us: int, frame: bytes) -> bytes:
    return PREFIX.pack(len(frame), stamp_us) + frame


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=64)), max_size=8), st.data())
def test_messages_arrive_whole_and_in_order_however_the_bytes_are_cut(messages, data):
    stream = b"".join(message(stamp, frame) for stamp, frame in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    assembler, got = Assembler(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += assembler.feed(stream[start:stop])
    assert got == messages


def test_an_impossible_size_is_refused_by_both_ends():
    bad = PREFIX.pack(MAX_FRAME_BYTES + 1, 0)
    with pytest.raises(BadFrame):
        list(Assembler().feed(bad))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(bad)
        with pytest.raises(BadFrame):
            BlockingLink(theirs).receive()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize("sizes", [(0,), (5, 0, 7), (3_000_000,), (10, 2_000_000, 10)], ids=str)
def test_blocking_ends_understand_each_other(pair, sizes):
    ours, theirs = pair
    frames = [bytes([i + 1]) * size for i, size in enumerate(sizes)]

    def send() -> None:
        link = BlockingLink(ours)
        for i, frame in enumerate(frames):
            link.send(i, frame)
        ours.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    link = BlockingLink(theirs)
    got = [link.receive() for _ in frames]
    assert link.receive() is None
    thread.join()
    assert got == list(enumerate(frames))


def test_received_frames_do_not_share_memory(pair):
    ours, theirs = pair
    ours.sendall(message(0, b"aaaa") + message(0, b"bbbb"))
    link = BlockingLink(theirs)
    first, second = link.receive(), link.receive()
    assert first is not None
    assert second is not None
    first[1][:] = b"xxxx"
    assert second[1] == b"bbbb"


@pytest.mark.parametrize(
    "sent", [b"\x01", message(0, b"whole")[:-1], message(0, b"y" * 600_000)[:-5]], ids=len
)
def test_an_end_in_the_middle_of_a_message_is_an_end(pair, sent):
    ours, theirs = pair
    thread = threading.Thread(target=lambda: (ours.sendall(sent), ours.shutdown(socket.SHUT_WR)))
    thread.start()
    assert BlockingLink(theirs).receive() is None
    thread.join()
