"""Hot swap: a name that moved to another version means the old one until the new one is warm on some runner.

The catalog says here when `latest`, an alias or a prefix has come to mean another version. While a runner computes the
old one and none the new one, the old one is served and the new one is loaded; if it cannot be loaded, the old one
stays, and the reason is in the log and in what is told of the model. An exact version never moves.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from vtsserving._catalog.catalog import Catalog, CatalogEntry
from vtsserving._inference.client import InferenceClient
from vtsserving.exceptions import DeadlineExceeded, ModelLoading, ShuttingDown, VtsServingException
from vtsserving_gateway.cluster.view import ClusterView

_log = logging.getLogger(__name__)

LOAD_TIMEOUT_S: Final = 60.0
"""How long one order to load a new version is repeated; then the next one begins."""

AFTER_FAILURE_S: Final = 30.0
"""When it is tried again to load a version that could not be loaded."""

AGAIN_S: Final = 1.0
"""When it is tried again where nothing was wrong with the version."""

_PASSING: Final = (ModelLoading, DeadlineExceeded, ShuttingDown)
"""What says nothing about the version."""


@dataclass(eq=False)
class Successor:
    """A version that is to take the place of another one.

    Attributes:
        old: what is served meanwhile.
        new: what will be served.
        tags: the names that have moved.
        reason: why it could not be loaded, the last time; empty while it is being loaded.
        loading: sees to it that it is loaded.
    """

    old: CatalogEntry
    new: CatalogEntry
    tags: set[str] = field(default_factory=set)
    reason: str = ""
    loading: asyncio.Task[None] | None = None

    def to_dict(self) -> dict[str, str]:
        """As `GET /v1/models/{tag}` shows it."""
        state = "failed" if self.reason else "loading"
        return {"tag": self.new.tag, "state": state, "reason": self.reason}


class VersionRollover:
    """Decides when names that moved mean their new version."""

    def __init__(self, catalog: Catalog, client: InferenceClient, fleet: ClusterView) -> None:
        """Decide for `catalog`, by what `fleet` hears; new versions are asked for through `client`."""
        self._catalog = catalog
        self._client = client
        self._fleet = fleet
        self._successors: dict[str, Successor] = {}
        catalog.on_move(self._moved)
        fleet.on_beat = self._on_heartbeat

    def of(self, entry: CatalogEntry) -> Successor | None:
        """What is to take the place of a version; None if nothing is."""
        waiting = (one for one in self._successors.values() if one.tags)
        return next((one for one in waiting if one.old.digest == entry.digest), None)

    def close(self) -> None:
        """Load nothing any more."""
        for digest in list(self._successors):
            self._drop(digest)

    def _moved(self, tag: str, old: CatalogEntry, new: CatalogEntry) -> CatalogEntry:
        """What a tag means for now; runs whenever the catalog has looked it up again."""
        for successor in self._successors.values():
            successor.tags.discard(tag)
        if old.tag == new.tag or not self._fleet.runners(old.tag):
            return new
        if self._fleet.runners(new.tag):
            self._swapped(tag, old, new)
            return new
        found = self._successors.get(new.digest)
        if found is None:
            found = self._successors[new.digest] = Successor(old, new)
            found.loading = asyncio.get_running_loop().create_task(self._load(found))
            _log.info("swap_begins", extra={"old": old.tag, "new": new.tag})
        found.tags.add(tag)
        return old

    def _on_heartbeat(self) -> None:
        """After a heartbeat of a runner: switch to what is warm."""
        for digest, successor in list(self._successors.items()):
            is_over = self._fleet.runners(successor.new.tag) or not self._fleet.runners(successor.old.tag)
            if is_over or not successor.tags:
                self._drop(digest)
                for tag in successor.tags:
                    self._catalog.move(tag, successor.new)
                    self._swapped(tag, successor.old, successor.new)

    def _drop(self, digest: str) -> None:
        loading = self._successors.pop(digest).loading
        if loading is not None:
            loading.cancel()

    def _swapped(self, tag: str, old: CatalogEntry, new: CatalogEntry) -> None:
        _log.info("swapped", extra={"tag": tag, "old": old.tag, "new": new.tag})
        self._client.orders.notify("release", old)

    async def _load(self, successor: Successor) -> None:
        """Have a version loaded, until a heartbeat says that it is or that nobody waits for it any more."""
        while True:
            self._client.orders.notify("succeed", successor.new)
            pause_s = AGAIN_S
            try:
                await self._client.orders.send("load", successor.new, timeout_s=LOAD_TIMEOUT_S)
            except _PASSING as error:
                _log.info("swap_waits", extra={"new": successor.new.tag, "reason": error.message})
            except VtsServingException as error:
                fields = {"old": successor.old.tag, "new": successor.new.tag, "reason": error.message}
                _log.error("swap_failed", extra=fields)
                successor.reason, pause_s = error.message, AFTER_FAILURE_S
            await asyncio.sleep(pause_s)
