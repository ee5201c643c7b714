"""The connection of a NatsBus: nats-py's client around our transport and parser, and how it fails.

This is the only file that knows nats-py's insides. It keeps one truth, `online`: the server has all of our
subscriptions and would get what we send. The moment the socket is lost it is false, and everybody who waits for the
server is told.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from nats.aio.client import Client
from nats.protocol.parser import Parser

from vtsserving._bus.nats_parser import NatsParser
from vtsserving._bus.nats_transport import DirectTransport
from vtsserving.exceptions import (
    AuthError,
    BusUnavailable,
    ConfigurationError,
    Forbidden,
    ShuttingDown,
    VtsServingException,
)

_log = logging.getLogger(__name__)

RECONNECT_WAIT_S: Final = 0.1
PING_INTERVAL_S: Final = 1
MAX_OUTSTANDING_PINGS: Final = 2
CONNECT_TIMEOUT_S: Final = 2
"""Of one attempt; how long to go on trying is the caller's choice."""

_PING: Final = b"PING\r\n"
_PONG: Final = b"PONG\r\n"
_DENIED: Final = "permissions violation"
# Not "authentication timeout": that is a slow process or a slow network, and the next attempt may do.
_REFUSED: Final = ("authorization violation", "authentication expired", "authentication revoked")

FatalCallback = Callable[[VtsServingException], None]
"""Called when going on makes no sense: the server refuses the credentials or forbids a subject."""


class NatsConnection:
    """Connects, and connects again for ever; see the module's docstring.

    Attributes:
        online: whether the server would get what is sent now.
        max_payload: largest payload that the server takes, in bytes.
        transport: sends; what is sent while not online is lost.
        parser: its `handlers` get the messages.
        denial: the last subject that the server forbade.
    """

    def __init__(
        self,
        *,
        commands: Callable[[], Iterable[bytes]],
        on_state: Callable[[bool], None],
        on_fatal: FatalCallback | None,
        send_buffer_bytes: int,
    ) -> None:
        """Create it unconnected.

        Args:
            commands: what each new connection is told first: the subscriptions.
            on_state: called with `online` when it changes.
            on_fatal: called when the server refuses the credentials or forbids a subject.
            send_buffer_bytes: how much may wait for the network.
        """
        self.online = False
        self.max_payload = 0
        self.parser = NatsParser(self._on_control)
        self.transport = DirectTransport(self._on_data, self._on_lost, limit_bytes=send_buffer_bytes)
        self.denial: Forbidden | None = None
        self._client = Client()
        self._client._transport = self.transport
        self._client._ps = _IdleParser(self._client)
        self._commands = commands
        self._on_state = on_state
        self._on_fatal = on_fatal
        self._fatal: asyncio.Future[VtsServingException] = asyncio.get_running_loop().create_future()
        self._pongs: set[asyncio.Future[bool]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._error_reported = False

    async def open(self, url: str, *, timeout_s: float | None, **options: Any) -> None:
        """Connect, trying again until it works.

        Args:
            url: one or more server URLs, joined by commas.
            timeout_s: give up after this long; None tries for ever.
            options: of nats-py's connect; None means not given.

        Raises:
            AuthError: the server refuses the credentials.
            BusUnavailable: no server within `timeout_s`.
            ConfigurationError: a URL is malformed.
        """
        given = {key: value for key, value in options.items() if value is not None}
        connecting = asyncio.create_task(self._connect(_servers(url), given))
        try:
            either: set[asyncio.Future[Any]] = {connecting, self._fatal}
            await asyncio.wait(either, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if self._fatal.done():
                raise self._fatal.result()
            if not connecting.done():
                raise BusUnavailable(f"no nats-server answers at {_safe(url)} within {timeout_s:g} s")
            connecting.result()
        except BaseException:
            connecting.cancel()
            await asyncio.wait({connecting})
            await self.close()
            raise

    async def round_trip(self) -> None:
        """Return when the server has handled what was sent so far, and we what it had sent by then.

        Raises:
            BusUnavailable: there is no connection, or it was lost meanwhile.
            ShuttingDown: the connection was closed meanwhile.
        """
        if not self.online:
            raise BusUnavailable
        await self._ping()

    async def close(self) -> None:
        """Leave at once. Does nothing the second time."""
        if self._closing:
            return
        self._closing = True
        self._fail_waiting(ShuttingDown("the bus is closed"))
        self._go_offline()
        await self._client.close()
        for task in list(self._tasks):
            task.cancel()

    async def _connect(self, servers: list[str], options: dict[str, Any]) -> None:
        await self._client.connect(
            servers,
            **options,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            allow_reconnect=True,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # any number works
            ping_interval=PING_INTERVAL_S,
            max_outstanding_pings=MAX_OUTSTANDING_PINGS,
            connect_timeout=CONNECT_TIMEOUT_S,
            pending_size=-1,
        )
        self._go_online()

    async def _ping(self) -> None:
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._client._pongs.append(pong)
        self._pongs.add(pong)
        self.transport.write(_PING)
        try:
            await pong
        finally:
            self._pongs.discard(pong)

    def _on_data(self, data: bytes) -> None:
        # Any byte proves that the server lives; a PONG may be far behind in what it has for us.
        self._client._pings_outstanding = 0
        self.parser.feed(data)

    def _on_control(self, line: bytes) -> None:
        """Handle a line that is not the head of a message."""
        if line == b"PONG":
            if self._client._pongs:
                pong = self._client._pongs.pop(0)
                if not pong.done():
                    pong.set_result(True)
        elif line == b"PING":
            self.transport.write(_PONG)
        elif line.startswith(b"INFO"):
            self._on_info(json.loads(line[4:]))
        elif line.startswith(b"-ERR"):
            self._on_refusal(line[4:].decode(errors="replace").strip().strip("'"))
        elif line != b"+OK":
            raise ValueError(line[:80])

    def _on_info(self, info: dict[str, Any]) -> None:
        """Note what the server says of itself while we are connected: its limit, its cluster."""
        self.max_payload = int(info.get("max_payload", self.max_payload))
        task = asyncio.get_running_loop().create_task(self._client._process_info(info))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_refusal(self, reason: str) -> None:
        """Tell what no reconnect can heal; the server ends the connection itself where it has to."""
        lowered = reason.lower()
        if _DENIED in lowered:
            self.denial = Forbidden(f"the nats-server answers: {reason}")
            self._report_fatal(self.denial)
        elif any(word in lowered for word in _REFUSED):
            self._report_fatal(_refused(reason))
        else:
            _log.warning("bus_server_error", extra={"reason": reason})

    def _report_fatal(self, error: VtsServingException) -> None:
        _log.critical("bus_fatal", extra={"reason": error.message})
        if not self._fatal.done():
            self._fatal.set_result(error)
        if self._on_fatal is not None:
            self._on_fatal(error)

    def _on_lost(self) -> None:
        """The socket is gone; nats-py hears of it a turn of the event loop later."""
        self.parser.reset()
        self._fail_waiting(BusUnavailable("the connection to the bus was lost"))
        self._go_offline()

    async def _on_disconnected(self) -> None:
        self._go_offline()

    async def _on_reconnected(self) -> None:
        """Renew the subscriptions; only when the server has them all are we online again."""
        for command in self._commands():
            self.transport.write(command)
        try:
            await self._ping()
        except VtsServingException:
            return
        self._go_online()

    async def _on_error(self, error: Exception) -> None:
        """What went wrong below; once per outage in the log, as each attempt to reconnect fails the same way."""
        lowered = str(error).lower()
        if any(word in lowered for word in _REFUSED):
            self._report_fatal(_refused(str(error)))
        elif not self._error_reported:
            self._error_reported = True
            _log.warning("bus_connection_failed", extra={"reason": str(error) or type(error).__name__})

    def _go_online(self) -> None:
        if self._closing:
            return
        self.max_payload = self._client.max_payload
        self._error_reported = False
        self.online = True
        _log.info("bus_connected")
        self._on_state(True)

    def _go_offline(self) -> None:
        if self.online:
            self.online = False
            self._on_state(False)

    def _fail_waiting(self, error: VtsServingException) -> None:
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(error)


def _refused(reason: str) -> AuthError:
    """What a server that knows no such user, or another password, stands for."""
    return AuthError(
        f"the nats-server answers: {reason}; user and password are VTSSERVING_NATS_USER and "
        "VTSSERVING_NATS_PASSWORD, or VTSSERVING_NATS_PASSWORD_FILE"
    )


class _IdleParser(Parser):
    """Stands in for nats-py's parser: by the time its read loop gets here everything was parsed already."""

    async def parse(self, data: bytes = b"") -> None:
        pass


def _servers(url: str) -> list[str]:
    """The server URLs of a comma-joined list.

    Raises:
        ConfigurationError: none is given, or one has another scheme than nats or tls.
    """
    servers = [part.strip() for part in url.split(",") if part.strip()]
    for server in servers:
        scheme, separator, _ = server.partition("://")
        if separator and scheme not in ("nats", "tls"):
            raise ConfigurationError(f"the bus URL starts with {scheme}://; it has to be nats:// or tls://")
    if not servers:
        raise ConfigurationError("the bus URL is empty")
    return servers


def _safe(url: str) -> str:
    """The URL without its credentials, for messages."""
    return ",".join(part.split("@")[-1] for part in _servers(url))
