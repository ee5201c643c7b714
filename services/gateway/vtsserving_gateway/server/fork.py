"""The fork: calls of models and functions leave for an exchange without ASGI, everything else for the application.

What HTTP is, and its limits, is for vtsserving._http.
"""

from __future__ import annotations

from collections.abc import Mapping

from vtsserving._http.asgi import AsgiExchange
from vtsserving._http.connection import Connection
from vtsserving._http.exchange import Exchange
from vtsserving._inference.timer_wheel import TimerWheel
from vtsserving.exceptions import AuthError
from vtsserving_gateway.functions.call import FunctionCall
from vtsserving_gateway.functions.functions import ServedFunction
from vtsserving_gateway.predict.bound_routes import BoundRoutes
from vtsserving_gateway.predict.predict import LARGE_BYTES, Predict
from vtsserving_gateway.server.api_registry import ApiRegistry
from vtsserving_gateway.state import GatewayState


class Fork:
    """Makes the exchanges of one gateway's requests."""

    __slots__ = ("_apis", "_deadlines", "_functions", "_gateway", "_routes")

    def __init__(
        self,
        gateway: GatewayState,
        apis: ApiRegistry,
        routes: BoundRoutes,
        functions: Mapping[bytes, ServedFunction],
        deadlines: TimerWheel[FunctionCall],
    ) -> None:
        """Make exchanges that work with `gateway`.

        Args:
            gateway: what all exchanges share.
            apis: know which URLs are calls of models.
            routes: know which models these mean.
            functions: those of the service that are called without the detour of ASGI, by their paths.
            deadlines: of the functions' calls.
        """
        self._gateway = gateway
        self._apis = apis
        self._routes = routes
        self._functions = functions
        self._deadlines = deadlines

    def exchange_for(self, connection: Connection, headers: dict[bytes, bytes], version: str) -> Exchange:
        """The exchange of a request whose headers were read; see vtsserving._http.connection.ExchangeFor."""
        gateway = self._gateway
        parser = connection.parser
        if parser.get_method() == b"POST":
            http_10 = version == "1.0"
            api = self._apis.call(connection.url)
            if api is not None:
                if gateway.access is not None:
                    self._check_caller(connection, headers)
                keep_alive = parser.should_keep_alive()
                return Predict(
                    connection, gateway, api, self._routes, headers, keep_alive=keep_alive, http_10=http_10
                )
            function = self._function(connection.url, headers)
            if function is not None:
                keep_alive = parser.should_keep_alive()
                return FunctionCall(
                    connection,
                    gateway,
                    function,
                    self._deadlines,
                    headers,
                    keep_alive=keep_alive,
                    http_10=http_10,
                )
        return AsgiExchange(connection, version, gateway.request_id(headers.get(b"x-request-id")))

    def _function(self, url: bytes, headers: Mapping[bytes, bytes]) -> ServedFunction | None:
        """The function that a POST to a URL calls without the detour of ASGI; None where there is none.

        Callers whose token is not known to be valid take the detour, where the guard looks it up or refuses them.
        """
        function = self._functions.get(url.partition(b"?")[0]) if self._functions else None
        access = self._gateway.access
        if function is None or access is None:
            return function
        try:
            token = access.known(headers)
            if token is not None:
                token.require("infer")
        except AuthError:
            return None
        return None if token is None else function

    def _check_caller(self, connection: Connection, headers: dict[bytes, bytes]) -> None:
        """Of a caller that is known to have no valid token, read no large body."""
        assert self._gateway.access is not None
        has_body = b"content-length" in headers or b"transfer-encoding" in headers
        if has_body and int(headers.get(b"content-length", LARGE_BYTES)) >= LARGE_BYTES:
            try:
                self._gateway.access.known(headers)
            except AuthError as error:
                connection.stop(error)
