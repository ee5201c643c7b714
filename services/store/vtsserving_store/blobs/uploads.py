"""Resumable uploads of large blobs: numbered parts in the storage itself, so that any replica can go on with them.

A session's id is made of what is uploaded and of a key that the client chose and keeps; asking for the same session
again after a crash of either side tells which parts are there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from vtsserving._record_format import check_format
from vtsserving.exceptions import (
    BlobNotFound,
    DigestMismatch,
    InvalidArgument,
    NotFound,
    RangeNotSatisfiable,
    SizeMismatch,
)
from vtsserving_store.blobs.blob_store import BlobStore, check_digest
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import PART_BYTES, ObjectStore

MAX_PARTS: Final = 10_000
MAX_PART_BYTES: Final = 64 << 20
MAX_BLOB_BYTES: Final = MAX_PARTS * MAX_PART_BYTES
_SESSION_LIMIT_BYTES: Final = 4096


@dataclass(frozen=True)
class UploadSession:
    """One session.

    Attributes:
        id: names it in URLs.
        digest: of the whole blob, as announced.
        size_bytes: of the whole blob, as announced.
        part_bytes: of every part but the last.
    """

    id: str
    digest: str
    size_bytes: int
    part_bytes: int

    @property
    def part_count(self) -> int:
        """How many parts there are; at least one."""
        return max(1, -(-self.size_bytes // self.part_bytes))

    def size_of(self, number: int) -> int:
        """Bytes of part `number`, from 1.

        Raises:
            RangeNotSatisfiable: there is no such part.
        """
        if not 1 <= number <= self.part_count:
            raise RangeNotSatisfiable(f"the upload has parts 1 to {self.part_count}, not {number}")
        return min(self.part_bytes, self.size_bytes - (number - 1) * self.part_bytes)


class Uploads:
    """All upload sessions."""

    def __init__(self, objects: ObjectStore, content: BlobStore) -> None:
        self._objects = objects
        self._blobs = content

    def begin(self, digest: str, size_bytes: int, resume_key: str) -> UploadSession:
        """Open a session, or find the one that was opened with the same arguments.

        Args:
            digest: of the whole blob.
            size_bytes: of the whole blob.
            resume_key: the client's own; who has another one gets another session.

        Raises:
            BadDigest: the digest is malformed.
            InvalidArgument: the blob would need too many parts.
        """
        check_digest(digest)
        if not 0 <= size_bytes <= MAX_BLOB_BYTES:
            raise InvalidArgument(
                f"a blob has 0 to {MAX_BLOB_BYTES} bytes ({MAX_PARTS} parts), not {size_bytes}"
            )
        seed = json.dumps([digest, size_bytes, resume_key]).encode()
        upload = UploadSession(
            hashlib.sha256(seed).hexdigest()[:32], digest, size_bytes, _part_bytes(size_bytes)
        )
        body = json.dumps({"digest": digest, "size": size_bytes, "part_bytes": upload.part_bytes}).encode()
        self._objects.create(keys.session(upload.id), body)
        return upload

    def get(self, upload_id: str) -> UploadSession:
        """Find a session.

        Raises:
            NotFound: there is none; it was given up, or never opened.
        """
        body = None
        if keys.is_id(upload_id):
            body = self._objects.read(keys.session(upload_id), limit_bytes=_SESSION_LIMIT_BYTES)
        if body is None:
            raise NotFound(f"no upload {upload_id!a:.80}: it was given up, or never opened")
        fields: dict[str, Any] = json.loads(body)
        check_format(fields, f"the upload {upload_id}")
        return UploadSession(upload_id, fields["digest"], fields["size"], fields["part_bytes"])

    def received(self, upload: UploadSession) -> list[int]:
        """Numbers of the parts that are there, ascending."""
        entries = self._objects.entries(keys.parts(upload.id))
        found = ((keys.record_number(entry.key), entry.size_bytes) for entry in entries)
        return [n for n, size in found if n <= upload.part_count and size == upload.size_of(n)]

    def put_part(self, upload: UploadSession, number: int, data: bytes, sha256: str) -> None:
        """Store a part; storing it again replaces it.

        Args:
            upload: the session.
            number: of the part, from 1.
            data: its bytes.
            sha256: what the client says that their digest is, hexadecimal; empty if it does not say.

        Raises:
            RangeNotSatisfiable: there is no such part.
            SizeMismatch: the part has another size.
            DigestMismatch: the bytes changed on their way.
        """
        expected = upload.size_of(number)
        if len(data) != expected:
            raise SizeMismatch(f"part {number} has {expected} bytes; {len(data)} were sent")
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise DigestMismatch(f"part {number} changed on its way; send it again")
        self._objects.put(keys.part(upload.id, number), data)

    def part_url(self, upload: UploadSession, number: int, *, expires_s: int) -> str | None:
        """A URL to which the client may PUT the part itself; None where there are none."""
        upload.size_of(number)
        return self._objects.presign("PUT", keys.part(upload.id, number), expires_s=expires_s)

    def complete(self, upload: UploadSession) -> None:
        """Make the blob of its parts.

        The session stays until `gc` finds it old, so that whoever did not hear the answer may ask again.

        Raises:
            SizeMismatch: parts are missing.
            DigestMismatch: the bytes are not what was announced; the session starts over.
        """
        if self._blobs.missing([upload.digest]):
            received = self.received(upload)
            if len(received) != upload.part_count:
                raise SizeMismatch(
                    f"{upload.part_count - len(received)} of {upload.part_count} parts are missing"
                )
            try:
                self._blobs.assemble(upload.digest, upload.size_bytes, self._part_keys(upload))
            except (DigestMismatch, SizeMismatch):
                self._remove_parts(upload)
                raise
            except BlobNotFound:
                # Another replica completed the same session and removed its parts.
                if self._blobs.missing([upload.digest]):
                    raise
        self._remove_parts(upload)

    def discard(self, upload: UploadSession) -> None:
        """Give a session up; its parts are removed."""
        self._objects.delete(keys.session(upload.id))
        self._remove_parts(upload)

    def _part_keys(self, upload: UploadSession) -> Sequence[str]:
        return [keys.part(upload.id, number) for number in range(1, upload.part_count + 1)]

    def _remove_parts(self, upload: UploadSession) -> None:
        for entry in list(self._objects.entries(keys.parts(upload.id))):
            self._objects.delete(entry.key)


def _part_bytes(size_bytes: int) -> int:
    """The usual size, or the smallest number of MiB with which the blob fits into MAX_PARTS parts."""
    least = -(-size_bytes // MAX_PARTS)
    return max(PART_BYTES, -(-least // (1 << 20)) * (1 << 20))
