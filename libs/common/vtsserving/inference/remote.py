"""Runners of a service call model processes: over the bus, within the deadline of the request that they serve."""

from __future__ import annotations

import asyncio
import dataclasses
from contextvars import ContextVar
from typing import Any, Final

from vtsserving.catalog import CatalogEntry
from vtsserving.exceptions import DeadlineExceeded, InvalidArgument
from vtsserving.inference.client import InferenceClient
from vtsserving.options import ModelOptions

DEADLINE_S: Final[ContextVar[float | None]] = ContextVar("vtsserving_deadline_s", default=None)
"""When the request that is being served must be answered, loop time; None: no request is served."""

DEFAULT_TIMEOUT_S: Final = 30.0


class RemoteHandle:
    """Where a runner's calls go in a service; implements RunnerHandle."""

    def __init__(self, client: InferenceClient, entry: CatalogEntry, options: ModelOptions) -> None:
        """Call one model.

        Args:
            client: started.
            entry: the model.
            options: the runner's; they win over the model's own.
        """
        self._client = client
        self._entry = dataclasses.replace(entry, options=options)
        self._loop = asyncio.get_running_loop()

    async def async_call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method; raises what the call ended with.

        Raises:
            DeadlineExceeded: the request that is being served has no time left.
            VtsServingException: of all kinds, as the model's process or the way there gives them.
        """
        deadline_s = DEADLINE_S.get()
        timeout_s = DEFAULT_TIMEOUT_S if deadline_s is None else deadline_s - self._loop.time()
        if timeout_s <= 0:
            raise DeadlineExceeded("the request's deadline passed before the model was called")
        outcome = await self._client.call(self._entry, method, args, kwargs, timeout_s=timeout_s)
        return outcome.value()

    def call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method from a thread and wait; raises as `async_call`.

        Raises:
            InvalidArgument: called on the event loop itself, which it would block.
        """
        try:
            on_loop = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            on_loop = False
        if on_loop:
            raise InvalidArgument(
                "run() would block the event loop; in an async function use `await ...async_run(...)`"
            )
        return asyncio.run_coroutine_threadsafe(self.async_call(method, args, kwargs), self._loop).result()
