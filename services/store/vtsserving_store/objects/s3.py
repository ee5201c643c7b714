"""Storage in an S3 bucket, through the minio SDK: MinIO, Ceph, AWS and others.

Rests on what all of them do alike: single PUTs with `If-None-Match: *`, multipart uploads, listings and ranges that see
every acknowledged write. Not on If-Match, ETags of multipart uploads, or checksums of the server: bodies carry our own
sha256.

Only the SDK's public calls are used. Its `put_object` cannot send `If-None-Match` (it turns unknown names into
metadata, silently), so create-only writes go through a second client, whose connections add it (see `s3_client`).
How often something is tried:

- A request is repeated below the SDK, with the same body: a part of a large upload alone, not the upload.
- A create-only write is not, because a lost answer of a first try makes the second one fail: it is read back.
- A body that breaks on its way to us is asked for again, from where it broke.
"""

from __future__ import annotations

import contextlib
import datetime
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final, TypeVar, cast

import urllib3
from minio import Minio
from minio.error import MinioException, S3Error

from vtsserving.exceptions import BlobNotFound, IntegrityError
from vtsserving_store.objects.object_store import CHUNK_BYTES, PART_BYTES, ObjectEntry, regrouped, verified
from vtsserving_store.objects.s3_client import Interrupted, PartSource, StoragePool, new_client, tries
from vtsserving_store.objects.s3_errors import is_broken_body, is_lost, is_missing, is_transient, translated
from vtsserving_store.settings import S3Settings

_MAX_PARTS: Final = 10_000

T = TypeVar("T")


class S3ObjectStore:
    """Implements `Blobs` on a bucket."""

    def __init__(self, settings: S3Settings) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            settings: endpoint, bucket and credentials.
        """
        self._bucket = settings.bucket
        self._endpoint = settings.endpoint
        pool, creating = StoragePool(settings), StoragePool(settings, create_only=True)
        self._pools = [pool, creating]
        self._client = new_client(settings, settings.endpoint, pool)
        self._creating = new_client(settings, settings.endpoint, creating)
        self._public: Minio | None = None
        if settings.public_endpoint:
            self._pools.append(StoragePool(settings))
            self._public = new_client(settings, settings.public_endpoint, self._pools[-1])

    def describe(self) -> str:
        """See Blobs."""
        return f"bucket {self._bucket} at {self._endpoint}"

    def has_bucket(self) -> bool:
        """Whether the bucket is there.

        Raises:
            StoreUnavailable: the storage does not answer, or refuses these credentials.
        """
        with self._errors():
            return bool(self._client.bucket_exists(self._bucket))

    def ensure_bucket(self) -> None:
        """Create the bucket if it is not there.

        Raises:
            StoreUnavailable: the storage does not answer, or refuses these credentials.
        """
        with self._errors():
            if self._client.bucket_exists(self._bucket):
                return
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as error:
                if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                    raise

    def create(self, key: str, data: bytes) -> bool:
        """See Blobs."""

        def once() -> bool:
            try:
                _put(self._creating, self._bucket, key, data)
            except S3Error as error:
                if is_lost(error):
                    return False
                raise
            return True

        creating = tries(is_transient)
        with self._errors():
            if creating(once):
                return True
        # An earlier try of ours may have arrived although its answer did not.
        return creating.statistics["attempt_number"] > 1 and self._holds(key, data)

    def put(self, key: str, data: bytes | bytearray) -> None:
        """See Blobs."""
        with self._errors():
            _put(self._client, self._bucket, key, data)

    def assemble(self, key: str, chunks: Iterable[bytes], *, size_bytes: int, digest: str) -> None:
        """See Blobs."""
        checked = verified(chunks, size_bytes=size_bytes, digest=digest)
        if size_bytes <= PART_BYTES:
            self.put(key, b"".join(checked))
            return
        part_bytes = max(PART_BYTES, -(-size_bytes // _MAX_PARTS))
        source = PartSource(regrouped(checked, part_bytes), size_bytes)
        with self._errors():
            try:
                self._client.put_object(
                    self._bucket,
                    key,
                    cast(BinaryIO, source),
                    size_bytes,
                    part_size=part_bytes,
                    num_parallel_uploads=1,
                )
            except Exception as error:
                if source.failure is not None:
                    raise source.failure from None  # `error` may be of the SDK's attempt to abort the upload
                # A repeated request whose first answer was lost: the upload is gone because the object is there.
                is_gone = isinstance(error, S3Error) and error.code == "NoSuchUpload"
                if not is_gone or self.stat(key) is None:
                    raise

    def read(self, key: str, *, limit_bytes: int) -> bytes | None:
        """See Blobs."""

        def once() -> bytes:
            response = self._client.get_object(self._bucket, key)
            try:
                announced = int(response.headers.get("content-length", 0))
                if announced > limit_bytes:
                    raise IntegrityError(f"{key} is larger than the {limit_bytes} bytes that it may have")
                data: bytes = response.read(limit_bytes + 1)
                if len(data) != announced:
                    raise urllib3.exceptions.IncompleteRead(len(data), announced - len(data))
                return data
            finally:
                response.close()
                response.release_conn()

        with self._errors():
            return _or_none(lambda: tries(is_broken_body)(once))

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See Blobs."""
        if length is None:
            found = self.stat(key)
            if found is None:
                raise BlobNotFound(f"no object {key}")
            length = found.size_bytes - start
        end = start + length
        chunks: Iterator[bytes] | None = None

        def next_chunk() -> bytes:
            nonlocal chunks
            opened, chunks = chunks or self._range(key, start, end - start), None
            chunk = next(opened, None)
            if chunk is None:
                raise urllib3.exceptions.IncompleteRead(start, end - start)
            chunks = opened
            return chunk

        while start < end:
            with self._errors():
                try:
                    chunk = tries(is_broken_body)(next_chunk)
                except S3Error as error:
                    if is_missing(error):
                        raise BlobNotFound(f"no object {key}") from error
                    raise
            start += len(chunk)
            yield chunk

    def stat(self, key: str) -> ObjectEntry | None:
        """See Blobs."""
        with self._errors():
            found = _or_none(lambda: self._client.stat_object(self._bucket, key))
        return None if found is None else _entry(found, key)

    def entries(self, prefix: str, *, after: str = "") -> Iterator[ObjectEntry]:
        """See Blobs."""
        with self._errors():
            for found in self._client.list_objects(
                self._bucket, prefix=prefix, recursive=True, start_after=after or None
            ):
                yield _entry(found, found.object_name)

    def delete(self, key: str) -> None:
        """See Blobs."""
        with self._errors():
            _or_none(lambda: self._client.remove_object(self._bucket, key))

    def presign(self, method: str, key: str, *, expires_s: int) -> str | None:
        """See Blobs; needs a public endpoint, because clients reach the storage by another name than we do."""
        if self._public is None:
            return None
        lifetime = datetime.timedelta(seconds=expires_s)
        url: str = self._public.get_presigned_url(method, self._bucket, key, expires=lifetime)
        return url

    def close(self) -> None:
        """See Blobs."""
        for pool in self._pools:
            pool.clear()

    def _holds(self, key: str, data: bytes) -> bool:
        """Whether an object has this content."""
        try:
            return self.read(key, limit_bytes=len(data)) == data
        except IntegrityError:
            return False  # it is larger

    def _range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        response = self._client.get_object(self._bucket, key, offset=start, length=length)
        try:
            yield from response.stream(CHUNK_BYTES)
        finally:
            response.close()
            response.release_conn()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Interrupted as carrier:
            raise carrier.interrupt from None
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise translated(error, self.describe()) from error


def _put(client: Minio, bucket: str, key: str, data: bytes | bytearray) -> None:
    """Write an object in one request."""
    client.put_object(bucket, key, io.BytesIO(data), len(data), part_size=max(PART_BYTES, len(data)))


def _entry(found: Any, key: str) -> ObjectEntry:
    modified = found.last_modified
    return ObjectEntry(
        key, int(found.size), str(found.etag or "").strip('"'), modified.timestamp() if modified else 0.0
    )


def _or_none(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except S3Error as error:
        if is_missing(error):
            return None
        raise
