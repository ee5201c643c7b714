"""One request that the ASGI application answers: uvicorn's request cycle, as an exchange of the connection."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from vtsserving._http.connection import Connection
from vtsserving._http.exchange import Refusal
from vtsserving.exceptions import VtsServingException

REQUEST_ID: str = "vtsserving.request_id"
"""Key of the request id in the ASGI scope."""


class AsgiExchange:
    """An exchange whose body is streamed to the application while it comes in."""

    def __init__(self, connection: Connection, version: str, request_id: bytes | None = None) -> None:
        """A request whose headers stand in `connection.headers`.

        Args:
            connection: to answer on.
            version: of HTTP.
            request_id: for the application; None where the application gives its requests their ids.
        """
        self._connection = connection
        parser = connection.parser
        self._request_id = request_id
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
        scope = {
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
        }
        if self._request_id is not None:
            scope[REQUEST_ID] = self._request_id.decode("ascii")
        return scope

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
        connection = self._connection
        task = connection.loop.create_task(self._cycle.run_asgi(connection.app))
        # Among uvicorn's own tasks, which it waits for when it shuts down.
        connection.tasks.add(task)
        task.add_done_callback(connection.tasks.discard)

    def fail(self, error: VtsServingException) -> None:
        """See Exchange; too late for an answer if the application's has begun."""
        cycle = self._cycle
        if cycle.response_started:
            self._connection.transport.close()
            return
        request_id = self._request_id or self._connection.host.request_id(None)
        self._refusal = self._connection.refusal(error, request_id)
        if self._is_started:
            self.abandon()
            self._refusal.turn()

    def abandon(self) -> None:
        """See Exchange."""
        self._cycle.disconnected = True
        self._cycle.message_event.set()

    def drain(self) -> None:
        """See Exchange."""
        if not self._cycle.response_started:
            self._cycle.keep_alive = False

    def holds_body(self) -> bool:
        """See Exchange; uvicorn sends `100 Continue` when the application asks for the body."""
        return self._cycle.waiting_for_100_continue
