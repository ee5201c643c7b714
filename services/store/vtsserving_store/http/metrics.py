"""A request id for every request, and counts of what happened; an ASGI layer around the application."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from vtsserving import _clock

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300)


class StoreMetrics:
    """The store's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vtsserving_store_requests_total", "Requests.", ("method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "vtsserving_store_request_seconds",
            "Time to the last byte.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.received = Counter("vtsserving_store_received_bytes_total", "Bodies.", registry=self.registry)
        self.sent = Counter("vtsserving_store_sent_bytes_total", "Bodies.", registry=self.registry)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


class StoreMetricsMiddleware:
    """Gives requests their id and counts them."""

    def __init__(self, app: App, metrics: StoreMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"")
        own = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8).encode()
        scope["vtsserving_request_id"] = own.decode()
        metrics, started_s, status = self._metrics, _clock.monotonic_s(), 499

        async def receiving() -> MutableMapping[str, Any]:
            message = await receive()
            metrics.received.inc(len(message.get("body", b"")))
            return message

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", own)]
            else:
                metrics.sent.inc(len(message.get("body", b"")))
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        finally:
            metrics.requests.labels(scope["method"], str(status)).inc()
            metrics.seconds.observe(_clock.monotonic_s() - started_s)
