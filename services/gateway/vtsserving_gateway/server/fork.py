"""The fork: calls of models and functions leave for an exchange without ASGI, everything else for the application.

What HTTP is, and its limits, is for vtsserving._http.
"""

from __future__ import annotations

from vtsserving._http.asgi import AsgiExchange
from vtsserving._http.connection import Connection
from vtsserving._http.exchange import Exchange
from vtsserving.exceptions import AuthError
from vtsserving_gateway.functions.call import FunctionCall
from vtsserving_gateway.predict.predict import LARGE_BYTES, Predict
from vtsserving_gateway.state import GatewayState


class Fork:
    """Makes the exchanges of one gateway's requests."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: GatewayState) -> None:
        """Make exchanges that work with `gateway`."""
        self._gateway = gateway

    def exchange_for(self, connection: Connection, headers: dict[bytes, bytes], version: str) -> Exchange:
        """The exchange of a request whose headers were read; see vtsserving._http.connection.ExchangeFor."""
        gateway = self._gateway
        parser = connection.parser
        if parser.get_method() == b"POST":
            http_10 = version == "1.0"
            api = gateway.apis.call(connection.url)
            if api is not None:
                if gateway.access is not None:
                    self._check_caller(connection, headers)
                keep_alive = parser.should_keep_alive()
                return Predict(connection, gateway, api, headers, keep_alive=keep_alive, http_10=http_10)
            function = gateway.function(connection.url, headers)
            if function is not None:
                keep_alive = parser.should_keep_alive()
                return FunctionCall(
                    connection, gateway, function, headers, keep_alive=keep_alive, http_10=http_10
                )
        return AsgiExchange(connection, version, gateway.request_id(headers.get(b"x-request-id")))

    def _check_caller(self, connection: Connection, headers: dict[bytes, bytes]) -> None:
        """Of a caller that is known to have no valid token, read no large body."""
        assert self._gateway.access is not None
        has_body = b"content-length" in headers or b"transfer-encoding" in headers
        if has_body and int(headers.get(b"content-length", LARGE_BYTES)) >= LARGE_BYTES:
            try:
                self._gateway.access.known(headers)
            except AuthError as error:
                connection.stop(error)
