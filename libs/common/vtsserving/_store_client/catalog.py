"""The catalog of a store service, for gateways, batchers and runners that have no local store."""

from __future__ import annotations

import threading
from itertools import islice
from typing import Final

from cachetools import LRUCache

from vtsserving._catalog.catalog import MAX_ENTRIES, CachedCatalog, CatalogEntry
from vtsserving._model.settings import Configured, merge
from vtsserving._store_client.client import RegistryClient
from vtsserving.exceptions import IntegrityError, StoreUnavailable

MAX_LISTED: Final = 200
"""Most models that a listing shows, the newest first; each costs a request to the store."""


class StoreCatalog(CachedCatalog):
    """Resolves tags over HTTP; what is remembered is served while the store is down."""

    def __init__(self, url: str, token: str = "") -> None:
        """Resolve tags in a store service.

        Args:
            url: of the store.
            token: where the store needs one.

        Raises:
            ConfigurationError: the URL is malformed, or the configuration has an impossible option of a model.
        """
        configured = Configured()
        # One attempt each: a request waits for the answer, and the next request asks again.
        client = self._client = RegistryClient(url, token, attempts=1)

        exact: LRUCache[str, CatalogEntry] = LRUCache(MAX_ENTRIES)
        lock = threading.Lock()  # for `exact`: look-ups run in threads

        def fetch(tag: str) -> CatalogEntry:
            try:
                found = client.version(tag)
                settings = merge(found.settings, configured.of(found.tag.name))
                entry = CatalogEntry.of(found.info, found.digest, settings)
            except StoreUnavailable:
                # Versions never change, so what was learnt by an alias answers for its exact version, too.
                with lock:
                    known: CatalogEntry | None = exact.get(tag)
                if known is None:
                    raise
                return known
            except IntegrityError as error:
                raise StoreUnavailable(f"the store's answer for {tag} is damaged: {error.message}") from error
            with lock:
                exact[entry.tag] = entry
            return entry

        def fetch_all(name: str | None) -> list[CatalogEntry]:
            rows = client.versions() if name is None else client.name(name)["versions"]
            return [fetch(f"{row['name']}:{row['version']}") for row in islice(rows, MAX_LISTED)]

        super().__init__(fetch, fetch_all)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
