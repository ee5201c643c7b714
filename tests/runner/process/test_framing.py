"""Messages between runner and model process: on the socket however they are cut, and in shared memory."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtsserving._wire.frames import Result, decode, encode
from vtsserving.exceptions import BadFrame
from vtsserving_runner.process import shm_ring
from vtsserving_runner.process.framing import INLINE, MAX_FRAME_BYTES, PREFIX, Assembler, BlockingLink
from vtsserving_runner.process.shm_ring import SHARE_BYTES, SLOT_BYTES, SLOTS, Ring

pytestmark = pytest.mark.fast


def message(stamp_us: int, frame: bytes, slot: int = INLINE, released: int = 0) -> bytes:
    return PREFIX.pack(len(frame), slot, released, stamp_us) + frame


def result(number: int, size_bytes: int) -> Result:
    return Result(number, 0, True, (0,), (1,), b"", b"", [bytes([number]) * size_bytes])


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=64)), max_size=8), st.data())
def test_messages_arrive_whole_and_in_order_however_the_bytes_are_cut(messages, data):
    stream = b"".join(message(stamp, frame) for stamp, frame in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    assembler, got = Assembler(), []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += [(prefix.stamp_us, frame) for prefix, frame in assembler.feed(stream[start:stop])]
    assert got == messages


@pytest.mark.parametrize(
    "bad",
    [
        PREFIX.pack(MAX_FRAME_BYTES + 1, INLINE, 0, 0),
        PREFIX.pack(10, SLOTS, 0, 0),
        PREFIX.pack(SLOT_BYTES + 1, 0, 0, 0),
    ],
    ids=["size", "slot", "beyond"],
)
def test_an_impossible_message_is_refused_by_both_ends(bad):
    with pytest.raises(BadFrame):
        list(Assembler().feed(bad))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(bad)
        with pytest.raises(BadFrame):
            BlockingLink(theirs).receive()


def test_a_shared_frame_without_shared_memory_is_refused(pair):
    ours, theirs = pair
    ours.sendall(PREFIX.pack(10, 0, 0, 0))
    with pytest.raises(BadFrame):
        BlockingLink(theirs).receive()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def rings() -> tuple[Ring, Ring]:
    """The two sides of one ring."""
    descriptor = shm_ring.create()
    assert descriptor is not None
    try:
        return Ring(descriptor), Ring(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("sizes", [(0,), (5, 0, 7), (3_000_000,), (10, 2_000_000, 10)], ids=str)
def test_what_is_sent_on_the_socket_arrives(pair, sizes):
    ours, theirs = pair
    sent = [result(i + 1, size) for i, size in enumerate(sizes)]

    def send() -> None:
        link = BlockingLink(ours)
        for i, frame in enumerate(sent):
            link.send(i, frame)
        ours.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    link = BlockingLink(theirs)
    got = [link.receive() for _ in sent]
    assert link.receive() is None
    thread.join()
    assert [(stamp, bytes(frame)) for stamp, frame in got] == [(i, encode(f)) for i, f in enumerate(sent)]


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


def test_large_frames_go_through_shared_memory_and_back(pair):
    ours, theirs = pair
    (there_w, there_r), (back_w, back_r) = rings(), rings()
    child = BlockingLink(theirs, there_r, back_w)
    for number in range(1, 3 * SLOTS):
        frame = encode(result(number, SHARE_BYTES))
        slot = there_w.write((frame,), len(frame))
        assert slot is not None
        ours.sendall(PREFIX.pack(len(frame), slot, number > 1, number))
        received = child.receive()
        assert received is not None
        answer = decode(received[1])
        assert answer == result(number, SHARE_BYTES)
        child.send(number, answer, finish=True)
        (answered,) = Assembler().feed(ours.recv(PREFIX.size))
        prefix = answered[0]
        assert prefix.slot != INLINE
        assert bytes(back_r.read(prefix.slot, prefix.size_bytes)) == frame
        there_w.released(prefix.released)


def test_without_a_free_slot_a_frame_goes_through_the_socket():
    writer, _ = rings()
    large = b"x" * SHARE_BYTES
    assert [writer.write((large,), len(large)) for _ in range(SLOTS + 1)] == [*range(SLOTS), None]
    writer.released(1)
    assert [writer.write((large,), len(large)) for _ in range(2)] == [0, None]


def test_small_and_enormous_frames_are_not_shared():
    writer, _ = rings()
    assert writer.write((b"x",), 1) is None
    assert writer.write((), SLOT_BYTES + 1) is None


def test_a_model_cannot_shrink_what_the_runner_reads():
    descriptor = shm_ring.create()
    assert descriptor is not None
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
    os.close(descriptor)
