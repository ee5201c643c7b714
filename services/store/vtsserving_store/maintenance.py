"""What the command line does with a storage itself, without a running service."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from vtsserving.exceptions import NotFound
from vtsserving_store.components import StoreComponents
from vtsserving_store.objects import keys
from vtsserving_store.objects.directory import DirectoryObjectStore
from vtsserving_store.objects.probe import open_storage, probe
from vtsserving_store.settings import StoreSettings
from vtsserving_store.upkeep.backup import Copied, copy_store
from vtsserving_store.upkeep.fsck import Checker, Finding


@contextlib.contextmanager
def opened(settings: StoreSettings, *, existing: bool = False) -> Iterator[StoreComponents]:
    """Open the storage that the settings name and check that it is fit.

    Args:
        settings: of the service.
        existing: make none where there is none, so that a mistyped name is not mistaken for an empty store.

    Raises:
        ConfigurationError: no storage is named.
        NotFound: with `existing`, there is none.
        StoreUnavailable: it does not answer.
    """
    objects = open_storage(settings, existing=existing)
    parts = StoreComponents.on(objects, settings)
    try:
        probe(objects)
        yield parts
    finally:
        parts.close()


def check(settings: StoreSettings, *, deep: bool) -> Iterator[Finding]:
    """Every inconsistency of the storage, as it is found; `deep` reads all blobs."""
    with opened(settings, existing=True) as parts:
        yield from Checker(parts.objects, deep=deep).findings()


def backup(settings: StoreSettings, directory: Path) -> Copied:
    """Copy the storage into a directory, adding to what is there."""
    with opened(settings, existing=True) as parts:
        return copy_store(parts.objects, DirectoryObjectStore(directory))


def restore(settings: StoreSettings, directory: Path) -> Copied:
    """Copy a backup into the storage, adding to what is there and repairing damaged files.

    Raises:
        NotFound: there is no such directory, or no model in it.
    """
    if not (directory / keys.MODELS).is_dir():
        raise NotFound(f"there is no backup in {directory}")
    with opened(settings) as parts:
        return copy_store(DirectoryObjectStore(directory), parts.objects, repair=True)
