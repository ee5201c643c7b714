"""The part of the OpenAPI document that FastAPI cannot know: the routes that never reach it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from vtsserving_gateway.api import oip_document
from vtsserving_gateway.api.oip_document import infer_paths
from vtsserving_gateway.api.shared_schemas import share
from vtsserving_gateway.predict.forms import JSON, known_forms
from vtsserving_gateway.server.auth_middleware import OPEN

ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "request_id"],
            "properties": {
                "code": {
                    "type": "string",
                    "description": "Stable; see docs/errors.md.",
                    "examples": ["bad_json"],
                },
                "message": {"type": "string"},
                "request_id": {"type": "string"},
            },
        }
    },
}

CALL: Final[dict[str, Any]] = {
    "oneOf": [
        {
            "type": "array",
            "items": {},
            "description": "Rows: one item for each.",
        },
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "args": {"type": "array", "items": {}},
                "kwargs": {"type": "object", "additionalProperties": True},
            },
        },
    ]
}
"""The body of a call of a method of which nothing is known."""

BINARY: Final[dict[str, Any]] = {
    form.media_type.decode(): {"schema": {"type": "string", "format": "binary"}}
    for form in dict.fromkeys(known_forms().values())
    if form is not JSON
}

SECONDS_PATTERN: Final = "^(?!0+([.]0+)?$)[0-9]{1,12}([.][0-9]{1,12})?$"
"""What X-Request-Timeout may be."""

_STATUSES: Final = {
    "400": "The body or a header cannot be read.",
    "404": "No such model, version or method.",
    "406": "The answer has none of the forms that the client accepts.",
    "408": "The request did not arrive in time.",
    "413": "The body has too many bytes or rows.",
    "414": "The URL is too long.",
    "415": "The body has another form.",
    "422": "The values do not fit the method's inputs.",
    "431": "The headers are too large.",
    "500": "The model failed.",
    "503": "Not now; Retry-After says when.",
    "504": "The deadline passed.",
}

_HEADERS: Final = {
    "X-Request-Id": ("string", "Echo of the client's, or a new one."),
    "X-Vts-Model": ("string", "The exact version that answered, `name:version`."),
    "X-Vts-Batch-Size": ("integer", "Rows of the batch that the request was part of."),
    "Server-Timing": ("string", "`queue` and `compute`, milliseconds."),
}


def error_answer(description: str) -> dict[str, Any]:
    """An answer with the body that all errors have."""
    return {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


_SECURITY: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of the store, or of the gateway's token file. Calls need the scope `infer`, loading and "
    "unloading `admin`. A gateway that only its own machine can reach needs none, unless VTSSERVING_AUTH says so.",
}


def install(app: FastAPI, more_paths: dict[str, Any]) -> None:
    """Make `app.openapi()` include the predict routes, `more_paths` and the schema of errors."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            document.setdefault("components", {}).setdefault("schemas", {})["Error"] = ERROR
            document["paths"].setdefault("/v1/models/{tag}", {})["post"] = call_operation(
                "call_only_method", ["tag"]
            )
            document["paths"]["/v1/models/{tag}/{method}"] = {
                "post": call_operation("call_method", ["tag", "method"])
            }
            document["paths"].update(infer_paths())
            schemas = document["components"]["schemas"]
            for path, item in more_paths.items():
                document["paths"][path] = {method: share(one, schemas) for method, one in item.items()}
            document["components"]["securitySchemes"] = {"token": _SECURITY}
            document["security"] = [{"token": []}, {}]
            for path in OPEN & document["paths"].keys():
                for operation in document["paths"][path].values():
                    operation["security"] = []
            _describe_errors(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _describe_errors(document: dict[str, Any]) -> None:
    """Every operation can end in an error of its family; FastAPI's own kind of 422 never comes."""
    schemas = document["components"]["schemas"]
    schemas["InferenceError"] = oip_document.ERROR
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, item in document["paths"].items():
        answer = oip_document.error_answer if path.startswith("/v2") else error_answer
        for operation in item.values():
            responses = operation["responses"]
            if "HTTPValidationError" in str(responses.get("422")):
                del responses["422"]
            if path not in OPEN:
                responses.setdefault("401", answer("The token is missing or not valid."))
            responses.setdefault("default", answer("Any other error."))


def call_operation(operation: str, path_parameters: list[str]) -> dict[str, Any]:
    """A call of a method as an OpenAPI operation; whoever gets it may change it."""
    described = {
        "tag": "`name`, `name:version`, `name:latest`, `name:alias` or `name:prefix`.",
        "method": "One of the model's signatures.",
    }
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": described[name],
            "schema": {"type": "string"},
        }
        for name in path_parameters
    ]
    parameters += [
        {
            "name": "X-Request-Timeout",
            "in": "header",
            "description": "Deadline of the request, decimal seconds.",
            "schema": {"type": "string", "pattern": SECONDS_PATTERN},
        },
        {
            "name": "X-Request-Id",
            "in": "header",
            "description": "Comes back with the answer; up to 128 letters, digits, `.`, `_` and `-`.",
            "schema": {"type": "string"},
        },
    ]
    headers = {
        name: {"schema": {"type": kind}, "description": text} for name, (kind, text) in _HEADERS.items()
    }
    answers: dict[str, Any] = {status: error_answer(text) for status, text in _STATUSES.items()}
    return {
        "tags": ["models"],
        "operationId": operation,
        "summary": "Call a method of a model"
        + ("" if "method" in path_parameters else ": `__call__`, or its only one"),
        "parameters": parameters,
        "requestBody": {"required": True, "content": {"application/json": {"schema": CALL}, **BINARY}},
        "responses": {
            "200": {
                "description": "What the method returned for these rows.",
                "headers": headers,
                "content": {"application/json": {"schema": {}}, **BINARY},
            },
            **answers,
        },
    }
