"""The token check for everything that is not a call of a model: what is not listed as open needs one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.state import GatewayState

OPEN: Final = frozenset(
    (
        *("/livez", "/readyz", "/healthz", "/metrics"),
        *("/v2/health/live", "/v2/health/ready"),
        *("/docs", "/docs/page.js", "/docs/style.css"),
    )
)
"""Paths that need no token: probes and scrapers have none, and the page of documentation asks for one itself."""

TOKEN: Final = "vtsserving.token"
"""Key of the caller's token in the ASGI scope, where one is needed."""


class AuthMiddleware:
    """ASGI middleware around all routes."""

    def __init__(
        self, app: Any, gateway: GatewayState, refuse: Callable[[Request, VtsServingException], Response]
    ) -> None:
        """Wrap an application.

        Args:
            app: gets what may pass.
            gateway: knows whether callers need a token, and which are valid.
            refuse: makes the answer to what may not.
        """
        self._app = app
        self._gateway = gateway
        self._refuse = refuse

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let one request pass, or answer it with 401."""
        access = self._gateway.access
        if access is None or scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        try:
            token = await access.token(dict(scope["headers"]))
            token.require("infer")
        except VtsServingException as error:
            self._gateway.metrics.errors[error.wire_code] += 1
            await self._refuse(Request(scope), error)(scope, receive, send)
            return
        scope[TOKEN] = token
        await self._app(scope, receive, send)


def require_admin(gateway: GatewayState, request: Request) -> None:
    """Raise Forbidden unless the caller may load and unload models."""
    if gateway.access is not None:
        request.scope[TOKEN].require("admin")
