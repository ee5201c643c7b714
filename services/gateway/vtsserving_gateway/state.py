"""What all connections of one gateway share: collaborators, settings, routes, counters, the clock of the timeouts."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from vtsserving._catalog.catalog import Catalog, CatalogEntry
from vtsserving._http.watch import Watch
from vtsserving._inference.client import InferenceClient
from vtsserving._inference.timer_wheel import TimerWheel
from vtsserving._model.tag import is_hidden
from vtsserving._recent import RecentDict
from vtsserving.exceptions import (
    AuthError,
    BadDeadline,
    ModelNotFound,
    NotFound,
    VersionNotFound,
    VtsServingException,
)
from vtsserving_gateway.auth.tokens import Access
from vtsserving_gateway.functions.threads import FunctionThreads
from vtsserving_gateway.http.respond import connection_line, error_response
from vtsserving_gateway.metrics import OTHER, PREDICT, GatewayMetrics, MetricSeries
from vtsserving_gateway.predict.decode import Target
from vtsserving_gateway.predict.routes import Route
from vtsserving_gateway.server.api_registry import ApiRegistry
from vtsserving_gateway.settings import GatewaySettings
from vtsserving_gateway.statistics import Statistics

if TYPE_CHECKING:
    from vtsserving_gateway.functions.call import FunctionCall
    from vtsserving_gateway.functions.functions import ServedFunction

_log = logging.getLogger(__name__)
_LISTED: Final = "GET /v1/models lists what there is"

MAX_ROUTES: Final = 4_096
"""Most URLs that are remembered."""

DECODING_THREADS: Final = 2
"""Threads that read large bodies and write large results; the interpreter runs one at a time anyway."""

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_SECONDS: Final = re.compile(rb"[0-9]{1,12}(?:\.[0-9]{1,12})?")


class BoundRoute:
    """A URL of the predict routes, together with the model that it meant last."""

    __slots__ = ("entry", "route", "series", "statistics", "target")

    def __init__(self, route: Route, entry: CatalogEntry, gateway: GatewayState) -> None:
        """Bind; MethodNotFound if the model does not have the method."""
        self.route = route
        self.entry = entry
        preferred = route.prefers if route.prefers in entry.signatures else ""
        self.target = Target(entry, entry.method(route.method or preferred))
        self.statistics = gateway.statistics.of(entry.name, entry.version)
        self.series: MetricSeries = gateway.metrics.of(
            PREDICT, entry.name, entry.version, self.target.method.name
        )


class GatewayState:
    """One gateway process, as its connections see it."""

    def __init__(self, client: InferenceClient, catalog: Catalog, settings: GatewaySettings) -> None:
        """Create it inside of a running event loop.

        Args:
            client: sends the calls.
            catalog: knows the models.
            settings: limits and timeouts.
        """
        self.client = client
        self.catalog = catalog
        self.settings = settings
        self.apis = ApiRegistry(settings.max_body_bytes)
        self.metrics = GatewayMetrics()
        self.statistics = Statistics()
        self.loop = asyncio.get_running_loop()
        self.access: Access | None = None
        self.threads = ThreadPoolExecutor(DECODING_THREADS, thread_name_prefix="decode")
        self.function_threads = FunctionThreads(self.loop, settings.function_threads)
        self.function_deadlines: TimerWheel[FunctionCall] = TimerWheel(self.loop, _expire_function)
        self.functions: dict[bytes, ServedFunction] = {}
        """Path to function."""
        self.limits = settings.connection_limits
        self.watch = Watch(self.limits.shortest_s)
        self.connections = self.watch.connections
        self.draining = False
        self.buffered_bytes = 0
        self.date = b""
        self.unrouted = self.metrics.of(PREDICT)
        self._bound: RecentDict[bytes, BoundRoute] = RecentDict(MAX_ROUTES)
        self._id_prefix = secrets.token_hex(4).encode()
        self._last_id = 0

    def function(self, url: bytes, headers: Mapping[bytes, bytes]) -> ServedFunction | None:
        """The service's function that a POST to a URL calls without the detour of ASGI; None where there is none.

        Callers whose token is not known to be valid take the detour, where the guard looks it up or refuses them.
        """
        function = self.functions.get(url.partition(b"?")[0]) if self.functions else None
        if function is None or self.access is None:
            return function
        try:
            token = self.access.known(headers)
            if token is not None:
                token.require("infer")
        except AuthError:
            return None
        return None if token is None else function

    # --- requests ------------------------------------------------------------------------------------------------

    def request_id(self, wanted: bytes | None) -> bytes:
        """The client's own request id where it is harmless, otherwise a new one."""
        if wanted is not None and _REQUEST_ID.fullmatch(wanted):
            return wanted
        self._last_id += 1
        return b"%b-%x" % (self._id_prefix, self._last_id)

    def refuse(self, error: VtsServingException, url: bytes, request_id: bytes) -> bytes:
        """See vtsserving._http.host.ConnectionHost."""
        self.metrics.errors[error.wire_code] += 1
        status, body = self.apis.errors(url).error(error, request_id.decode("ascii"))
        self.metrics.of(*OTHER).observe(status, 0.0)
        return error_response(error, status, body, request_id, self.date, connection_line(False, False))

    def timeout_s(self, header: bytes | None) -> float:
        """Seconds that a request may take.

        Args:
            header: its X-Request-Timeout, decimal seconds.

        Raises:
            BadDeadline: the header is no positive decimal number.
        """
        if header is None:
            return self.settings.request_timeout_s
        seconds = float(header) if _SECONDS.fullmatch(header) else 0.0
        if seconds <= 0:
            raise BadDeadline("X-Request-Timeout is a positive number of seconds, like 0.5")
        return min(seconds, self.settings.max_request_timeout_s)

    def bound(self, url: bytes) -> BoundRoute | None:
        """What a URL means now, if that is known without waiting; else use `bind`.

        Raises:
            MethodNotFound: the model has changed and has no such method any more.
        """
        bound = self._bound.get(url)
        if bound is None:
            return None
        entry = self.catalog.peek(bound.route.tag)
        if entry is bound.entry:
            return bound
        return None if entry is None else self._remember(url, bound.route, entry)

    async def bind(self, url: bytes, parse: Callable[[bytes], Route]) -> BoundRoute:
        """Find out what a URL means.

        Args:
            url: as it stands in the request line.
            parse: reads URLs of its kind.

        Raises:
            NotFound: no such route, model, version or method.
            StoreUnavailable: the models cannot be looked up now.
        """
        route = parse(url)
        entry = (None if is_hidden(route.tag) else self.catalog.peek(route.tag)) or await self.resolve(route)
        if route.ordinal and entry.version != route.ordinal:
            # Versions never change, so from now on the exact one is looked up.
            route = route._replace(tag=entry.tag)
        return self._remember(url, route, entry)

    async def resolve(self, route: Route) -> CatalogEntry:
        """The model that a route names, by reference or by number.

        Raises:
            ModelNotFound, VersionNotFound: there is none; says no more than the client knows already.
            StoreUnavailable: the models cannot be looked up now.
        """
        name, _, version = route.tag.partition(":")
        if is_hidden(name):
            # Classes of a Service: they are called through its functions, which check what comes in.
            raise ModelNotFound(_no_model(name))
        try:
            return await self.catalog.resolve(route.tag)
        except VersionNotFound:
            found = await self.by_ordinal(name, int(route.ordinal)) if route.ordinal else None
            if found is None:
                raise VersionNotFound(f"no version {version!r} of model {name!r}; {_LISTED}") from None
            return found
        except NotFound:
            raise ModelNotFound(_no_model(name)) from None

    async def by_ordinal(self, name: str, ordinal: int) -> CatalogEntry | None:
        """The version of a model that has a number; None if there is none."""
        return next((entry for entry in await self.catalog.models(name) if entry.ordinal == ordinal), None)

    def _remember(self, url: bytes, route: Route, entry: CatalogEntry) -> BoundRoute:
        bound = BoundRoute(route, entry, self)
        self._bound[url] = bound
        return bound

    # --- end -----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the threads and timers; the connections are closed already."""
        self.function_threads.close()
        self.function_deadlines.close()
        if self.access is not None:
            self.access.close()
        self.threads.shutdown(wait=False, cancel_futures=True)


def _no_model(name: str) -> str:
    return f"no model {name!r}; {_LISTED}"


def _expire_function(call: FunctionCall) -> None:
    call.expire()
