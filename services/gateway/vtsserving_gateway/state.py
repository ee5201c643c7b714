"""What all parts of one gateway read: collaborators, settings, limits, counters, the clock of the timeouts."""

from __future__ import annotations

import asyncio
import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from vtsserving._catalog.catalog import Catalog
from vtsserving._http.watch import Watch
from vtsserving._inference.client import InferenceClient
from vtsserving.exceptions import BadDeadline
from vtsserving_gateway.auth.tokens import Access
from vtsserving_gateway.labels import REQUEST_ID
from vtsserving_gateway.metrics import PREDICT, GatewayMetrics
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_gateway.statistics import Statistics

DECODING_THREADS: Final = 2
"""Threads that read large bodies and write large results; the interpreter runs one at a time anyway."""

_SECONDS: Final = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{1,12})?")


class GatewayState:
    """One gateway process, as its requests see it."""

    def __init__(self, client: InferenceClient, catalog: Catalog, settings: GatewaySettings) -> None:
        """Create it inside of a running event loop.

        Args:
            client: sends the calls.
            catalog: knows the models.
            settings: limits and timeouts.
        """
        self.client = client
        self.catalog = catalog
        self.settings = settings
        self.metrics = GatewayMetrics()
        self.statistics = Statistics()
        self.loop = asyncio.get_running_loop()
        self.access: Access | None = None
        self.threads = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode")
        self.limits = settings.connection_limits
        self.watch = Watch(self.limits.shortest_s)
        self.connections = self.watch.connections
        self.draining = False
        self.buffered_bytes = 0
        self.date = b""
        self.unrouted = self.metrics.of(PREDICT)
        self._id_prefix = secrets.token_hex(4).encode()
        self._last_id = 0

    def request_id(self, wanted: bytes | None) -> bytes:
        """The client's own request id where it is harmless, otherwise a new one."""
        if wanted is not None and REQUEST_ID.fullmatch(wanted):
            return wanted
        self._last_id += 1
        return b"%b-%x" % (self._id_prefix, self._last_id)

    def timeout_s(self, header: bytes | None) -> float:
        """Seconds that a request may take.

        Args:
            header: its X-Request-Timeout, decimal seconds.

        Raises:
            BadDeadline: the header is no positive decimal number.
        """
        if header is None:
            return self.settings.request_timeout_s
        seconds = float(header) if _SECONDS.fullmatch(header) else 0.0
        if seconds <= 0:
            raise BadDeadline("X-Request-Timeout is a positive number of seconds, like 0.5")
        return min(seconds, self.settings.max_request_timeout_s)

    def close(self) -> None:
        """Stop the threads; the connections are closed already."""
        if self.access is not None:
            self.access.close()
        self.threads.shutdown(wait=False, cancel_futures=True)
