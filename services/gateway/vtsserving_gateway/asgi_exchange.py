"""One request that the ASGI application answers: uvicorn's request cycle, as an exchange of the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from vtsserving.exceptions import VtsServingException
from vtsserving_gateway.exchange import Refusal

if TYPE_CHECKING:
    from vtsserving_gateway.connection import Connection

REQUEST_ID: str = "vtsserving.request_id"
"""Key of the request id in the ASGI scope."""


class AsgiExchange:
    """An exchange whose body is streamed to the application while it comes in."""

    def __init__(self, connection: Connection, version: str) -> None:
        """A request whose headers stand in `connection.headers`."""
        self._connection = connection
        parser = connection.parser
        self._request_id = connection.gateway.request_id(dict(connection.headers).get(b"x-request-id"))
        self._refusal: Refusal | None = None
        self._is_started = False
        self._cycle = RequestResponseCycle(
            scope=self._scope(version),
            transport=connection.transport,
            flow=connection.flow,
            logger=connection.logger,
            access_logger=connection.access_logger,
            access_log=False,
            default_headers=connection.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=any(
                name == b"expect" and value.lower() == b"100-continue" for name, value in connection.headers
            ),
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=connection.on_response_complete,
        )

    def _scope(self, version: str) -> Any:
        connection = self._connection
        url = httptools.parse_url(connection.url) if connection.url[:1] == b"/" else None
        raw_path = (url.path if url is not None else connection.url) or b"/"
        return {
            "type": "http",
            "asgi": {"version": connection.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": connection.server,
            "client": connection.client,
            "scheme": connection.scheme,
            "method": connection.parser.get_method().decode("ascii"),
            "root_path": connection.root_path,
            "path": unquote(raw_path.decode("ascii", "replace")),
            "raw_path": raw_path,
            "query_string": (url.query if url is not None else b"") or b"",
            "headers": connection.headers,
            "state": connection.app_state.copy(),
            REQUEST_ID: self._request_id.decode("ascii"),
        }

    def feed(self, chunk: bytes) -> None:
        """See Exchange."""
        cycle = self._cycle
        if cycle.response_complete:
            return
        cycle.body += chunk
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self._connection.flow.pause_reading()
        cycle.message_event.set()

    def complete(self) -> None:
        """See Exchange."""
        if not self._cycle.response_complete:
            self._cycle.more_body = False
            self._cycle.message_event.set()

    def turn(self) -> None:
        """See Exchange."""
        if self._refusal is not None:
            self._refusal.turn()
            return
        if self._connection.last:
            self._cycle.keep_alive = False
        self._is_started = True
        self._connection._start_asgi_task(self._cycle, self._connection.app)

    def fail(self, error: VtsServingException) -> None:
        """See Exchange; too late for an answer if the application's has begun."""
        cycle = self._cycle
        if cycle.response_started:
            self._connection.transport.close()
            return
        self._refusal = Refusal(self._connection, error, self._request_id)
        if self._is_started:
            self.abandon()
            self._refusal.turn()

    def abandon(self) -> None:
        """See Exchange."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()

    def close_after(self) -> None:
        """Let the connection close after this answer, if it is not too late to say so."""
        if not self._cycle.response_started:
            self._cycle.keep_alive = False
