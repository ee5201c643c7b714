"""URLs of calls and the models that they mean, remembered, so that most requests wait for no look-up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from vtsserving._catalog.catalog import Catalog, CatalogEntry
from vtsserving._model.tag import is_hidden
from vtsserving._recent import RecentDict
from vtsserving.exceptions import MethodNotFound, ModelNotFound, NotFound, VersionNotFound
from vtsserving_gateway.metrics import PREDICT, GatewayMetrics, MetricSeries
from vtsserving_gateway.predict.decode import Target
from vtsserving_gateway.predict.routes import Route
from vtsserving_gateway.statistics import Statistics

_LISTED: Final = "GET /v1/models lists what there is"

MAX_ROUTES: Final = 4_096
"""Most URLs that are remembered."""


class BoundRoute:
    """A URL of the predict routes, together with the model that it meant last."""

    __slots__ = ("entry", "route", "series", "siblings", "statistics", "target")

    def __init__(
        self,
        route: Route,
        entry: CatalogEntry,
        metrics: GatewayMetrics,
        statistics: Statistics,
        target: Target | None = None,
    ) -> None:
        """Bind; MethodNotFound if the model does not have the method."""
        self.route = route
        self.entry = entry
        self.target = target or target_of(route, entry)
        self.siblings: dict[str, BoundRoute] = {}
        self.statistics = statistics.of(entry.name, entry.version)
        self.series: MetricSeries = metrics.of(PREDICT, entry.name, entry.version, self.target.method.name)


class BoundRoutes:
    """The URLs that one gateway was called with lately."""

    __slots__ = ("_bound", "_catalog", "_metrics", "_statistics")

    def __init__(self, catalog: Catalog, metrics: GatewayMetrics, statistics: Statistics) -> None:
        """Remember nothing yet.

        Args:
            catalog: knows the models.
            metrics: count the requests of each method.
            statistics: count the calls of each model.
        """
        self._catalog = catalog
        self._metrics = metrics
        self._statistics = statistics
        self._bound: RecentDict[bytes, BoundRoute] = RecentDict(MAX_ROUTES)

    def bound(self, url: bytes) -> BoundRoute | None:
        """What a URL means now, if that is known without waiting; else use `bind`.

        Raises:
            MethodNotFound: the model has changed and has no such method any more.
        """
        bound = self._bound.get(url)
        if bound is None:
            return None
        entry = self._catalog.peek(bound.route.tag)
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
        is_named = not route.ordinal and not is_hidden(route.tag)
        entry = (self._catalog.peek(route.tag) if is_named else None) or await self.resolve(route)
        if route.ordinal:
            # Versions never change, so from now on the exact one is looked up.
            route = route._replace(tag=entry.tag)
        return self._remember(url, route, entry)

    def of_target(self, bound: BoundRoute, target: Target) -> BoundRoute:
        """The same URL, whose body may have named another method of the model."""
        if target is bound.target:
            return bound
        name = target.method.name
        found = bound.siblings.get(name)
        if found is None:
            found = BoundRoute(bound.route, bound.entry, self._metrics, self._statistics, target)
            bound.siblings[name] = found
        return found

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
        if route.ordinal:
            return await self._by_ordinal(name, route.ordinal)
        try:
            return await self._catalog.resolve(route.tag)
        except VersionNotFound:
            raise VersionNotFound(f"no version {version!r} of model {name!r}; {_LISTED}") from None
        except NotFound:
            raise ModelNotFound(_no_model(name)) from None

    async def _by_ordinal(self, name: str, ordinal: str) -> CatalogEntry:
        """The version of a model that has a number, whatever its name is.

        Raises:
            ModelNotFound, VersionNotFound: there is none.
        """
        try:
            known = await self._catalog.models(name)
        except NotFound:
            known = []
        if not known:
            raise ModelNotFound(_no_model(name))
        found = next((entry for entry in known if str(entry.ordinal) == ordinal.lstrip("0")), None)
        if found is None:
            raise VersionNotFound(f"no version number {ordinal} of model {name!r}; {_LISTED}")
        return found

    def _remember(self, url: bytes, route: Route, entry: CatalogEntry) -> BoundRoute:
        bound = BoundRoute(route, entry, self._metrics, self._statistics)
        self._bound[url] = bound
        return bound


def target_of(route: Route, entry: CatalogEntry) -> Target:
    """The method of a model that a route means.

    Raises:
        MethodNotFound: the model does not have the method, or several where the route leaves them no choice.
    """
    if route.method or not route.prefers:
        return Target(entry, entry.method(route.method))
    if route.prefers in entry.signatures:
        return Target(entry, entry.method(route.prefers))
    try:
        return Target(entry, entry.method())
    except MethodNotFound:
        if not entry.signatures:
            raise
        return Target(entry, entry.method(min(entry.signatures)), is_default=False)


def _no_model(name: str) -> str:
    return f"no model {name!r}; {_LISTED}"
