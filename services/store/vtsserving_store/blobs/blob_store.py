"""Blobs by their digest: what is missing, small ones at once, large ones assembled from an upload's parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from vtsserving.exceptions import BadDigest, BlobNotFound, DigestMismatch
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectEntry, ObjectStore

_CHECK_THREADS: Final = 16


def check_digest(digest: str) -> str:
    """Check the form of a digest.

    Returns:
        The digest.

    Raises:
        BadDigest: it is not `sha256:` and 64 lower-case hexadecimal digits.
    """
    if not keys.is_digest(digest):
        raise BadDigest(
            f"{digest!a:.100} is not a digest; one is 'sha256:' and 64 lower-case hexadecimal digits"
        )
    return digest


class BlobStore:
    """The store's blobs."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._threads = ThreadPoolExecutor(_CHECK_THREADS, thread_name_prefix="store-check")

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of the digests that have no blob, each once, in the order given.

        Raises:
            BadDigest: one is malformed.
        """
        wanted = list(dict.fromkeys(check_digest(digest) for digest in digests))
        found = self._threads.map(lambda digest: self._objects.stat(keys.blob(digest)), wanted)
        return [digest for digest, entry in zip(wanted, found, strict=True) if entry is None]

    def sizes(self, digests: Iterable[str]) -> dict[str, int | None]:
        """The size of each blob in bytes; None where there is none."""
        wanted = list(dict.fromkeys(digests))
        found = self._threads.map(lambda digest: self._objects.stat(keys.blob(digest)), wanted)
        return {
            d: None if entry is None else entry.size_bytes for d, entry in zip(wanted, found, strict=True)
        }

    def stat(self, digest: str) -> ObjectEntry:
        """The blob's entry.

        Raises:
            BlobNotFound: there is none.
        """
        entry = self._objects.stat(keys.blob(check_digest(digest)))
        if entry is None:
            raise BlobNotFound(f"no blob {digest}")
        return entry

    def put(self, digest: str, data: bytes | bytearray) -> bool:
        """Store a small blob.

        Returns:
            Whether it is new.

        Raises:
            DigestMismatch: the bytes have another digest.
        """
        actual = "sha256:" + hashlib.sha256(data).hexdigest()
        if actual != check_digest(digest):
            raise DigestMismatch(f"the content has digest {actual}; {digest} was announced")
        if self._objects.stat(keys.blob(digest)) is not None:
            return False
        self._objects.put(keys.blob(digest), data)
        return True

    def assemble(self, digest: str, size_bytes: int, part_keys: Iterable[str]) -> None:
        """Join parts into a blob; nothing appears unless size and digest are right.

        Raises:
            SizeMismatch: the parts have more or fewer bytes.
            DigestMismatch: they have other content.
        """

        def chunks() -> Iterator[bytes]:
            for key in part_keys:
                yield from self._objects.stream(key)

        self._objects.assemble(keys.blob(digest), chunks(), size_bytes=size_bytes, digest=digest)

    def stream(self, digest: str, *, start: int, length: int) -> Iterator[bytes]:
        """Bytes `start` to `start + length` of a blob, in chunks."""
        return self._objects.stream(keys.blob(digest), start=start, length=length)

    def download_url(self, digest: str, *, expires_s: int) -> str | None:
        """A URL from which a client may fetch the blob itself; None where there are none."""
        return self._objects.presign("GET", keys.blob(check_digest(digest)), expires_s=expires_s)
