"""The Open Inference Protocol beside inference: health, metadata, configuration, statistics, model repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import FastAPI, Request, Response

from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._codecs.json_arrays import ArraySpec
from vtsserving._codecs.json_strict import read
from vtsserving.exceptions import BadInput, Unavailable
from vtsserving.version import __version__
from vtsserving_gateway.api.models import ModelRoutes
from vtsserving_gateway.api.oip_inputs import inputs_of, outputs_of
from vtsserving_gateway.cluster.view import ClusterView
from vtsserving_gateway.http.json_text import answer
from vtsserving_gateway.predict.bound_routes import BoundRoutes, target_of
from vtsserving_gateway.predict.decode import Target
from vtsserving_gateway.predict.oip_codec import route_of
from vtsserving_gateway.predict.oip_tensors import datatype_of
from vtsserving_gateway.predict.routes import Route
from vtsserving_gateway.state import GatewayState
from vtsserving_gateway.statistics import ModelStatistics

PLATFORM: Final = "vtsserving"
EXTENSIONS: Final = ["binary_tensor_data", "model_repository", "statistics", "model_configuration"]
MODEL: Final = "/v2/models/{model}"
VERSION: Final = "/v2/models/{model}/versions/{version}"


Handler = Callable[[str, str], Awaitable[Response]]


class OipRoutes:
    """The handlers; what they tell comes from the catalog, the runners' heartbeats and the gateway's counters."""

    def __init__(
        self,
        gateway: GatewayState,
        routes: BoundRoutes,
        fleet: ClusterView,
        models: ModelRoutes,
        not_ready: Callable[[], str],
    ) -> None:
        """Answer for one gateway.

        Args:
            gateway: shared with the connections.
            routes: know which model a route means.
            fleet: knows what is loaded where.
            models: loads and unloads.
            not_ready: why requests would be refused now; empty when they would not.
        """
        self._gateway = gateway
        self._routes = routes
        self._fleet = fleet
        self._models = models
        self._not_ready = not_ready

    def add_to(self, app: FastAPI) -> None:
        """Add the routes; `stats` comes before what would take it for a model."""
        get: dict[str, Any] = {"methods": ["GET"], "tags": ["open inference protocol"], "responses": _ERRORS}
        app.add_api_route("/v2", self.server, operation_id="oip_server", **get)
        app.add_api_route("/v2/", self.server, **get, include_in_schema=False)
        app.add_api_route("/v2/health/live", self.live, operation_id="oip_live", **get)
        app.add_api_route("/v2/health/ready", self.ready, operation_id="oip_ready", **get)
        app.add_api_route("/v2/models/stats", self.all_statistics, operation_id="oip_all_statistics", **get)
        for end, handler in (
            ("", self.model),
            ("/ready", self.model_ready),
            ("/config", self.configuration),
            ("/stats", self.statistics),
        ):
            name = handler.__name__
            app.add_api_route(MODEL + end, _of_latest(handler), operation_id=f"oip_{name}", **get)
            app.add_api_route(VERSION + end, handler, operation_id=f"oip_{name}_of_version", **get)
        post = {**get, "methods": ["POST"]}
        app.add_api_route("/v2/repository/index", self.index, operation_id="oip_repository_index", **post)
        empty = {**post, "response_class": Response}
        for verb, change in (("load", self.load), ("unload", self.unload)):
            path = f"/v2/repository/models/{{model}}/{verb}"
            app.add_api_route(path, change, operation_id=f"oip_{verb}_model", **empty)

    async def server(self) -> Response:
        """Name, version and extensions."""
        return answer({"name": PLATFORM, "version": __version__, "extensions": EXTENSIONS})

    async def live(self) -> Response:
        """Whether the process runs."""
        return answer({"live": True})

    async def ready(self) -> Response:
        """Whether an inference would be taken now."""
        reason = "draining" if self._gateway.draining else self._not_ready()
        if reason:
            raise Unavailable(f"not ready: {reason}", retry_after_s=1.0)
        return answer({"ready": True})

    async def model(self, model: str, version: str) -> Response:
        """Metadata of a model: inputs and outputs, as far as they are recorded.

        Inputs have the names and the order of the method's arguments; `parameters.kind` is `rows` for what is
        joined with the rows of other callers, and `parameter` for what holds for a whole call. A model of several
        methods, none of them `predict` or `__call__`, shows neither: a request names its method.
        """
        route, entry, target = await self._find(model, version)
        return answer(
            {
                "name": entry.name,
                "versions": [route.ordinal or entry.version],
                "platform": PLATFORM,
                "inputs": [
                    {**_described(one.spec), "parameters": {"kind": one.kind}} for one in inputs_of(target)
                ],
                "outputs": [_described(spec) for spec in outputs_of(target)],
            }
        )

    async def model_ready(self, model: str, version: str) -> Response:
        """Whether a runner has loaded the model; the first call of another one loads it."""
        _, entry, _ = await self._find(model, version)
        state = self._fleet.state(entry.tag)
        if state.name != "ready":
            raise Unavailable(f"{entry.tag}: {state.reason}", retry_after_s=1.0)
        return answer({"name": entry.name, "ready": True})

    async def configuration(self, model: str, version: str) -> Response:
        """The model's configuration as clients of Triton expect it."""
        _, entry, target = await self._find(model, version)
        batched = target.method.max_rows if target.method.axis == 0 else 0
        return answer(
            {
                "name": entry.name,
                "platform": PLATFORM,
                "backend": entry.module,
                "max_batch_size": batched,
                "input": [
                    _configured(one.spec, batched if one.kind == "rows" else 0) for one in inputs_of(target)
                ],
                "output": [_configured(spec, batched) for spec in outputs_of(target)],
            }
        )

    async def statistics(self, model: str, version: str) -> Response:
        """Counts and times of a model since this gateway started."""
        route, entry, _ = await self._find(model, version)
        counted = self._gateway.statistics.of(entry.name, entry.version)
        return answer({"model_stats": [counted.shown(entry.name, route.ordinal or entry.version)]})

    async def all_statistics(self) -> Response:
        """The same of all models that were called."""
        counted: dict[tuple[str, str], ModelStatistics] = self._gateway.statistics.all()
        return answer(
            {"model_stats": [each.shown(name, version) for (name, version), each in counted.items()]}
        )

    async def index(self, request: Request) -> Response:
        """All models and whether they are loaded; `{"ready": true}` leaves out those that are not."""
        wanted = await _optional(request, 'the body is empty or {"ready": true}')
        shown = [self._indexed(entry) for entry in await self._gateway.catalog.models()]
        return answer([each for each in shown if not wanted.get("ready") or each["state"] == "READY"])

    def _indexed(self, entry: CatalogEntry) -> dict[str, str]:
        state = self._fleet.state(entry.tag)
        named = {"ready": "READY", "loading": "LOADING", "unloading": "UNLOADING"}.get(
            state.name, "UNAVAILABLE"
        )
        return {"name": entry.name, "version": entry.version, "state": named, "reason": state.reason}

    async def load(self, model: str, request: Request) -> Response:
        """Load a model as it was saved; answers when it is ready."""
        wanted = (await _optional(request, 'the body is empty or {"parameters": {...}}')).get("parameters")
        if wanted:
            raise BadInput("models are loaded as they were saved: `config` and `file:` are not supported")
        await self._models.order(request, "load", route_of(model), request.headers.get("x-request-timeout"))
        return Response()

    async def unload(self, model: str, request: Request) -> Response:
        """Unload a model; answers when what came before is served and its processes have ended."""
        await _optional(request, 'the body is empty or {"parameters": {...}}')  # models have no dependents
        await self._models.order(request, "unload", route_of(model), request.headers.get("x-request-timeout"))
        return Response()

    async def _find(self, model: str, version: str) -> tuple[Route, CatalogEntry, Target]:
        route = route_of(model, version)
        entry = await self._routes.resolve(route)
        return route, entry, target_of(route, entry)


async def _optional(request: Request, form: str) -> dict[str, Any]:
    """A JSON object that may be left out."""
    body = await request.body()
    value = read(body) if body.strip() not in (b"", b'""') else {}
    if not isinstance(value, dict):
        raise BadInput(form)
    return value


def _of_latest(handler: Handler) -> Callable[[str], Awaitable[Response]]:
    """The handler of a model without a version, which is no query parameter either."""

    async def handle(model: str) -> Response:
        return await handler(model, "")

    handle.__doc__ = handler.__doc__
    handle.__name__ = f"{handler.__name__}_of_latest"
    return handle


_ERROR: Final[dict[str, Any]] = {
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
        }
    }
}
_ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "The request cannot be read.", **_ERROR},
    404: {"description": "No such model, version or method.", **_ERROR},
    503: {"description": "Not now.", **_ERROR},
    504: {"description": "Not in time.", **_ERROR},
}


def _described(spec: ArraySpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": datatype_of(spec.dtype), "shape": list(spec.shape)}


def _configured(spec: ArraySpec, batched: int) -> dict[str, Any]:
    name = datatype_of(spec.dtype)
    dims = spec.shape[1:] if batched else spec.shape
    return {
        "name": spec.name,
        "data_type": f"TYPE_{'STRING' if name == 'BYTES' else name}",
        "dims": list(dims) or [1],
    }
