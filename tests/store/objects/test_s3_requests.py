"""Requests to S3 that fail half-way: what is repeated, what is read back, and what an upload leaves behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import botocore.session
import pytest

from support.fault_proxy import FaultProxy, Faults
from support.stores import ACCESS_KEY, SECRET_KEY, s3_section, store_settings, wait_until
from vtsserving.exceptions import DigestMismatch, SizeMismatch, StoreUnavailable
from vtsserving_store.objects.object_store import CHUNK_BYTES, PART_BYTES
from vtsserving_store.objects.s3 import S3ObjectStore
from vtsserving_store.objects.s3_client import ATTEMPTS

KEY: Final = "blobs/sha256/ab/large"
SIZE: Final = 3 * PART_BYTES + 12_345
ARMED_AT: Final = 11
"""In the second part: the first one was sent, the second one is being read."""


def answer(status: str, code: str) -> bytes:
    body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/xml\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@pytest.fixture(scope="module")
def data() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
def proxy(s3_endpoint: str) -> Iterator[FaultProxy]:
    port = urlsplit(s3_endpoint).port
    assert port is not None
    with FaultProxy(port) as running:
        yield running


@pytest.fixture
def bucket(s3_endpoint: str) -> str:
    return str(s3_section(s3_endpoint)["bucket"])


@pytest.fixture
def objects(proxy: FaultProxy, bucket: str) -> Iterator[S3ObjectStore]:
    """A bucket behind the proxy."""
    opened = S3ObjectStore(store_settings(s3=s3_section(proxy.url, bucket)).s3)
    opened.ensure_bucket()
    yield opened
    opened.close()


@pytest.fixture
def pending(s3_endpoint: str, bucket: str) -> Iterator[Callable[[], list[str]]]:
    """Keys of the uploads that were begun and neither completed nor aborted."""
    client = botocore.session.get_session().create_client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    yield lambda: [u["Key"] for u in client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    client.close()


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def chunks(data: bytes, then: Callable[[], Any] = lambda: None, *, at: int = ARMED_AT) -> Iterator[bytes]:
    """A stream that can be read once, and something that happens before its chunk number `at`."""
    for number, start in enumerate(range(0, len(data), CHUNK_BYTES)):
        if number == at:
            then()
        yield data[start : start + CHUNK_BYTES]


def arm(proxy: FaultProxy, faults: Faults) -> None:
    """Break the next connection, and let there be one."""
    proxy.faults = faults
    proxy.cut()


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param(Faults(reset_request_after_bytes=PART_BYTES // 2, times=1), id="reset in the body"),
        pytest.param(Faults(truncate_after_bytes=0, times=1), id="answer lost"),
        pytest.param(
            Faults(answer=answer("503 Busy", "SlowDown"), times=ATTEMPTS - 1), id="busy three times"
        ),
        pytest.param(Faults(answer=answer("400 Bad", "BadDigest"), times=1), id="body damaged"),
        pytest.param(
            Faults(answer=b"HTTP/1.1 502 Bad\r\ncontent-length: 0\r\n\r\n", times=1), id="a proxy's answer"
        ),
    ],
)
def test_a_part_that_fails_is_sent_again_although_the_stream_is_read_once(
    objects: S3ObjectStore, proxy: FaultProxy, data: bytes, faults: Faults, pending: Callable[[], list[str]]
) -> None:
    stream = chunks(data, lambda: arm(proxy, faults))
    before = proxy.connections
    objects.assemble(KEY, stream, size_bytes=SIZE, digest=digest_of(data))
    assert faults.times == 0
    assert proxy.connections > before + 1
    assert b"".join(objects.stream(KEY)) == data
    assert pending() == []


def test_an_upload_that_the_storage_refuses_is_aborted(
    objects: S3ObjectStore, proxy: FaultProxy, data: bytes, pending: Callable[[], list[str]]
) -> None:
    refusal = Faults(answer=answer("403 No", "AccessDenied"), times=1)
    with pytest.raises(StoreUnavailable, match="AccessDenied"):
        objects.assemble(
            KEY, chunks(data, lambda: arm(proxy, refusal)), size_bytes=SIZE, digest=digest_of(data)
        )
    assert (objects.stat(KEY), pending()) == (None, [])


@pytest.mark.parametrize("size", [SIZE, 2 * PART_BYTES], ids=["a short last part", "whole parts"])
@pytest.mark.parametrize(
    ("announced", "flip", "error"),
    [(1, False, SizeMismatch), (-1, False, SizeMismatch), (0, True, DigestMismatch)],
    ids=["a byte missing", "a byte too many", "a bit flipped"],
)
def test_a_wrong_body_leaves_no_object_and_no_pending_upload(
    objects: S3ObjectStore,
    data: bytes,
    size: int,
    announced: int,
    flip: bool,
    error: type[Exception],
    pending: Callable[[], list[str]],
) -> None:
    sent = data[:size]
    digest = digest_of(sent)
    if flip:
        sent = sent[:-1] + bytes([sent[-1] ^ 1])
    with pytest.raises(error):
        objects.assemble(KEY, chunks(sent), size_bytes=size + announced, digest=digest)
    assert (objects.stat(KEY), pending()) == (None, [])


def test_a_wrong_body_is_named_also_where_the_upload_cannot_be_aborted(
    objects: S3ObjectStore, proxy: FaultProxy, data: bytes
) -> None:
    gone = Faults(refuse=True)
    stream = chunks(data, lambda: arm(proxy, gone), at=SIZE // CHUNK_BYTES)
    with pytest.raises(DigestMismatch):
        objects.assemble(KEY, stream, size_bytes=SIZE, digest=digest_of(b""))
    proxy.faults = Faults()
    assert objects.stat(KEY) is None


def test_a_lost_answer_to_the_end_of_an_upload_is_found_out(
    objects: S3ObjectStore, proxy: FaultProxy, data: bytes, pending: Callable[[], list[str]]
) -> None:
    # Answers to parts have no body and pass; the one to the end of the upload breaks off. A server that closes its
    # connections needs a second one for it.
    lost = Faults(truncate_after_bytes=500, times=2)
    stream = chunks(data, lambda: arm(proxy, lost), at=SIZE // CHUNK_BYTES)
    before = proxy.connections
    objects.assemble(KEY, stream, size_bytes=SIZE, digest=digest_of(data))
    assert proxy.connections > before + 2
    assert b"".join(objects.stream(KEY)) == data
    assert pending() == []


INTERRUPTS = 3
NOTICED_S = 3.0


def interrupt_self(_: FaultProxy) -> None:
    raise KeyboardInterrupt


def interrupt_in_request(proxy: FaultProxy) -> None:
    """Let the next request go without an answer, and interrupt who waits for it."""
    before = proxy.received_bytes
    arm(proxy, Faults(stall_after_bytes=0, times=1))

    def interrupt() -> None:
        # When the client waits: while it connects, an interrupt may leave a socket without an owner. Python drops one
        # that strikes in the finaliser of an older response; then it is sent again, as a person would. The upload is
        # aborted on another connection, long before the client gives up waiting.
        wait_until(lambda: proxy.received_bytes >= before + PART_BYTES, what="the next part is sent")
        connections = proxy.connections
        for _ in range(INTERRUPTS):
            os.kill(os.getpid(), signal.SIGINT)
            with contextlib.suppress(AssertionError):
                wait_until(lambda: proxy.connections > connections, within_s=NOTICED_S)
                return

    threading.Thread(target=interrupt).start()


@pytest.mark.parametrize("interrupt", [interrupt_self, interrupt_in_request])
def test_an_interrupt_aborts_an_upload(
    objects: S3ObjectStore,
    proxy: FaultProxy,
    data: bytes,
    interrupt: Callable[[FaultProxy], None],
    pending: Callable[[], list[str]],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        objects.assemble(KEY, chunks(data, lambda: interrupt(proxy)), size_bytes=SIZE, digest=digest_of(data))
    assert (objects.stat(KEY), pending()) == (None, [])


def test_a_create_only_write_whose_answer_is_lost_has_won(objects: S3ObjectStore, proxy: FaultProxy) -> None:
    lost = Faults(truncate_after_bytes=0, times=1)
    arm(proxy, lost)
    before = proxy.connections
    assert objects.create(KEY, b"mine")
    assert lost.times == 0
    assert proxy.connections == before + 3, "two writes and the reading back"
    assert objects.read(KEY, limit_bytes=100) == b"mine"


@pytest.mark.parametrize("theirs", [b"them", b"", b"longer"])
def test_a_create_only_write_whose_answer_is_lost_does_not_win_over_another(
    objects: S3ObjectStore, proxy: FaultProxy, theirs: bytes
) -> None:
    objects.put(KEY, theirs)
    arm(proxy, Faults(truncate_after_bytes=0, times=1))
    assert not objects.create(KEY, b"mine")
    assert objects.read(KEY, limit_bytes=100) == theirs


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda objects: objects.create(KEY, b"x"), id="create"),
        pytest.param(lambda objects: objects.put(KEY, b"x"), id="put"),
        pytest.param(lambda objects: objects.read(KEY, limit_bytes=1), id="read"),
        pytest.param(lambda objects: next(objects.stream(KEY, length=1)), id="stream"),
        pytest.param(lambda objects: objects.stat(KEY), id="stat"),
        pytest.param(lambda objects: list(objects.entries("blobs/")), id="entries"),
    ],
)
def test_a_request_is_tried_four_times(
    proxy: FaultProxy, bucket: str, call: Callable[[S3ObjectStore], object]
) -> None:
    objects = S3ObjectStore(store_settings(s3=s3_section(proxy.url, bucket)).s3)
    proxy.faults = Faults(refuse=True)
    with pytest.raises(StoreUnavailable, match="does not answer"):
        call(objects)
    assert proxy.connections == ATTEMPTS
    objects.close()


def test_a_body_that_breaks_off_goes_on_from_there(
    objects: S3ObjectStore, proxy: FaultProxy, data: bytes
) -> None:
    objects.assemble(KEY, chunks(data), size_bytes=SIZE, digest=digest_of(data))
    arm(proxy, Faults(reset_after_bytes=5 * CHUNK_BYTES, times=2))
    assert b"".join(objects.stream(KEY)) == data
