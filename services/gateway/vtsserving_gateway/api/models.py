"""What is known of models, and loading and unloading them: `/v1/models` beside the calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import FastAPI, Header, Request, Response

from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._wire.vocabulary import OrderOp
from vtsserving.exceptions import IntegrityError, NewerFormat
from vtsserving_gateway.api.openapi import SECONDS_PATTERN, error_answer
from vtsserving_gateway.cluster.rollover import VersionRollover
from vtsserving_gateway.cluster.view import ClusterView
from vtsserving_gateway.http.json_text import answer
from vtsserving_gateway.predict.bound_routes import BoundRoutes
from vtsserving_gateway.predict.routes import Route, known_tag
from vtsserving_gateway.server.auth_middleware import require_admin
from vtsserving_gateway.state import GatewayState

LOADED: Final = "/v1/models/{tag}/loaded"

CALLED_PATHS: Final = {
    "/v1/models/{tag}": "GET, HEAD, POST",
    LOADED: "PUT, DELETE, POST",
    "/v1/models/{tag}/{method}": "POST",
}
"""Paths that are calls of models when they are POSTed to, and the methods that they have."""

HEARTBEAT_WAIT_S: Final = 2.0
"""How long after a report it is waited for the heartbeat that shows the same."""

HEARTBEAT_POLL_S: Final = 0.01

Timeout = Annotated[
    str | None,
    Header(
        alias="X-Request-Timeout",
        description="Longest wait, decimal seconds; what was begun goes on.",
        json_schema_extra={"pattern": SECONDS_PATTERN},
    ),
]


class ModelRoutes:
    """The handlers; what they tell comes from the catalog, from heartbeats and from the gateway's counters."""

    def __init__(
        self, gateway: GatewayState, routes: BoundRoutes, fleet: ClusterView, rollover: VersionRollover
    ) -> None:
        """Answer for one gateway.

        Args:
            gateway: shared with the connections.
            routes: know which model a route means.
            fleet: knows what is loaded where.
            rollover: knows which versions wait to take the place of others.
        """
        self._gateway = gateway
        self._routes = routes
        self._fleet = fleet
        self._rollover = rollover

    def add_to(self, app: FastAPI) -> None:
        """Add the routes; `loaded` comes before what would take it for a method."""
        errors: dict[int | str, dict[str, Any]] = {
            400: error_answer("A header cannot be read."),
            403: error_answer("The token lacks the scope admin."),
            404: error_answer("No such model or version."),
            503: error_answer("Not now; the message says why."),
            504: error_answer("It was not done in time, and goes on."),
        }
        looked: dict[int | str, dict[str, Any]] = {status: errors[status] for status in (404, 503)}
        unavailable: dict[int | str, dict[str, Any]] = {503: errors[503]}
        for path, method, handler, operation, answers in (
            ("/v1/models", "GET", self.models, "list_models", unavailable),
            ("/v1/models/{tag}", "GET", self.describe, "describe_model", looked),
            (LOADED, "PUT", self.load, "load_model", errors),
            (LOADED, "DELETE", self.unload, "unload_model", errors),
        ):
            app.add_api_route(
                path, handler, methods=[method], operation_id=operation, responses=answers, tags=["models"]
            )

    async def models(self) -> Response:
        """All models, newest first, and how they are: ready, loading, unloading, failed or not loaded."""
        return answer({"models": [self._shown(entry) for entry in await self._gateway.catalog.models()]})

    async def describe(self, tag: str) -> Response:
        """What is known of a model: version, state, signatures, contracts, specs, options, runners, statistics.

        `contracts` has of each method which arguments are rows and which parameters, and how its result follows
        rows; it is null, with a `reason`, where a later release wrote them.
        `successor` is there while a version that the name has moved to is being loaded, or could not be.
        """
        return answer(self._described(await self._routes.resolve(Route(known_tag(tag)))))

    async def load(self, request: Request, tag: str, timeout: Timeout = None) -> Response:
        """Load a model before anybody calls it; answers when it is ready, or with the reason why it is not."""
        return answer(self._described(await self.order(request, "load", Route(known_tag(tag)), timeout)))

    async def unload(self, request: Request, tag: str, timeout: Timeout = None) -> Response:
        """Unload a model on all runners; answers when what came before is served and its processes have ended.

        Calls that come meanwhile, and for a second after, are answered with 503 `model_unloading`. Later ones load
        the model again.
        """
        return answer(self._described(await self.order(request, "unload", Route(known_tag(tag)), timeout)))

    async def order(self, request: Request, op: OrderOp, route: Route, timeout: str | None) -> CatalogEntry:
        """Have a model loaded or unloaded; returns what it is when that is done and heartbeats show it."""
        gateway = self._gateway
        require_admin(gateway, request)
        timeout_s = gateway.timeout_s(None if timeout is None else timeout.encode("latin-1", "replace"))
        entry = await self._routes.resolve(route)
        await gateway.client.orders.send(op, entry, timeout_s=timeout_s)
        shown = {"ready"} if op == "load" else {"not_loaded", "failed"}
        await _heard(lambda: self._fleet.state(entry.tag).name in shown)
        return entry

    def _described(self, entry: CatalogEntry) -> dict[str, Any]:
        counted = self._gateway.statistics.of(entry.name, entry.version).shown(entry.name, entry.version)
        described = {**self._shown(entry), **_contracts(entry), "statistics": counted}
        successor = self._rollover.of(entry)
        return described if successor is None else {**described, "successor": successor.to_dict()}

    def _shown(self, entry: CatalogEntry) -> dict[str, Any]:
        state = self._fleet.state(entry.tag)
        return {
            "tag": entry.tag,
            "name": entry.name,
            "version": entry.version,
            "digest": entry.digest,
            "ordinal": entry.ordinal,
            "module": entry.module,
            "state": state.name,
            "reason": state.reason,
            "runners": len(self._fleet.runners(entry.tag)),
            "signatures": {name: signature.to_dict() for name, signature in entry.signatures.items()},
            "input_specs": dict(entry.input_specs),
            "output_specs": dict(entry.output_specs),
            "options": entry.options.to_dict(),
        }


def _contracts(entry: CatalogEntry) -> dict[str, Any]:
    try:
        return {"contracts": {name: one.to_dict() for name, one in entry.contracts.items()}}
    except (NewerFormat, IntegrityError) as error:
        return {"contracts": None, "reason": error.message}


async def _heard(condition: Callable[[], bool]) -> None:
    """Return when heartbeats have shown something, or soon after in any case."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + HEARTBEAT_WAIT_S
    # Changes come with heartbeats, which nobody could wait for one by one.
    while not condition() and loop.time() < until_s:  # noqa: ASYNC110
        await asyncio.sleep(HEARTBEAT_POLL_S)
