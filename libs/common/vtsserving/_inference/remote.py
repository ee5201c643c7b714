"""Runners of a service call model processes: over the bus, within the deadline of the request that they serve."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

from vtsserving._catalog.catalog import Catalog, CatalogEntry
from vtsserving._inference.blocking import BlockingCalls
from vtsserving._inference.client import InferenceClient
from vtsserving._packing.package_tags import packed_tag
from vtsserving._wire.labels import EntryLabels
from vtsserving.exceptions import (
    DeadlineExceeded,
    InvalidArgument,
    ModelNotFound,
    NotFound,
    VtsServingException,
)
from vtsserving.runner.runner import Runner

_log = logging.getLogger(__name__)

DEADLINE_S: Final[ContextVar[float | None]] = ContextVar("vtsserving_deadline_s", default=None)
"""When the request that is being served must be answered, loop time; None: no request is served."""

LABELS: Final[ContextVar[EntryLabels | None]] = ContextVar("vtsserving_labels", default=None)
"""The request id and the trace that the client gave the request that is being served."""

DEFAULT_TIMEOUT_S: Final = 30.0


class RemoteHandle:
    """Where a runner's calls go in a service; implements RunnerHandle."""

    def __init__(
        self, client: InferenceClient, catalog: Catalog, entry: CatalogEntry, overrides: Mapping[str, Any]
    ) -> None:
        """Call one model.

        Args:
            client: started.
            catalog: knows when the model's options are changed.
            entry: the model.
            overrides: the runner's own options; they win over those that the model was saved with.
        """
        self._client = client
        self._catalog = catalog
        self._overrides = overrides
        self._known = entry
        self._entry = entry.with_overrides(overrides)
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._calls = BlockingCalls(client, self._evict_stale)
        self._renewing: asyncio.Task[None] | None = None

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method; raises what the call ended with.

        Raises:
            DeadlineExceeded: the request that is being served has no time left.
            VtsServingException: of all kinds, as the model's process or the way there gives them.
        """
        timeout_s = self._timeout_s()
        known = self._catalog.peek(self._known.tag)
        if known is not self._known:
            await self._renew(known)
        outcome = await self._client.call(
            self._entry, method, args, kwargs, timeout_s=timeout_s, labels=LABELS.get()
        )
        return outcome.value()

    def _evict_stale(self) -> None:
        """Take up changed options for the calls from threads that come next; those that are here do not wait for it."""
        known = self._catalog.peek(self._known.tag)
        if known is not self._known and (self._renewing is None or self._renewing.done()):
            self._renewing = self._loop.create_task(self._renew(known))

    async def _renew(self, known: CatalogEntry | None) -> None:
        """Take up options that were changed; while they cannot be looked up, those of before count."""
        if known is None:
            try:
                known = await self._catalog.resolve(self._known.tag)
            except VtsServingException as error:
                _log.warning("settings_unknown", extra={"model": self._known.tag, "reason": error.message})
                return
        self._known = known
        self._entry = known.with_overrides(self._overrides)

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method from a thread and wait; raises as `async_call`.

        Raises:
            InvalidArgument: called on the event loop itself, which it would block.
        """
        if threading.get_ident() == self._loop_thread:
            error = InvalidArgument(
                "run() would block the event loop; in an async function use `await ...async_run(...)`"
            )
            error.by_author = True
            raise error
        return self._calls.call(self._entry, method, args, kwargs, self._timeout_s(), LABELS.get())

    def _timeout_s(self) -> float:
        deadline_s = DEADLINE_S.get()
        timeout_s = DEFAULT_TIMEOUT_S if deadline_s is None else deadline_s - self._loop.time()
        if timeout_s <= 0:
            raise DeadlineExceeded("the request's deadline passed before the model was called")
        return timeout_s


async def bind(
    runner: Runner, client: InferenceClient, catalog: Catalog, *, service: str = "module:svc"
) -> CatalogEntry:
    """Let a runner's calls go to model processes.

    Args:
        runner: of a saved model, or of a custom Runnable that was packed.
        client: started.
        catalog: knows the model.
        service: what the runner belongs to, for an error's advice.

    Returns:
        The model that is called.

    Raises:
        ModelNotFound: the model is not in the store, or the class was not packed.
    """
    if runner.runnable_class is None:
        entry = await catalog.resolve(str(runner.models[0].tag))
    else:
        entry = await _packed(runner, catalog, service)
    runner.bind(RemoteHandle(client, catalog, entry, runner.overrides))
    return entry


async def _packed(runner: Runner, catalog: Catalog, service: str) -> CatalogEntry:
    tag = await asyncio.to_thread(packed_tag, runner)
    try:
        return await catalog.resolve(str(tag))
    except NotFound:
        raise ModelNotFound(
            f"the runner {runner.name!r} is a custom Runnable, and this version of it is not in the store; run: "
            f"vtsserving services push {service}"
        ) from None
