"""The OpenAPI description of inference in the Open Inference Protocol, whose routes never reach FastAPI."""

from __future__ import annotations

from typing import Any, Final

ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {"error": {"type": "string"}},
}

_PARAMETERS: Final[dict[str, Any]] = {"type": ["object", "null"], "additionalProperties": True}
_SHAPE: Final[dict[str, Any]] = {"type": "array", "items": {"type": "integer", "minimum": 0}, "maxItems": 8}
_DATATYPE: Final[dict[str, Any]] = {
    "type": "string",
    "enum": [
        *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
        *("FP16", "BF16", "FP32", "FP64", "BYTES"),
    ],
}
_TENSOR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": _SHAPE,
        "datatype": _DATATYPE,
        "parameters": _PARAMETERS,
        "data": {"type": "array", "items": {}, "description": "Row-major, flat or nested."},
    },
}
_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"]},
        "parameters": {**_PARAMETERS, "description": "`timeout` (microseconds), `binary_data_output`."},
        "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
        "outputs": {
            "type": ["array", "null"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "parameters": _PARAMETERS},
            },
        },
    },
    "description": "`GET /v2/models/{model}` says the names, shapes and datatypes of the inputs.",
}
_RESPONSE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "id": {"type": "string"},
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}
_BINARY: Final[dict[str, Any]] = {
    "schema": {
        "type": "string",
        "format": "binary",
        "description": "The JSON, then the binary tensors; Inference-Header-Content-Length says how long the JSON is.",
    }
}


def error_answer(description: str) -> dict[str, Any]:
    """An answer with the protocol's error."""
    schema = {"$ref": "#/components/schemas/InferenceError"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def infer_paths() -> dict[str, Any]:
    """The path items of inference."""
    return {
        "/v2/models/{model}/infer": {"post": _infer("infer", ["model"])},
        "/v2/models/{model}/versions/{version}/infer": {
            "post": _infer("infer_version", ["model", "version"])
        },
    }


def _infer(operation: str, names: list[str]) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    return {
        "tags": ["open inference protocol"],
        "operationId": operation,
        "summary": "Inference" + (" by an exact version" if "version" in names else ""),
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _REQUEST}, "application/octet-stream": _BINARY},
        },
        "responses": {
            "200": {
                "description": "The outputs.",
                "content": {"application/json": {"schema": _RESPONSE}, "application/octet-stream": _BINARY},
            },
            "400": error_answer("The request cannot be read or does not fit the model."),
            "404": error_answer("No such model, version or method."),
        },
    }
