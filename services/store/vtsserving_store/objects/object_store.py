"""What the store needs from storage: few operations on keys and bytes, the same on a directory and on S3.

Every method blocks and is safe to call from many threads; the service calls them on worker threads. Writes are whole
or absent: a reader never sees part of an object, and an object that was acknowledged survives a crash. Reading and
listing see what was just written, as S3 promises since 2020.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from vtsserving.exceptions import DigestMismatch, SizeMismatch

CHUNK_BYTES: Final = 1 << 20
"""Bytes that travel in one piece when an object is streamed."""

PART_BYTES: Final = 8 << 20
"""Objects above this are written in parts of this size."""


class ObjectEntry(NamedTuple):
    """One object in a listing."""

    key: str
    size_bytes: int
    etag: str
    """Changes whenever the object is replaced."""
    modified_s: float
    """When it was written, seconds since 1970 on the storage's own clock."""


class ObjectStore(Protocol):
    """Storage for the store service."""

    def describe(self) -> str:
        """Where the objects are, for messages and logs; holds no secret."""
        ...

    def create(self, key: str, data: bytes) -> bool:
        """Write a small object that must not exist yet.

        Returns:
            False when the key exists already, which is then untouched. Of any number of writers, exactly one gets True.
        """
        ...

    def put(self, key: str, data: bytes | bytearray) -> None:
        """Write an object of at most PART_BYTES, replacing what is there."""
        ...

    def assemble(self, key: str, chunks: Iterable[bytes], *, size_bytes: int, digest: str) -> None:
        """Write an object of any size from a stream; nothing becomes visible unless size and digest are right.

        Raises:
            SizeMismatch: the stream was longer or shorter.
            DigestMismatch: it had other content.
        """
        ...

    def read(self, key: str, *, limit_bytes: int) -> bytes | None:
        """A small object's bytes; None when there is none.

        Raises:
            IntegrityError: it is larger than `limit_bytes`, which none of ours is.
        """
        ...

    def stream(self, key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Bytes of an object from `start`, in chunks; ends early never: a short body raises.

        Raises:
            BlobNotFound: no such object (raised by the first `next`).
            StoreUnavailable: the storage stopped answering.
        """
        ...

    def stat(self, key: str) -> ObjectEntry | None:
        """The object's entry; None when there is none."""
        ...

    def entries(self, prefix: str, *, after: str = "") -> Iterator[ObjectEntry]:
        """Objects whose key starts with `prefix`, each once; those of one folder in the order of their keys.

        Folders come in any order: S3 promises that of whole keys, with `a-b/1` before `a/1`, but SeaweedFS lists `a/1`
        first.

        Args:
            prefix: of their keys.
            after: a key of the same folder to start behind; for a prefix that holds no folders.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object; one that is absent is fine."""
        ...

    def presign(self, method: str, key: str, *, expires_s: int) -> str | None:
        """A URL with which a client may GET or PUT this object itself; None where that is not possible."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


class Verifier:
    """Counts and hashes a stream on its way."""

    def __init__(self, *, size_bytes: int, digest: str) -> None:
        self._hash = hashlib.sha256()
        self._expected_bytes = size_bytes
        self._digest = digest
        self.seen_bytes = 0

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take the next bytes.

        Raises:
            SizeMismatch: they are more than was announced; raised before the excess is stored.
        """
        self.seen_bytes += len(chunk)
        if self.seen_bytes > self._expected_bytes:
            raise SizeMismatch(f"more than the announced {self._expected_bytes} bytes were sent")
        self._hash.update(chunk)

    def finish(self) -> None:
        """Say that the stream ended.

        Raises:
            SizeMismatch: bytes are missing.
            DigestMismatch: the content is not what was announced.
        """
        if self.seen_bytes != self._expected_bytes:
            raise SizeMismatch(f"{self.seen_bytes} bytes were sent; {self._expected_bytes} were announced")
        actual = "sha256:" + self._hash.hexdigest()
        if actual != self._digest:
            raise DigestMismatch(f"the content has digest {actual}; {self._digest} was announced")


def verified(chunks: Iterable[bytes], *, size_bytes: int, digest: str) -> Iterator[bytes]:
    """Pass a stream on, raising at its end (or at the first byte too many) when it is not what was announced."""
    check = Verifier(size_bytes=size_bytes, digest=digest)
    for chunk in chunks:
        check.update(chunk)
        yield chunk
    check.finish()


def regrouped(chunks: Iterable[bytes], part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """Join a stream's chunks into parts of exactly `part_bytes`, the last one shorter."""
    part = io.BytesIO()  # gives its bytes away without a copy
    for chunk in chunks:
        view = memoryview(chunk)
        while view:
            taken = view[: part_bytes - part.tell()]
            part.write(taken)
            view = view[len(taken) :]
            if part.tell() == part_bytes:
                yield part.getvalue()
                part = io.BytesIO()
    if part.tell():
        yield part.getvalue()
