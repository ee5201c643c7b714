"""A service's functions as routes of the gateway, its runners bound to model processes."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.routing import BaseRoute, Match, Mount, Route

from vtsserving._catalog.catalog import Catalog, CatalogEntry
from vtsserving._inference.remote import DEADLINE_S, LABELS, bind
from vtsserving.exceptions import DeadlineExceeded
from vtsserving.io.specs import INPUT, OUTPUT
from vtsserving.service.service import InferenceApi, Service
from vtsserving_gateway.api.openapi import error_answer
from vtsserving_gateway.functions.functions import BODILESS, FunctionReply, Given, ServedFunction
from vtsserving_gateway.functions.threads import FunctionThreads
from vtsserving_gateway.labels import labels_of
from vtsserving_gateway.state import GatewayState

_log = logging.getLogger(__name__)

_STATUSES: Final = {
    "400": "The body cannot be read.",
    "413": "The body is too large.",
    "415": "The body has another media type.",
    "422": "The values do not fit.",
    "500": "The function or the model failed.",
    "503": "Not now; Retry-After says when.",
    "504": "The deadline passed.",
}


class ServiceRoutes:
    """One service in one gateway.

    Attributes:
        service: what is served.
        models: exact tag to what its runners call, once it has started.
        functions: path to function, of those that a POST may call without ASGI; `routes` fills it.
    """

    def __init__(
        self, service: Service, gateway: GatewayState, catalog: Catalog, threads: FunctionThreads
    ) -> None:
        """Prepare; `start` binds the runners.

        Args:
            service: not served elsewhere in this process.
            gateway: for deadlines, and for the client that the runners call with.
            catalog: knows the runners' models.
            threads: for sync functions.
        """
        self.service = service
        self._gateway = gateway
        self._catalog = catalog
        self._threads = threads
        self.models: dict[str, CatalogEntry] = {}
        self.functions: dict[bytes, ServedFunction] = {}

    async def start(self) -> None:
        """Send the runners' calls over the bus and run the start-up hooks.

        Raises:
            MissingDependency: a descriptor needs a package that is not installed.
            ModelNotFound: a runner's model is not in the store, or its class was not packed.
        """
        for api in self.service.apis.values():
            if api.input is not None:
                api.input.check_packages()
            api.output.check_packages()
        for runner in self.service.runners:
            entry = await bind(
                runner, self._gateway.client, self._catalog, service=self.service.target or "module:svc"
            )
            self.models[entry.tag] = entry
        await _run_hooks(self.service.startup_hooks)

    async def stop(self) -> None:
        """Run the shutdown hooks; one that fails does not keep the others from running."""
        for hook in self.service.shutdown_hooks:
            try:
                await _run_hooks([hook])
            except Exception:
                _log.exception("shutdown_hook_failed")

    def routes(self) -> list[BaseRoute]:
        """Routes to serve after the gateway's own."""
        served: list[BaseRoute] = []
        for api in self.service.apis.values():
            function = ServedFunction(api, self._gateway, self._threads)
            if not self.service.middlewares:
                self.functions[api.route.encode("ascii")] = function
            endpoint = self._wrapped(_Endpoint(function, self._gateway))
            served.append(_CountedRoute(api.route, endpoint, methods=["POST"], name=api.name))
        for mount in self.service.mounts:
            app = _wsgi(mount.app) if mount.is_wsgi else mount.app
            served.append(_WholeMount(mount.path, self._wrapped(app)))
        return served

    def _wrapped(self, app: Any) -> Any:
        for middleware, options in self.service.middlewares:
            app = middleware(app, **options)
        return app

    def paths(self) -> dict[str, Any]:
        """The OpenAPI paths of the APIs."""
        return {api.route: {"post": _operation(api, self.service.name)} for api in self.service.apis.values()}


class _CountedRoute(Route):
    """A route that says which one it is, for the metrics."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """See Route."""
        match, found = super().matches(scope)
        return match, {**found, "route": self}


class _WholeMount(Mount):
    """A mount that answers at its path without a slash, too: nothing here redirects to the one with it."""

    def matches(self, scope: Any) -> tuple[Match, Any]:
        """See Mount."""
        whole = scope.get("root_path", "") + self.path
        if not self.path or scope.get("path") != whole:
            return super().matches(scope)
        match, found = super().matches({**scope, "path": f"{whole}/"})
        return match, {**found, "path": f"{whole}/"}


class _Endpoint:
    """The ASGI application of one function, for requests that a middleware must see."""

    def __init__(self, function: ServedFunction, gateway: GatewayState) -> None:
        self._function = function
        self._gateway = gateway

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        timeout = request.headers.get("x-request-timeout")
        timeout_s = self._gateway.timeout_s(None if timeout is None else timeout.encode("latin-1"))
        DEADLINE_S.set(self._gateway.loop.time() + timeout_s)
        LABELS.set(labels_of(dict(scope["headers"])))
        try:
            reply = await asyncio.wait_for(self._answer(request), timeout_s)
        except asyncio.TimeoutError:
            raise DeadlineExceeded(f"no answer within {timeout_s:.3g} s") from None
        except ClientDisconnect:
            return
        length = [] if reply.status in BODILESS else [(b"content-length", b"%d" % len(reply.body))]
        await send(
            {"type": "http.response.start", "status": reply.status, "headers": [*reply.headers, *length]}
        )
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, request: Request) -> FunctionReply:
        headers = request.headers
        given = Given(
            await request.body(),
            headers.get("content-type", ""),
            headers.get("accept", ""),
            headers.get("content-encoding", ""),
            lambda: request,
        )
        return await self._function.answer(given)


async def _run_hooks(hooks: list[Callable[[], Any]]) -> None:
    for hook in hooks:
        result = hook()
        if inspect.isawaitable(result):
            await result


def _wsgi(app: Any) -> Any:
    from a2wsgi import WSGIMiddleware

    return WSGIMiddleware(app)


def _operation(api: InferenceApi, service: str) -> dict[str, Any]:
    answers: dict[str, Any] = {status: error_answer(text) for status, text in _STATUSES.items()}
    operation: dict[str, Any] = {
        "tags": [service],
        "operationId": f"{service}_{api.name}",
        "summary": api.doc.partition("\n")[0] or api.name,
        "description": api.doc,
        "responses": {
            "200": {"description": "The result.", "content": api.output.content_schema(result=True)},
            **answers,
        },
        OUTPUT: api.output.to_spec(),
    }
    if api.input is not None:
        operation[INPUT] = api.input.to_spec()
        operation["requestBody"] = {
            "required": not api.input.takes_nothing,
            "content": api.input.content_schema(),
        }
    # Examples come from user samples; a document that cannot be written must fail here, not at /openapi.json.
    json.dumps(operation)
    return operation
