"""The connection of a NatsBus: nats-py's client on our socket, and how it fails.

It keeps one truth, `online`: the server has all of our subscriptions and would get what we send. The moment the socket
is lost it is false, and everything that waits for the server fails.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from vtsserving._bus.nats_parser import NatsParser
from vtsserving._bus.nats_socket import NatsSocket
from vtsserving._bus.nats_transport import DirectTransport, client_on
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
MAX_SILENT_PINGS: Final = 2
"""A connection on which nothing arrived after this many PINGs is cut when the next one is due."""

CONNECT_TIMEOUT_S: Final = 2
"""Of one attempt; how long to go on trying is the caller's choice."""

_CLIENT_PING_INTERVAL_S: Final = 86_400
"""Of nats-py's own PINGs. They count PONGs alone, and so would cut a slow connection that still delivers."""

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
        socket: sends; what is sent while not online is lost.
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
            commands: sent first on each new connection: the subscriptions.
            on_state: called with `online` when it changes.
            on_fatal: called when the server refuses the credentials or forbids a subject.
            send_buffer_bytes: how much may wait for the network.
        """
        self.online = False
        self.max_payload = 0
        self.parser = NatsParser(self._on_control)
        self.socket = NatsSocket(self._on_data, self._on_lost, limit_bytes=send_buffer_bytes)
        self.denial: Forbidden | None = None
        self._transport = DirectTransport(self.socket)
        self._client = client_on(self._transport)
        self._commands = commands
        self._on_state = on_state
        self._on_fatal = on_fatal
        self._fatal: asyncio.Future[VtsServingException] = asyncio.get_running_loop().create_future()
        self._pongs: set[asyncio.Future[bool]] = set()
        self._silent_pings = 0
        self._next_ping: asyncio.TimerHandle | None = None
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
        self._watch()
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
        if self._next_ping is not None:
            self._next_ping.cancel()
        await self._client.close()

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
            ping_interval=_CLIENT_PING_INTERVAL_S,
            connect_timeout=CONNECT_TIMEOUT_S,
            pending_size=-1,
        )
        self._go_online()

    async def _ping(self) -> None:
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pongs.add(pong)
        self._transport.ping(pong)
        try:
            await pong
        finally:
            self._pongs.discard(pong)

    def _watch(self) -> None:
        """Send a PING each second while connected, and cut a connection that is silent."""
        loop = asyncio.get_running_loop()
        self._next_ping = loop.call_later(PING_INTERVAL_S, self._watch)
        if not self._client.is_connected:
            return
        if self._silent_pings < MAX_SILENT_PINGS:
            self._silent_pings += 1
            self._transport.ping(loop.create_future())
        else:
            _log.warning("bus_silent", extra={"pings": self._silent_pings})
            self.socket.abort()

    def _on_data(self, data: bytes) -> None:
        # Any byte proves that the server lives; a PONG may be far behind in what it has for us.
        self._silent_pings = 0
        self.parser.feed(data)

    def _on_control(self, line: bytes) -> None:
        """Handle a line that is not the head of a message."""
        if line == b"PONG":
            self._transport.take_pong()
        elif line == b"PING":
            self.socket.write(_PONG)
        elif line.startswith(b"INFO"):
            # The server's limit may have changed; the cluster's other servers concern nats-py.
            self.max_payload = int(json.loads(line[4:]).get("max_payload", self.max_payload))
            self._transport.pass_on(line + b"\r\n")
        elif line.startswith(b"-ERR"):
            self._on_refusal(line[4:].decode(errors="replace").strip().strip("'"))
        elif line != b"+OK":
            raise ValueError(line[:80])

    def _on_refusal(self, reason: str) -> None:
        """Report what no reconnect can heal; the server ends the connection itself where it has to."""
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
        """Go offline at once; nats-py notices the loss a turn of the event loop later."""
        self._silent_pings = 0
        self.parser.reset()
        self._transport.note_lost()
        self._fail_waiting(BusUnavailable("the connection to the bus was lost"))
        self._go_offline()

    async def _on_disconnected(self) -> None:
        self._go_offline()

    async def _on_reconnected(self) -> None:
        """Renew the subscriptions, and go online only when the server has them all."""
        for command in self._commands():
            self.socket.write(command)
        try:
            await self._ping()
        except VtsServingException:
            return
        self._go_online()

    async def _on_error(self, error: Exception) -> None:
        """Log a failure of nats-py once per outage: each attempt to reconnect fails the same way."""
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
    """The error for a server that has no such user, or another password for it."""
    return AuthError(
        f"the nats-server answers: {reason}; user and password are VTSSERVING_NATS_USER and "
        "VTSSERVING_NATS_PASSWORD, or VTSSERVING_NATS_PASSWORD_FILE"
    )


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
