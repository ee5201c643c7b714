"""Around the ASGI application: request ids, counting, one log line per request, and no error without our body."""

from __future__ import annotations

import logging
from typing import Any

from vtsserving import _clock
from vtsserving._http.asgi import REQUEST_ID
from vtsserving._http.exchange import INTERNAL
from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.http.respond import error_body
from vtsserving_gateway.state import GatewayState

_log = logging.getLogger(__name__)


class MetricsMiddleware:
    """ASGI middleware; outermost."""

    def __init__(self, app: Any, gateway: GatewayState) -> None:
        """Wrap `app`."""
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        gateway = self._gateway
        request_id: str = scope[REQUEST_ID]
        started_s = _clock.monotonic_s()
        status = 0
        is_whole = False

        async def observed(message: Any) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
                message = {**message, "headers": [*headers, (b"x-request-id", request_id.encode("ascii"))]}
            elif not message.get("more_body"):
                is_whole = True
            await send(message)

        gateway.metrics.in_progress += 1
        try:
            await self._app(scope, receive, observed)
        except Exception:
            _log.exception("route_failed", extra={"request_id": request_id})
            # The application answers most failures itself and still raises them, for this log.
            if not status:
                await _answer_500(observed, request_id)
            elif not is_whole:
                raise
        finally:
            gateway.metrics.in_progress -= 1
            duration_s = _clock.monotonic_s() - started_s
            route = getattr(scope.get("route"), "path", "other")
            gateway.metrics.of(route).observe(status, duration_s)
            if gateway.settings.access_log:
                self._log_access(scope, request_id, status, duration_s)

    def _log_access(self, scope: Any, request_id: str, status: int, duration_s: float) -> None:
        _log.info(
            "request",
            extra={
                "request_id": request_id,
                "method": scope["method"],
                "url": scope["raw_path"][:256].decode("ascii", "backslashreplace"),
                "status": status,
                "duration_ms": round(duration_s * 1000, 3),
            },
        )


async def _answer_500(send: Any, request_id: str) -> None:
    body = error_body(VtsServingException(INTERNAL), request_id)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body})
