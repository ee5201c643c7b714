"""The store without HTTP: its storage and everything that works on it, wired once.

The service, and the commands that work on the storage itself (`fsck`, `gc`, `token`), construct the same parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from vtsserving_store.blobs.blob_store import BlobStore
from vtsserving_store.blobs.leases import Leases
from vtsserving_store.blobs.uploads import Uploads
from vtsserving_store.objects.object_store import ObjectStore
from vtsserving_store.registry.aliases import Aliases
from vtsserving_store.registry.index import Index
from vtsserving_store.registry.labels import Labels
from vtsserving_store.registry.options import ModelOptionRecords
from vtsserving_store.registry.registry import Registry
from vtsserving_store.registry.serving_records import ServingRecords
from vtsserving_store.registry.tokens import Tokens
from vtsserving_store.settings import StoreSettings
from vtsserving_store.upkeep.gc import GarbageCollector


@dataclass(frozen=True)
class StoreComponents:
    """What the store consists of."""

    objects: ObjectStore
    content: BlobStore
    uploads: Uploads
    leases: Leases
    index: Index
    aliases: Aliases
    labels: Labels
    options: ModelOptionRecords
    registry: Registry
    records: ServingRecords
    tokens: Tokens
    collector: GarbageCollector

    @classmethod
    def on(cls, objects: ObjectStore, settings: StoreSettings) -> StoreComponents:
        """Wire the parts onto a storage.

        Args:
            objects: the opened storage; `close` closes it.
            settings: of the service.
        """
        own = settings.store
        content = BlobStore(objects)
        leases = Leases(objects, content, lease_s=own.lease_s)
        labels = Labels(objects)
        index = Index(objects, labels, max_age_s=own.index_max_age_s)
        aliases = Aliases(objects)
        options = ModelOptionRecords(objects)
        return cls(
            objects=objects,
            content=content,
            uploads=Uploads(objects, content),
            leases=leases,
            index=index,
            aliases=aliases,
            labels=labels,
            options=options,
            registry=Registry(objects, content, leases, index, aliases, labels, options),
            records=ServingRecords(objects, options),
            tokens=Tokens(objects),
            collector=GarbageCollector(objects, leases, grace_s=own.grace_s),
        )

    def close(self) -> None:
        """Stop threads and close connections."""
        self.content.close()
        self.records.close()
        self.index.close()
        self.objects.close()
