"""A real gateway on a real port, its event loop in a thread, for tests that speak HTTP with plain sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import uvloop

from support.backend import Backend, FixedCatalog, Function
from support.waiting import eventually
from vtsserving._bus.inprocess import InProcessBus
from vtsserving._bus.interface import Bus
from vtsserving._bus.nats import NatsBus
from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._runtime.settings import SharedSettings
from vtsserving.service.service import Service
from vtsserving_gateway.app import GatewayApp
from vtsserving_gateway.settings import GatewaySettings

SOCKET_TIMEOUT_S = 10.0
T = TypeVar("T")


class Answer(NamedTuple):
    """One HTTP response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error, after checking the shape that all errors have."""
        assert self.headers["content-type"] == "application/json", self
        assert set(self.json) == {"error"}, self
        error = self.json["error"]
        assert set(error) == {"code", "message", "request_id"}, self
        assert error["request_id"] == self.headers["x-request-id"], self
        assert error["message"], self
        return str(error["code"])


class Client:
    """A plain socket that speaks HTTP/1.1 badly or well, as a test wants."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), SOCKET_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.unread = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a peer that has closed is no error here, its answer is what counts."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def _until(self, enough: Callable[[bytes], bool]) -> None:
        while not enough(self.unread):
            more = self.socket.recv(65536)
            if not more:
                raise EOFError(f"closed by the server after {self.unread[:200]!r}")
            self.unread += more

    def _take(self, count: int) -> bytes:
        self._until(lambda data: len(data) >= count)
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    def head(self) -> tuple[str, dict[str, str]]:
        """Status line and headers of the next response."""
        self._until(lambda data: b"\r\n\r\n" in data)
        head, self.unread = self.unread.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines[1:])
        return lines[0], {name.lower(): value for name, value in pairs}

    def receive(self) -> Answer:
        """The next whole response."""
        first, headers = self.head()
        version, status = first.split(" ")[:2]
        assert version == "HTTP/1.1"
        return Answer(int(status), headers, self._take(int(headers.get("content-length", 0))))

    def ask(self, data: bytes) -> Answer:
        """Send bytes and read one response."""
        self.send(data)
        return self.receive()

    def closed(self) -> bool:
        """Whether the server closes the connection without sending more."""
        try:
            return not self.unread and not self.socket.recv(1)
        except ConnectionError:
            return True


def wait_until(condition: Callable[[], object], within_s: float = SOCKET_TIMEOUT_S) -> None:
    """Return as soon as the gateway's thread has made a condition true."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "not in time"
        time.sleep(0.002)


def post(
    body: bytes,
    path: str = "/v1/models/iris/predict",
    headers: Mapping[str, str] | None = None,
    version: str = "1.1",
) -> bytes:
    """The bytes of a POST."""
    fields = {"Host": "test", "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"POST {path} HTTP/{version}\r\n{lines}\r\n".encode("latin-1") + body


def get(path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a GET."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "test", **(headers or {})}.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1")


class ServedGateway:
    """A gateway and a backend on one bus: in process, or on a nats-server."""

    def __init__(
        self,
        entries: list[CatalogEntry],
        functions: Mapping[tuple[str, str], Function],
        settings: Mapping[str, Any] | None = None,
        listener: socket.socket | None = None,
        loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
        nats_url: str | None = None,
        shared: SharedSettings | None = None,
        service: Service | None = None,
    ) -> None:
        self._functions = functions
        self._settings = GatewaySettings(**{"port": 0, **(settings or {})})
        self._listener = listener
        self._nats_url = nats_url
        self._shared = shared
        self._service = service
        self.loop = loop()
        self.catalog = FixedCatalog(*entries)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.wait(self._start())

    async def _start(self) -> None:
        if self._nats_url is None:
            self.bus: Bus = InProcessBus()
            backend_bus = self.bus
        else:
            self.bus = await NatsBus.connect(self._nats_url, timeout_s=SOCKET_TIMEOUT_S)
            backend_bus = await NatsBus.connect(self._nats_url, timeout_s=SOCKET_TIMEOUT_S)
        self._backend_bus = backend_bus
        self.backend = Backend(backend_bus, self._functions)
        self.app = GatewayApp(
            self.bus,
            self.catalog,
            self._settings,
            listener=self._listener,
            shared=self._shared,
            served=self._service,
        )
        await self.app.start()
        await self.backend.start()
        await eventually(lambda: self.app.client.ready, what="the gateway hears the backend")

    def stop(self) -> None:
        self.wait(self._stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _stop(self) -> None:
        await self.app.close()
        await self.backend.close()
        await self._backend_bus.close()
        await self.bus.close()

    @property
    def port(self) -> int:
        return self.app.port

    def connect(self) -> Client:
        return Client(self.port)

    def ask(self, data: bytes) -> Answer:
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.ask(data)

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the gateway's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(SOCKET_TIMEOUT_S * 3)

    def run(self, function: Callable[[], T]) -> T:
        """Call a function on the gateway's loop."""

        async def call() -> T:
            return function()

        return self.wait(call())


@contextlib.contextmanager
def served(
    entries: list[CatalogEntry],
    functions: Mapping[tuple[str, str], Function],
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Iterator[ServedGateway]:
    """A started gateway that is stopped at the end."""
    gateway = ServedGateway(entries, functions, settings, **more)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()
