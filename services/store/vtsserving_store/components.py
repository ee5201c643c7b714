"""The store without HTTP: its storage and everything that works on it, wired once.

The service, and the commands that work on the storage itself (`fsck`, `gc`, `token`), construct the same parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from vtsserving_store.blobs.blob_store import Content
from vtsserving_store.blobs.leases import Leases
from vtsserving_store.blobs.uploads import Uploads
from vtsserving_store.objects.object_store import Blobs
from vtsserving_store.registry.aliases import Aliases
from vtsserving_store.registry.index import Index
from vtsserving_store.registry.labels import Labels
from vtsserving_store.registry.options import ModelOptionRecords
from vtsserving_store.registry.registry import Registry
from vtsserving_store.registry.tokens import Tokens
from vtsserving_store.settings import StoreSettings
from vtsserving_store.upkeep.gc import Collector


@dataclass(frozen=True)
class Parts:
    """What the store consists of."""

    blobs: Blobs
    content: Content
    uploads: Uploads
    leases: Leases
    index: Index
    aliases: Aliases
    labels: Labels
    options: ModelOptionRecords
    registry: Registry
    tokens: Tokens
    collector: Collector

    @classmethod
    def on(cls, blobs: Blobs, settings: StoreSettings) -> Parts:
        """Wire the parts onto a storage.

        Args:
            blobs: the opened storage; `close` closes it.
            settings: of the service.
        """
        own = settings.store
        content = Content(blobs)
        leases = Leases(blobs, content, lease_s=own.lease_s)
        labels = Labels(blobs)
        index = Index(blobs, labels, max_age_s=own.index_max_age_s)
        aliases = Aliases(blobs)
        options = ModelOptionRecords(blobs)
        return cls(
            blobs=blobs,
            content=content,
            uploads=Uploads(blobs, content),
            leases=leases,
            index=index,
            aliases=aliases,
            labels=labels,
            options=options,
            registry=Registry(blobs, content, leases, index, aliases, labels, options),
            tokens=Tokens(blobs),
            collector=Collector(blobs, leases, grace_s=own.grace_s),
        )

    def close(self) -> None:
        """Stop threads and close connections."""
        self.content.close()
        self.index.close()
        self.blobs.close()
