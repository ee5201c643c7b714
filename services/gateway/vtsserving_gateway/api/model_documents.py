"""The OpenAPI description of each model's methods, from what was recorded when it was saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._codecs.json_arrays import ArraySpec
from vtsserving_gateway.api.openapi import BINARY, call_operation, error_answer
from vtsserving_gateway.predict.decode import Target

MAX_MODELS: Final = 100
"""Most models that the document lists, the newest first."""

_TYPES: Final = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "string"}
_ZEROS: Final = {"b": False, "i": 0, "u": 0, "f": 0.0, "U": ""}


def model_paths(entries: Iterable[CatalogEntry]) -> dict[str, Any]:
    """The path items of the newest version of each model.

    Args:
        entries: newest first.

    Returns:
        `/v1/models/{name}/{method}` to its path item, with the name and method filled in.
    """
    newest: dict[str, CatalogEntry] = {}
    for entry in entries:
        newest.setdefault(entry.name, entry)
    paths: dict[str, Any] = {}
    for entry in list(newest.values())[:MAX_MODELS]:
        for method in entry.signatures:
            paths[f"/v1/models/{entry.name}/{method}"] = {"post": _operation(entry, method)}
    return paths


def _operation(entry: CatalogEntry, method: str) -> dict[str, Any]:
    target = Target(entry, entry.method(method))
    outputs = target.outputs
    operation = call_operation(f"{entry.name}-{method}", [])
    operation["responses"]["401"] = error_answer("The token is missing or not valid.")
    operation["responses"]["default"] = error_answer("Any other error.")
    operation["tags"] = [entry.name]
    operation["summary"] = f"{method} of {entry.tag}"
    inputs = target.inputs
    arguments = list(entry.input_example)
    if inputs is not None:
        schema = _call_schema(inputs, arguments or [example(spec) for spec in inputs])
        operation["requestBody"]["content"] = {"application/json": {"schema": schema}, **BINARY}
    elif arguments:
        shown = (
            arguments[0] if len(arguments) == 1 and isinstance(arguments[0], list) else {"args": arguments}
        )
        operation["requestBody"]["content"]["application/json"]["example"] = shown
    if outputs:
        content = {"application/json": {"schema": array_schema(outputs[0])}, **BINARY}
        operation["responses"]["200"]["content"] = content
    return operation


def _call_schema(inputs: list[ArraySpec], arguments: list[Any]) -> dict[str, Any]:
    call = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "args": {"type": "array", "prefixItems": [array_schema(spec) for spec in inputs]},
            "kwargs": {"type": "object", "properties": {spec.name: array_schema(spec) for spec in inputs}},
        },
        "examples": [{"args": arguments}],
    }
    if len(inputs) > 1:
        return call
    return {"oneOf": [array_schema(inputs[0]), call], "examples": [arguments[0]]}


def array_schema(spec: ArraySpec) -> dict[str, Any]:
    """The JSON schema of nested lists of a shape."""
    schema: dict[str, Any] = {"type": _TYPES[spec.dtype.kind]}
    if spec.dtype.kind == "f":
        schema["type"] = ["number", "null"] if spec.name == "output" else "number"
    for size in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def example(spec: ArraySpec) -> Any:
    """One row of nothing, of the right shape; large shapes have no example that is worth showing."""
    value: Any = _ZEROS[spec.dtype.kind]
    items = 1
    for size in reversed(spec.shape):
        count = 1 if size < 0 else size
        items *= count
        if items > 64:
            return []
        value = [value] * count
    return value
