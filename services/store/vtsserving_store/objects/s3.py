"""Storage in an S3 bucket, through the minio SDK: MinIO, Ceph, AWS and others. [M6]

Rests on what all of them do alike: single PUTs with `If-None-Match: *`, multipart uploads, listings and ranges that see
every acknowledged write. Not on If-Match, ETags of multipart uploads, or checksums of the server: bodies carry our own
sha256.

The SDK's public `put_object` cannot send `If-None-Match` (it turns unknown names into metadata, silently), and its
multipart upload cannot be stopped before the last step; so this file uses the SDK's `_put_object` and its neighbours.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar, cast

import urllib3
from minio import Minio
from minio.datatypes import Part
from minio.error import MinioException, S3Error

from vtsserving.exceptions import BlobNotFound, IntegrityError, StoreUnavailable
from vtsserving_store.objects.object_store import CHUNK_BYTES, PART_BYTES, ObjectEntry, regrouped, verified
from vtsserving_store.objects.s3_errors import is_missing, is_transient, translated
from vtsserving_store.settings import S3Settings

ATTEMPTS: Final = 4
"""Tries of one request to the storage: the first and three more."""

_FIRST_PAUSE_S: Final = 0.1
_POOL_CONNECTIONS: Final = 32

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
        self._client = _client(settings, settings.endpoint)
        self._public = _client(settings, settings.public_endpoint) if settings.public_endpoint else None
        self._region = settings.region

    def describe(self) -> str:
        """See Blobs."""
        return f"bucket {self._bucket} at {self._endpoint}"

    def has_bucket(self) -> bool:
        """Whether the bucket is there.

        Raises:
            StoreUnavailable: the storage does not answer, or refuses these credentials.
        """
        return bool(self._retry(lambda: self._client.bucket_exists(self._bucket)))

    def ensure_bucket(self) -> None:
        """Create the bucket if it is not there.

        Raises:
            StoreUnavailable: the storage does not answer, or refuses these credentials.
        """

        def ensure() -> None:
            if not self._client.bucket_exists(self._bucket):
                try:
                    self._client.make_bucket(self._bucket)
                except S3Error as error:
                    if error.code not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"}:
                        raise

        self._retry(ensure)

    def create(self, key: str, data: bytes) -> bool:
        """See Blobs."""
        unsure = False
        for attempt in range(ATTEMPTS):
            try:
                self._client._put_object(self._bucket, key, data, {"If-None-Match": "*"})
            except (MinioException, urllib3.exceptions.HTTPError) as error:
                if _lost(error):
                    # An earlier attempt of ours may have arrived although its answer did not.
                    return unsure and self.read(key, limit_bytes=len(data)) == data
                if not is_transient(error) or attempt == ATTEMPTS - 1:
                    raise translated(error, self.describe()) from error
                unsure = True
                _pause(attempt)
            else:
                return True
        return False

    def put(self, key: str, data: bytes | bytearray) -> None:
        """See Blobs."""
        self._retry(lambda: self._client._put_object(self._bucket, key, cast(bytes, data)))

    def assemble(self, key: str, chunks: Iterable[bytes], *, size_bytes: int, digest: str) -> None:
        """See Blobs."""
        checked = regrouped(verified(chunks, size_bytes=size_bytes, digest=digest))
        if size_bytes <= PART_BYTES:
            self.put(key, b"".join(checked))
            return
        upload: str = self._retry(lambda: self._client._create_multipart_upload(self._bucket, key, {}))
        try:
            done = [self._upload_part(key, upload, n, part) for n, part in enumerate(checked, start=1)]
            self._retry(lambda: self._complete(key, upload, done))
        except BaseException:
            with contextlib.suppress(MinioException, urllib3.exceptions.HTTPError):
                self._client._abort_multipart_upload(self._bucket, key, upload)
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

        return self._retry_or_none(once)

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See Blobs."""
        if length is None:
            found = self.stat(key)
            if found is None:
                raise BlobNotFound(f"no object {key}")
            length = found.size_bytes - start
        end, failures = start + length, 0
        while start < end:
            try:
                for chunk in self._range(key, start, end - start):
                    start += len(chunk)
                    failures = 0
                    yield chunk
                if start < end:
                    raise urllib3.exceptions.IncompleteRead(start, end - start)
            except (MinioException, urllib3.exceptions.HTTPError) as error:
                failures += 1
                if is_missing(error):
                    raise BlobNotFound(f"no object {key}") from error
                if not is_transient(error) or failures == ATTEMPTS:
                    raise translated(error, self.describe()) from error
                _pause(failures - 1)

    def stat(self, key: str) -> ObjectEntry | None:
        """See Blobs."""
        found = self._retry_or_none(lambda: self._client.stat_object(self._bucket, key))
        return None if found is None else _entry(found, key)

    def entries(self, prefix: str, *, after: str = "") -> Iterator[ObjectEntry]:
        """See Blobs."""
        failures = 0
        while True:
            try:
                for found in self._client.list_objects(
                    self._bucket, prefix=prefix, recursive=True, start_after=after or None
                ):
                    after = found.object_name
                    failures = 0
                    yield _entry(found, found.object_name)
                return
            except (MinioException, urllib3.exceptions.HTTPError) as error:
                failures += 1
                if not is_transient(error) or failures == ATTEMPTS:
                    raise translated(error, self.describe()) from error
                _pause(failures - 1)

    def delete(self, key: str) -> None:
        """See Blobs."""
        self._retry_or_none(lambda: self._client.remove_object(self._bucket, key))

    def presign(self, method: str, key: str, *, expires_s: int) -> str | None:
        """See Blobs; needs a public endpoint, because clients reach the storage by another name than we do."""
        if self._public is None:
            return None
        lifetime = datetime.timedelta(seconds=expires_s)
        url: str = self._public.get_presigned_url(method, self._bucket, key, expires=lifetime)
        return url

    def close(self) -> None:
        """See Blobs."""
        for client in (self._client, self._public):
            if client is not None:
                client._http.clear()

    def _range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        response = self._client.get_object(self._bucket, key, offset=start, length=length)
        try:
            yield from response.stream(CHUNK_BYTES)
        finally:
            response.close()
            response.release_conn()

    def _upload_part(self, key: str, upload: str, number: int, data: bytearray) -> Part:
        etag = self._retry(
            lambda: self._client._upload_part(self._bucket, key, cast(bytes, data), None, upload, number)
        )
        return Part(number, etag)

    def _complete(self, key: str, upload: str, done: list[Part]) -> None:
        try:
            self._client._complete_multipart_upload(self._bucket, key, upload, done)
        except S3Error as error:
            # A repeated request whose first answer was lost: the upload is gone because the object is there.
            if error.code != "NoSuchUpload" or self.stat(key) is None:
                raise

    def _retry(self, call: Callable[[], T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except (MinioException, urllib3.exceptions.HTTPError) as error:
                if not is_transient(error) or attempt == ATTEMPTS - 1:
                    raise translated(error, self.describe()) from error
                _pause(attempt)
        raise StoreUnavailable(f"{self.describe()} does not answer")

    def _retry_or_none(self, call: Callable[[], T]) -> T | None:
        def tolerant() -> T | None:
            try:
                return call()
            except S3Error as error:
                if is_missing(error):
                    return None
                raise

        return self._retry(tolerant)


def _client(settings: S3Settings, endpoint: str) -> Minio:
    secure, _, host = endpoint.partition("://")
    timeout = urllib3.Timeout(connect=settings.connect_timeout_s, read=settings.stall_timeout_s)
    options: dict[str, Any] = {"cert_reqs": "CERT_REQUIRED"}
    if settings.ca_file is not None:
        options["ca_certs"] = str(settings.ca_file)
    client = Minio(
        host.rstrip("/"),
        access_key=settings.access_key,
        secret_key=settings.secret_key.get_secret_value(),
        session_token=settings.session_token.get_secret_value() or None,
        secure=secure == "https",
        region=settings.region or None,
        http_client=urllib3.PoolManager(timeout=timeout, maxsize=_POOL_CONNECTIONS, retries=False, **options),
    )
    if settings.path_style:
        client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
    return client


def _entry(found: Any, key: str) -> ObjectEntry:
    modified = found.last_modified
    return ObjectEntry(
        key, int(found.size), str(found.etag or "").strip('"'), modified.timestamp() if modified else 0.0
    )


def _lost(error: Exception) -> bool:
    """Whether a create-only write failed because the key exists; some servers say 409 or 404 while writers race."""
    if not isinstance(error, S3Error):
        return False
    if error.code in {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"}:
        return True
    return getattr(error.response, "status", 0) == 412


def _pause(attempt: int) -> None:
    """Wait before the next try, on the worker thread that makes the call."""
    time.sleep(_FIRST_PAUSE_S * 2.0**attempt)
