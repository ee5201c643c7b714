"""Opens the configured storage and refuses one that breaks the store's one assumption."""

from __future__ import annotations

import json
import secrets
from typing import Final

from vtsserving._record_format import check_format
from vtsserving.exceptions import ConfigurationError, IntegrityError, NotFound, StorageError
from vtsserving_store.objects import keys
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.settings import StoreSettings

_MAX_FORMAT_BYTES: Final = 4096


def open_storage(settings: StoreSettings, *, existing: bool = False) -> ObjectStore:
    """Open the directory or the bucket that the settings name; nothing is checked yet.

    Args:
        settings: of the service.
        existing: make neither.

    Raises:
        ConfigurationError: neither or both are named.
        NotFound: with `existing`, there is no such directory or bucket.
    """
    if settings.store.dir is not None:
        if settings.s3.endpoint:
            raise ConfigurationError(
                "VTSSERVING_STORE__DIR and VTSSERVING_S3__ENDPOINT are both set: choose one place for the models"
            )
        if existing and not settings.store.dir.is_dir():
            raise NotFound(f"there is no store in {settings.store.dir}")
        from vtsserving_store.objects.directory import DirectoryObjectStore

        return DirectoryObjectStore(settings.store.dir)
    if not settings.s3.endpoint:
        raise ConfigurationError(
            "the store has no storage: name a directory with --dir or VTSSERVING_STORE__DIR, or set "
            "VTSSERVING_S3__ENDPOINT, VTSSERVING_S3__BUCKET, VTSSERVING_S3__ACCESS_KEY and VTSSERVING_S3__SECRET_KEY"
        )
    from vtsserving_store.objects.s3 import S3ObjectStore

    objects = S3ObjectStore(settings.s3)
    if settings.s3.create_bucket:
        if existing and not objects.has_bucket():
            raise NotFound(f"there is no {objects.describe()}")
        objects.ensure_bucket()
    return objects


def check_storage_format(objects: ObjectStore) -> None:
    """Refuse a storage that a later release has marked; NewerFormat, or IntegrityError if the mark cannot be read."""
    body = objects.read(keys.FORMAT, limit_bytes=_MAX_FORMAT_BYTES)
    if body is None:
        return
    try:
        check_format(json.loads(body), objects.describe())
    except ValueError as error:
        raise IntegrityError(f"the mark {keys.FORMAT} in {objects.describe()} is damaged") from error


def probe(objects: ObjectStore) -> None:
    """Check that this release knows the storage's format, and that of two create-only writes of one key one is refused.

    Args:
        objects: the storage; left as it was.

    Raises:
        NewerFormat: a later release keeps what this one does not know there, and would delete or leave out.
        StorageError: it is not; models could be overwritten on such a storage.
        StoreUnavailable: it does not answer, or refuses the credentials.
    """
    check_storage_format(objects)
    key = keys.PROBES + secrets.token_hex(8)
    try:
        first = objects.create(key, b"1")
        second = objects.create(key, b"2")
        kept = objects.read(key, limit_bytes=16)
    finally:
        objects.delete(key)
    if not first or second or kept != b"1":
        raise StorageError(
            f"{objects.describe()} ignores create-only writes (PUT with If-None-Match: *), so models could be "
            "overwritten: use a storage that honours them"
        )
