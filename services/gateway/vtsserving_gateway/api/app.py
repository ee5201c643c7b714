"""The FastAPI application: health, metrics, documentation, what is known of models, and the shape of every error."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from vtsserving._http.asgi import REQUEST_ID
from vtsserving._http.exchange import INTERNAL
from vtsserving._runtime.http_head import add_head, with_head
from vtsserving.exceptions import (
    BadInput,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    VtsServingException,
)
from vtsserving.version import __version__
from vtsserving_gateway.api.documents import add_documents
from vtsserving_gateway.api.models import CALLED_PATHS, ModelRoutes
from vtsserving_gateway.api.oip import OipRoutes
from vtsserving_gateway.api.oip_document import infer_paths
from vtsserving_gateway.api.openapi import error_answer, install
from vtsserving_gateway.api.services import ServiceRoutes
from vtsserving_gateway.cluster.rollover import VersionRollover
from vtsserving_gateway.cluster.view import ClusterView
from vtsserving_gateway.http.json_text import answer
from vtsserving_gateway.http.respond import error_body, error_headers
from vtsserving_gateway.predict import oip_codec
from vtsserving_gateway.predict.bound_routes import BoundRoutes
from vtsserving_gateway.state import GatewayState

ALL_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
SHARED_MEMORY: Final = ("/v2/systemsharedmemory", "/v2/cudasharedmemory")
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def create_app(
    gateway: GatewayState,
    routes: BoundRoutes,
    fleet: ClusterView,
    rollover: VersionRollover,
    not_ready: Callable[[], str],
    served: ServiceRoutes | None = None,
) -> FastAPI:
    """Everything that is not a call of a model.

    Args:
        gateway: shared with the connections.
        routes: know which models there are under which names.
        fleet: knows what is loaded where.
        rollover: knows which versions wait to take the place of others.
        not_ready: why requests would be refused now; empty when they would not.
        served: the functions of a service, if one is served.

    Returns:
        The application; it answers every error in the one shape.
    """
    app = FastAPI(
        title="VtsServing gateway",
        version=__version__,
        description="Call saved models over HTTP. Rows of many clients are computed in one batch.",
        openapi_url=None,  # ours, below, has the models too
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would redirect to whatever Host the client sent
    )
    _add_health(app, gateway, not_ready)
    models = ModelRoutes(gateway, routes, fleet, rollover)
    models.add_to(app)
    OipRoutes(gateway, routes, fleet, models, not_ready).add_to(app)
    for path, allowed in (*CALLED_PATHS.items(), *((path, "POST") for path in infer_paths())):
        _add_other_methods(app, path, allowed)
    app.add_exception_handler(VtsServingException, _on_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    install(app, served.paths() if served is not None else {})
    add_documents(app, gateway)
    add_head(app, app.routes)
    if served is not None:
        app.router.routes.extend(served.routes())
    return app


def _add_health(app: FastAPI, gateway: GatewayState, not_ready: Callable[[], str]) -> None:
    reads: dict[str, Any] = {"methods": ["GET"], "tags": ["health"]}

    async def live() -> Response:
        """Whether the process runs; says nothing about anything else."""
        return answer({"live": True})

    async def ready() -> Response:
        """Whether a call would be taken now: the bus is connected, a batcher is alive, preloaded models are loaded."""
        reason = "draining" if gateway.draining else not_ready()
        if reason:
            raise Unavailable(f"not ready: {reason}", retry_after_s=1.0)
        return answer({"ready": True})

    async def metrics() -> Response:
        """Counters in the Prometheus text format."""
        return Response(gateway.metrics.exposition(), media_type=METRICS_TYPE)

    unready: dict[int | str, dict[str, Any]] = {503: error_answer("Not ready; the message says why.")}
    app.add_api_route("/livez", live, operation_id="livez", **reads)
    app.add_api_route("/readyz", ready, responses=unready, operation_id="readyz", **reads)
    app.add_api_route("/healthz", ready, responses=unready, operation_id="healthz", **reads)
    app.add_api_route(
        "/metrics",
        metrics,
        operation_id="metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}},
        **reads,
    )


def _add_other_methods(app: FastAPI, path: str, allowed: str) -> None:
    """Refuse the methods that a path does not have where FastAPI does not know all that it has."""

    async def refuse() -> Response:
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": allowed})

    others = [method for method in ALL_METHODS if method not in allowed]
    app.add_api_route(path, refuse, methods=others, include_in_schema=False)


def refusal(request: Request, error: VtsServingException, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that ended with an error."""
    status, body = error.status, error_body(error, request.scope.get(REQUEST_ID, ""))
    if request.scope["path"].startswith("/v2"):
        status, body = oip_codec.status_of(error), oip_codec.error_body(error)
    own = {name.decode("ascii"): value.decode("ascii") for name, value in error_headers(error)}
    return Response(body, status, {**(headers or {}), **own}, media_type="application/json")


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, VtsServingException)
    return refusal(request, error)


async def _on_unexpected(request: Request, error: Exception) -> Response:
    """Anything else: the log has it, the client learns nothing of the inside."""
    return refusal(request, VtsServingException(INTERNAL))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own errors: no such route, or another HTTP method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND and request.scope["path"].startswith(SHARED_MEMORY):
        return refusal(request, NotFound(oip_codec.NO_SHARED_MEMORY), headers)
    if error.status_code == HTTPStatus.NOT_FOUND:
        return refusal(request, NotFound("no such route; /docs lists all"), headers)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = next((value for name, value in headers.items() if name.lower() == "allow"), "")
        headers = {"allow": with_head(allowed)} if allowed else headers
        return refusal(request, MethodNotAllowed(f"use {headers.get('allow', 'another method')}"), headers)
    if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        return refusal(request, BadInput(str(error.detail)), headers)
    return refusal(request, VtsServingException(str(error.detail)), headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first.get("loc", ()))
    return refusal(request, BadInput(f"{where}: {first.get('msg', 'not valid')}"))
