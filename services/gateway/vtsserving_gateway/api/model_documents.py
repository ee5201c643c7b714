"""The OpenAPI description of each model's methods, from what was recorded when it was saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._codecs.json_arrays import ArraySpec
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_text import (
    RULE_OF_0_1,
    argument_texts,
    array_text,
    result_source,
    result_texts,
)
from vtsserving.exceptions import IntegrityError, NewerFormat
from vtsserving_gateway.api.openapi import BINARY, call_operation, error_answer
from vtsserving_gateway.predict.decode import Target

MAX_MODELS: Final = 1_000
"""Most models in one document; a cursor leads to more."""

_TYPES: Final = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "string"}
_ZEROS: Final = {"b": False, "i": 0, "u": 0, "f": 0.0, "U": ""}


class ModelPaths(NamedTuple):
    """The models of one document.

    Attributes:
        paths: `/v1/models/{name}/{method}` to its path item, with the name and method filled in.
        cursor: for the next document; empty where this is the last.
    """

    paths: dict[str, Any]
    cursor: str


def model_paths(entries: Iterable[CatalogEntry], cursor: str = "") -> ModelPaths:
    """The path items of the newest version of each model, by name.

    Args:
        entries: the newest of each name before the others.
        cursor: of the document before.
    """
    newest: dict[str, CatalogEntry] = {}
    for entry in entries:
        if entry.name > cursor:
            newest.setdefault(entry.name, entry)
    paths: dict[str, Any] = {}
    names = sorted(newest)
    for name in names[:MAX_MODELS]:
        for method in newest[name].signatures:
            try:
                paths[f"/v1/models/{name}/{method}"] = {"post": _operation(newest[name], method)}
            except (NewerFormat, IntegrityError):
                break  # it cannot be called here; `GET /v1/models/{tag}` says why
    return ModelPaths(paths, names[MAX_MODELS - 1] if len(names) > MAX_MODELS else "")


def _operation(entry: CatalogEntry, method: str) -> dict[str, Any]:
    target = Target(entry, entry.method(method))
    outputs = target.outputs
    operation = call_operation(f"{entry.name}-{method}", [])
    operation["responses"]["401"] = error_answer("The token is missing or not valid.")
    operation["responses"]["default"] = error_answer("Any other error.")
    operation["tags"] = [entry.name]
    operation["summary"] = f"{method} of {entry.tag}"
    operation["description"] = _in_words(target.method.contract)
    inputs = target.inputs
    arguments = list(entry.input_example)
    if inputs is not None:
        schema = _call_schema(target, inputs, arguments or [example(spec) for spec in inputs])
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


def _in_words(contract: MethodContract) -> str:
    """What arguments are and how results follow rows, one line for each."""
    lines = [f"{one.name}: {_joined(one.kind, one.type)}" for one in argument_texts(contract)]
    lines += [f"{one.part}: {_joined(one.rows, one.type)}" for one in result_texts(contract)]
    if contract.undescribed == "every_array_and_list":
        return RULE_OF_0_1
    return "\n".join([*lines, result_source(contract)])


def _joined(*words: str) -> str:
    return "; ".join(word for word in words if word) or "not described"


def _call_schema(target: Target, inputs: list[ArraySpec], arguments: list[Any]) -> dict[str, Any]:
    contract = target.method.contract
    schemas = [
        {**array_schema(spec), **_described(array_text(contract, spec.name, at))}
        for at, spec in enumerate(inputs)
    ]
    call = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "args": {"type": "array", "prefixItems": schemas},
            "kwargs": {
                "type": "object",
                "properties": {spec.name: schema for spec, schema in zip(inputs, schemas, strict=True)},
            },
        },
        "examples": [{"args": arguments}],
    }
    if len(inputs) > 1:
        return call
    return {"oneOf": [schemas[0], call], "examples": [arguments[0]]}


def _described(text: str) -> dict[str, str]:
    return {"description": f"{text[0].upper()}{text[1:]}."} if text else {}


def array_schema(spec: ArraySpec) -> dict[str, Any]:
    """The JSON schema of nested lists of a shape."""
    schema: dict[str, Any] = {"type": _TYPES[spec.dtype.kind]}
    if spec.dtype.kind == "f":
        schema["type"] = ["number", "null"]  # what is missing is NaN
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
