"""Methods of paths: HEAD beside GET, the same answer without its body (RFC 9110, 9.3.2), and all that a path has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Match


def add_head(app: FastAPI, routes: Iterable[BaseRoute]) -> None:
    """Let those of an application's routes that have GET answer HEAD, too; the OpenAPI document does not change.

    The server leaves out the body, after it was made. Where that would be much work, or have no end, let the path
    have a HEAD of its own among the routes: it is left as it is.

    Args:
        app: gets the routes for HEAD, after all that it has.
        routes: those of the application, with whole paths.
    """
    given = [route for route in routes if isinstance(route, APIRoute)]
    own = {route.path for route in given if "HEAD" in (route.methods or ())}
    for route in given:
        if "GET" in (route.methods or ()) and route.path not in own:
            app.add_api_route(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                include_in_schema=False,
                response_model=route.response_model,
                response_class=route.response_class,
                status_code=route.status_code,
            )


def with_head(allow: str) -> str:
    """The value of an Allow header, with HEAD where there is GET."""
    methods = [method.strip() for method in allow.split(",")]
    if "GET" not in methods or "HEAD" in methods:
        return allow
    at = methods.index("GET") + 1
    return ", ".join([*methods[:at], "HEAD", *methods[at:]])


def all_methods(routes: Iterable[BaseRoute], scope: Any) -> str:
    """The value of an Allow header with the methods of all routes of a path; Starlette names those of the first one.

    Args:
        routes: of the application.
        scope: of a request.
    """
    found = [
        method
        for route in routes
        if isinstance(route, APIRoute) and route.matches(scope)[0] is not Match.NONE
        for method in sorted(route.methods or ())
    ]
    return with_head(", ".join(dict.fromkeys(found)))
