"""The catalog of a store service, for gateways, batchers and runners that have no local store."""

from __future__ import annotations

import threading
from typing import Any

from cachetools import LRUCache

from vtsserving._catalog.catalog import MAX_ENTRIES, CachedCatalog, CatalogEntry
from vtsserving._model.info import ModelInfo
from vtsserving._model.settings import Configured, merge
from vtsserving._store_client.client import RegistryClient
from vtsserving.exceptions import IntegrityError, ModelNotFound, NotFound, StoreUnavailable


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
            try:
                found = [entry_of(row) for row in client.records(name or "")]
            except ModelNotFound:
                raise
            except NotFound:
                # A store of 0.1 has no such list: one request for each version.
                rows = client.versions() if name is None else client.name(name)["versions"]
                return [fetch(f"{row['name']}:{row['version']}") for row in rows]
            except (IntegrityError, KeyError, TypeError, AttributeError) as error:
                raise StoreUnavailable(f"the store's answer is damaged: {error}") from error
            with lock:
                exact.update((entry.tag, entry) for entry in found)
            return found

        def entry_of(row: dict[str, Any]) -> CatalogEntry:
            settings = merge(row["settings"], configured.of(row["name"]))
            return CatalogEntry.of(ModelInfo.from_dict(row["info"], row["extra"]), row["digest"], settings)

        super().__init__(fetch, fetch_all)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()
