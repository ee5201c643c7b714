"""The gateway as its connections see it: their limits, ids of requests, and answers to requests that cannot be read."""

from __future__ import annotations

from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.http.respond import connection_line, error_response
from vtsserving_gateway.metrics import OTHER
from vtsserving_gateway.server.api_registry import ApiRegistry
from vtsserving_gateway.state import GatewayState


class GatewayHost:
    """The service behind all connections of one gateway; see vtsserving._http.host.ConnectionHost."""

    __slots__ = ("_apis", "_gateway", "limits", "request_id", "watch")

    def __init__(self, gateway: GatewayState, apis: ApiRegistry) -> None:
        """Speak for a gateway.

        Args:
            gateway: has the limits, the clock of the timeouts and the counters.
            apis: know in which form each URL's errors are answered.
        """
        self._gateway = gateway
        self._apis = apis
        self.limits = gateway.limits
        self.watch = gateway.watch
        self.request_id = gateway.request_id

    @property
    def draining(self) -> bool:
        """See ConnectionHost."""
        return self._gateway.draining

    def refuse(self, error: VtsServingException, url: bytes, request_id: bytes) -> bytes:
        """See ConnectionHost."""
        gateway = self._gateway
        gateway.metrics.errors[error.wire_code] += 1
        status, body = self._apis.errors(url).error(error, request_id.decode("ascii"))
        gateway.metrics.of(*OTHER).observe(status, 0.0)
        return error_response(error, status, body, request_id, gateway.date, connection_line(False, False))
