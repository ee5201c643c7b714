"""Leases: what a live push counts on, and how `gc` and pushes keep out of each other's way.

A push writes its lease before it looks which blobs exist. `gc` says which blobs it is about to delete (`condemned/`)
before it looks at leases and manifests for the last time. So of a push and a `gc` that meet over one blob, at least
one sees the other: either `gc` sees the lease and spares the blob, or the push sees the condemned blob and waits
until its fate is known. Both only need the storage to be consistent, which it is.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterable, Iterator
from typing import Final

import tenacity

from vtsserving._record_format import check_format
from vtsserving.exceptions import IntegrityError, InvalidArgument, NotFound, StoreUnavailable
from vtsserving_store.blobs.blob_store import BlobStore, check_digest
from vtsserving_store.objects import clock, keys
from vtsserving_store.objects.object_store import ObjectStore

MAX_LEASE_BYTES: Final = 8 << 20
CONDEMNED_EXPIRES_S: Final = 1200.0
"""A condemned record older than this is of a dead `gc`: S3 refuses requests that were signed so long ago."""

_WAIT_S: Final = 10.0
_FIRST_PAUSE_S: Final = 0.02


class Leases:
    """The leases of live pushes."""

    def __init__(self, objects: ObjectStore, content: BlobStore, *, lease_s: float) -> None:
        self._objects = objects
        self._blobs = content
        self._lease_s = lease_s

    def take(self, digests: Iterable[str]) -> tuple[str, list[str]]:
        """Protect blobs, those that exist and those that will be uploaded.

        Args:
            digests: of all files of the model.

        Returns:
            The lease's id, and the digests that have no blob yet.

        Raises:
            BadDigest: a digest is malformed.
            StoreUnavailable: `gc` is deleting one of the blobs right now; try again.
        """
        wanted = list(dict.fromkeys(check_digest(digest) for digest in digests))
        push = secrets.token_hex(16)
        self._write(push, wanted)
        return push, self._missing(wanted)

    def renew(self, push: str) -> list[str]:
        """Let a lease begin anew.

        Returns:
            The digests that have no blob yet.

        Raises:
            NotFound: there is no such lease.
        """
        wanted = self._read(push)
        if wanted is None:
            raise NotFound(f"no push {push!a:.80}: it was committed, given up or never begun")
        self._write(push, wanted)
        return self._missing(wanted)

    def drop(self, push: str) -> None:
        """Give a lease back; one that is gone already is fine.

        Raises:
            InvalidArgument: this cannot be the id of a push.
        """
        if not keys.is_id(push):
            raise InvalidArgument(f"{push!a:.80} is not the id of a push")
        self._objects.delete(keys.lease(push))

    @contextlib.contextmanager
    def held(self, digests: Iterable[str]) -> Iterator[list[str]]:
        """Hold a lease while the block runs; yields the digests that have no blob."""
        push, missing = self.take(digests)
        try:
            yield missing
        finally:
            self.drop(push)

    def protected(self) -> set[str]:
        """Digests that live leases name."""
        oldest = clock.now_s(self._objects) - self._lease_s
        found: set[str] = set()
        for entry in list(self._objects.entries(keys.LEASES)):
            if entry.modified_s >= oldest:
                found.update(self._read(entry.key.rsplit("/", 1)[-1]) or ())
        return found

    def remove_expired(self) -> int:
        """Remove leases that protect nothing any more; returns how many."""
        oldest = clock.now_s(self._objects) - self._lease_s
        expired = [entry.key for entry in self._objects.entries(keys.LEASES) if entry.modified_s < oldest]
        for key in expired:
            self._objects.delete(key)
        return len(expired)

    def _missing(self, wanted: list[str]) -> list[str]:
        """Those without a blob, once it is certain for each."""
        waiting = tenacity.Retrying(
            retry=tenacity.retry_if_result(bool),
            stop=tenacity.stop_after_delay(_WAIT_S),
            wait=tenacity.wait_exponential(multiplier=_FIRST_PAUSE_S),
        )
        try:
            waiting(lambda: self._condemned() & set(wanted))
        except tenacity.RetryError:
            raise StoreUnavailable(
                "blobs of this model are being removed right now; try again", retry_after_s=2.0
            ) from None
        return self._blobs.missing(wanted)

    def _condemned(self) -> set[str]:
        condemned = list(self._objects.entries(keys.CONDEMNED))
        if not condemned:
            return set()
        oldest = clock.now_s(self._objects) - CONDEMNED_EXPIRES_S
        return {keys.blob_digest(entry.key) for entry in condemned if entry.modified_s >= oldest}

    def _write(self, push: str, digests: list[str]) -> None:
        body = json.dumps(digests).encode()
        if len(body) > MAX_LEASE_BYTES:
            raise InvalidArgument(f"a push names too many blobs ({len(digests)})")
        self._objects.put(keys.lease(push), body)

    def _read(self, push: str) -> list[str] | None:
        if not keys.is_id(push):
            return None
        body = self._objects.read(keys.lease(push), limit_bytes=MAX_LEASE_BYTES)
        if body is None:
            return None
        digests = json.loads(body)
        if not isinstance(digests, list):
            # Whatever it is, what it protects must not be collected.
            check_format(digests, f"the lease {push}")
            raise IntegrityError(f"the lease {push} is damaged, so nothing is deleted")
        return [str(digest) for digest in digests]
