"""Push and pull: only missing blobs travel, in parallel, resumable, and every byte is verified."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence

from vtsserving._local_store.model import Model
from vtsserving._local_store.resolver import current_resolver
from vtsserving._local_store.store import LocalStore
from vtsserving._model.tag import Tag
from vtsserving._store_client.answers import RemoteVersion
from vtsserving._store_client.client import RegistryClient
from vtsserving._store_client.contexts import connect
from vtsserving._store_client.download import Downloads, download_model
from vtsserving._store_client.progress import Progress, Silent
from vtsserving._store_client.upload import upload_blobs
from vtsserving.exceptions import (
    BlobNotFound,
    BlobUnknown,
    IntegrityError,
    NotFound,
    VersionNotFound,
    VtsServingException,
)

DEFAULT_THREADS = 10
MAX_THREADS = 64


def push(
    tag: str | Tag,
    *,
    force: bool = False,
    threads: int = DEFAULT_THREADS,
    labels: Mapping[str, str] | None = None,
    store_url: str | None = None,
    token: str | None = None,
    progress: Progress | None = None,
    store: LocalStore | None = None,
) -> Model:
    """Send a model to the store service; what the store has already is not sent again.

    Args:
        tag: anything that `vtsserving.models.get` accepts, resolved here.
        force: send all files, even those that the store has.
        threads: files and parts to send at the same time.
        labels: labels to set in the store; the model itself keeps those it was saved with.
        store_url: of the store; by default VTSSERVING_STORE_URL, the login, or this machine.
        token: for the store; by default VTSSERVING_STORE_TOKEN or the login's.
        progress: is told what happens.
        store: the local store to take it from; if None, wherever this process finds models.

    Returns:
        The model, as the local store has it.

    Raises:
        ModelNotFound: there is no such model here.
        AlreadyExists: the store has this version with other content.
        IntegrityError: a local file is damaged; nothing became visible.
        StoreUnavailable: the store does not answer. Pushing again goes on where this push stopped.
    """
    model = (store or current_resolver()).get(tag)
    with connect(store_url, token) as client:
        _push(client, model, min(threads, MAX_THREADS), force, progress or Silent())
        if labels:
            client.edit_labels(model.tag, labels)
    return model


def pull(
    tag: str | Tag,
    *,
    force: bool = False,
    threads: int = DEFAULT_THREADS,
    store_url: str | None = None,
    token: str | None = None,
    progress: Progress | None = None,
    store: LocalStore | None = None,
) -> Model:
    """Fetch a model from the store service into the local store.

    The local copy, if there is one, stays until the new one is complete and verified.

    Args:
        tag: `name`, or `name:` with a version, `latest`, an alias or a unique prefix, resolved by the service.
        force: replace a local version that has other content.
        threads: files to fetch at the same time.
        store_url: of the store; by default VTSSERVING_STORE_URL, the login, or this machine.
        token: for the store; by default VTSSERVING_STORE_TOKEN or the login's.
        progress: is told what happens.
        store: the local store to put it into.

    Returns:
        The model, in the local store.

    Raises:
        ModelNotFound: the service has no such model.
        VersionNotFound: it was deleted meanwhile.
        AlreadyExists: the local store has this version with other content, and `force` is not set.
        IntegrityError: what arrived is not what was pushed; nothing was changed here.
        StoreUnavailable: the store does not answer. Pulling again goes on where this pull stopped.
    """
    local = store or LocalStore()
    with connect(store_url, token) as client:
        remote = client.version(tag)
        existing = _intact(local, remote)
        if existing is not None and not force:
            return existing
        damaged = _has(local, remote)
        downloads = Downloads(local.root / ".partial", reusable_files(local, remote))
        with local.staging() as staged:
            direct = bool(client.service().get("direct"))
            try:
                download_model(
                    client,
                    remote,
                    staged,
                    downloads,
                    threads=min(threads, MAX_THREADS),
                    direct=direct,
                    progress=progress or Silent(),
                )
            except BlobNotFound as error:
                raise _incomplete(client, remote) from error
            return local.adopt(staged, force=force or damaged)


def reusable_files(local: LocalStore, remote: RemoteVersion) -> dict[str, builtins.list[str]]:
    """Digest (hexadecimal) to local files that should have it: those of this name's versions."""
    found: dict[str, builtins.list[str]] = {}
    for model in local.list(remote.tag.name):
        try:
            files = model.manifest.files
        except IntegrityError:
            continue
        for entry in files:
            found.setdefault(entry.sha256, []).append(str(model.path / entry.path))
    return found


def _push(client: RegistryClient, model: Model, threads: int, force: bool, progress: Progress) -> None:
    manifest = model.manifest
    digests = builtins.list(dict.fromkeys(f"sha256:{entry.sha256}" for entry in manifest.files))
    begun = client.begin_push(digests)
    wanted: Sequence[str] = digests if force else begun.missing
    for attempt in (1, 2):
        begun = upload_blobs(client, model, begun, wanted, threads, progress)
        try:
            client.commit(manifest, begun)
            return
        except BlobUnknown:
            if attempt == 2:
                raise
            begun = client.begin_push(digests)
            wanted = begun.missing


def _incomplete(client: RegistryClient, remote: RemoteVersion) -> VtsServingException:
    """Why the store lacks a file of a version that it had when the pull began."""
    try:
        client.version(remote.tag)
    except NotFound:
        return VersionNotFound(
            f"{remote.tag} was deleted from the store during the pull; nothing was changed here"
        )
    return IntegrityError(
        f"the store {client.url} lacks a file of {remote.tag}: push the model again; `vtsserving store fsck` says more"
    )


def _has(local: LocalStore, remote: RemoteVersion) -> bool:
    """Whether this very model is in the local store, intact or not."""
    try:
        return local.get(remote.tag).digest == remote.digest
    except (NotFound, IntegrityError):
        return False


def _intact(local: LocalStore, remote: RemoteVersion) -> Model | None:
    try:
        model = local.get(remote.tag)
        if model.digest != remote.digest:
            return None
        model.verify()
    except (NotFound, IntegrityError):
        return None
    return model
