"""Errors as HTTP answers: `{"error": {"code", "message", "request_id"}}`, whatever went wrong."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute

from vtsserving._runtime.http_head import all_methods
from vtsserving.exceptions import AuthError, Forbidden, VtsServingException

_log = logging.getLogger(__name__)

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def add_error_handlers(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Let every error of the application become an answer of one form.

    Args:
        app: the application.
        routes: its routes, for what a path allows.
    """
    app.state.routes = routes
    app.add_exception_handler(VtsServingException, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unknown)


def error_answer(
    request: Request, status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    """One answer.

    Args:
        request: gives the request id.
        status: HTTP status.
        code: stable, for programs.
        message: one line, for people.
        headers: more headers.
    """
    body = {"error": {"code": code, "message": message, "request_id": request_id(request)}}
    return JSONResponse(body, status, headers)


def request_id(request: Request) -> str:
    """The id that the middleware gave this request."""
    return str(request.scope.get("vtsserving_request_id", ""))


async def _known(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, VtsServingException)
    headers: dict[str, str] = {}
    if error.retry_after_s is not None or error.retryable:
        headers["retry-after"] = str(max(1, round(error.retry_after_s or 1)))
    if isinstance(error, AuthError) and not isinstance(error, Forbidden):
        headers["www-authenticate"] = "Bearer"
    status = error.status
    if status >= 500:
        fields: dict[str, Any] = {"code": error.wire_code, "reason": error.message, "path": request.url.path}
        _log.warning("request_failed", extra={**fields, "request_id": request_id(request)})
    return error_answer(request, status, error.wire_code, error.message, headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    in_body = first["loc"][:1] == ("body",)
    if first["type"] == "json_invalid":
        return error_answer(request, 400, "bad_json", "the body is not valid JSON")
    status, code = (422, "invalid_argument") if in_body else (400, "bad_request")
    return error_answer(request, status, code, f"{where}: {first['msg']}"[:1000])


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "bad_request")
    message = {404: f"no such path: {request.url.path[:200]!a}"}.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers = {"allow": all_methods(request.app.state.routes, request.scope)}
        message = f"use {headers['allow']}"
    return error_answer(request, error.status_code, code, message, headers)


async def _gone(request: Request, error: Exception) -> JSONResponse:
    """The client left in the middle of its body; nobody reads this answer."""
    del error
    return error_answer(request, 400, "bad_request", "the request ended early")


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    _log.error(
        "request_broke", exc_info=error, extra={"path": request.url.path, "request_id": request_id(request)}
    )
    return error_answer(request, 500, "internal_error", "the store failed; its log has the details")
