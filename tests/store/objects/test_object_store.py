"""One contract for every storage: the directory and the S3 bucket must pass the same tests."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vtsserving.exceptions import BlobNotFound, DigestMismatch, IntegrityError, SizeMismatch
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import CHUNK_BYTES, PART_BYTES, ObjectStore, regrouped
from vtsserving_store.objects.probe import probe

KEY = "tokens/0123456789abcdef"


def chunked(data: bytes, size: int = 100_000) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_what_was_created_can_be_read(objects: ObjectStore) -> None:
    assert objects.create(KEY, b"content")
    assert objects.read(KEY, limit_bytes=100) == b"content"


def test_creating_again_changes_nothing_and_says_so(objects: ObjectStore) -> None:
    objects.create(KEY, b"first")
    assert not objects.create(KEY, b"second")
    assert objects.read(KEY, limit_bytes=100) == b"first"


def test_of_racing_creators_exactly_one_wins_and_its_bytes_stay(objects: ObjectStore) -> None:
    writers = 8
    for round_number in range(10):
        key = f"tokens/{round_number:016x}"
        barrier = threading.Barrier(writers)

        def create(number: int, key: str = key, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return objects.create(key, b"%d" % number)

        with ThreadPoolExecutor(writers) as pool:
            won = list(pool.map(create, range(writers)))
        assert won.count(True) == 1
        assert objects.read(key, limit_bytes=100) == b"%d" % won.index(True)


def test_put_replaces(objects: ObjectStore) -> None:
    objects.put(KEY, b"first")
    before = objects.stat(KEY)
    objects.put(KEY, bytearray(b"second"))
    after = objects.stat(KEY)
    assert objects.read(KEY, limit_bytes=100) == b"second"
    assert before is not None
    assert after is not None
    assert before.etag != after.etag


def test_absent_objects_are_none_and_deleting_them_is_fine(objects: ObjectStore) -> None:
    assert objects.read(KEY, limit_bytes=100) is None
    assert objects.stat(KEY) is None
    objects.delete(KEY)
    with pytest.raises(BlobNotFound):
        next(objects.stream(KEY))


def test_a_deleted_object_is_gone_and_its_key_free(objects: ObjectStore) -> None:
    objects.create(KEY, b"first")
    objects.delete(KEY)
    assert objects.read(KEY, limit_bytes=100) is None
    assert objects.create(KEY, b"second")


def test_reading_more_than_the_limit_is_refused(objects: ObjectStore) -> None:
    objects.put(KEY, b"x" * 101)
    with pytest.raises(IntegrityError, match="larger than"):
        objects.read(KEY, limit_bytes=100)


def test_an_empty_object_is_an_object(objects: ObjectStore) -> None:
    objects.assemble(KEY, iter(()), size_bytes=0, digest=digest_of(b""))
    found = objects.stat(KEY)
    assert found is not None
    assert found.size_bytes == 0
    assert list(objects.stream(KEY)) == []
    assert objects.read(KEY, limit_bytes=10) == b""


@pytest.mark.parametrize("size", [1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES + 12_345])
def test_large_objects_arrive_as_they_were_sent(objects: ObjectStore, size: int) -> None:
    data = os.urandom(size)
    objects.assemble(KEY, chunked(data), size_bytes=size, digest=digest_of(data))
    assert b"".join(objects.stream(KEY)) == data


def test_a_range_is_exactly_that(objects: ObjectStore) -> None:
    data = os.urandom(3 * CHUNK_BYTES)
    objects.put(KEY, data)
    start, length = CHUNK_BYTES - 5, CHUNK_BYTES + 10
    assert b"".join(objects.stream(KEY, start=start, length=length)) == data[start : start + length]
    assert b"".join(objects.stream(KEY, start=start)) == data[start:]


@pytest.mark.parametrize("size", [1000, PART_BYTES + 1000])
@pytest.mark.parametrize(
    ("delta", "flip", "error"),
    [(1, False, SizeMismatch), (-1, False, SizeMismatch), (0, True, DigestMismatch)],
    ids=["one byte more announced", "one byte less announced", "one bit flipped"],
)
def test_wrong_bytes_never_become_visible(
    objects: ObjectStore, size: int, delta: int, flip: bool, error: type[Exception]
) -> None:
    data = os.urandom(size)
    sent = bytes([data[0] ^ 1]) + data[1:] if flip else data
    with pytest.raises(error):
        objects.assemble(KEY, chunked(sent), size_bytes=size + delta, digest=digest_of(data))
    assert objects.stat(KEY) is None


def test_a_stream_that_breaks_leaves_nothing(objects: ObjectStore) -> None:
    def breaking() -> Iterator[bytes]:
        yield b"x" * (PART_BYTES + 5)
        raise ConnectionResetError

    with pytest.raises((ConnectionResetError, Exception)):
        objects.assemble(KEY, breaking(), size_bytes=PART_BYTES * 2, digest=digest_of(b""))
    assert objects.stat(KEY) is None


def test_listing_has_each_object_once_and_those_of_a_folder_in_order(objects: ObjectStore) -> None:
    """The order of folders is not promised: SeaweedFS lists `a/1` before `a-b/1`."""
    names = ["a/1", "a-b/1", "a.b/1", "a/10", "a/2", "aa/1", "b/1"]
    for name in names:
        objects.put(f"models/{name}", b"x")
    found = [entry.key for entry in objects.entries("models/")]
    assert sorted(found) == sorted(f"models/{name}" for name in names)
    of_a = [key for key in found if key.startswith("models/a/")]
    assert of_a == ["models/a/1", "models/a/10", "models/a/2"]


def test_listing_keeps_to_its_prefix_and_starts_after_a_key(objects: ObjectStore) -> None:
    for number in range(5):
        objects.put(f"models/m/{number}", b"x" * number)
    objects.put("models/mm/1", b"x")
    objects.put("labels/m/1/1", b"x")
    after = list(objects.entries("models/m/", after="models/m/1"))
    assert [entry.key for entry in after] == ["models/m/2", "models/m/3", "models/m/4"]
    assert [entry.size_bytes for entry in after] == [2, 3, 4]
    assert list(objects.entries("aliases/")) == []


def test_listing_sees_more_than_one_page(objects: ObjectStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: objects.put(f"models/m/{n:05d}", b""), range(1_050)))
    assert [entry.key for entry in objects.entries("models/m/")] == [
        f"models/m/{n:05d}" for n in range(1_050)
    ]


def test_creating_and_deleting_in_one_folder_at_once_loses_nothing(objects: ObjectStore) -> None:
    def work(number: int) -> None:
        for _ in range(10):
            assert objects.create(f"leases/{number:08d}", b"x")
            objects.delete(f"leases/{number:08d}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert list(objects.entries(keys.LEASES)) == []


def test_a_storage_that_honours_create_only_writes_passes_the_probe(objects: ObjectStore) -> None:
    probe(objects)
    assert list(objects.entries(keys.PROBES)) == []


def test_parts_have_one_size_whatever_the_chunks() -> None:
    parts = list(regrouped([b"abc", b"", b"defghij", b"k"], part_bytes=4))
    assert parts == [b"abcd", b"efgh", b"ijk"]
