"""The OpenAPI description of each model's methods, from what was recorded when it was saved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from vtsserving._catalog.catalog import CatalogEntry
from vtsserving._model.contract import MethodContract
from vtsserving._model.contract_text import (
    RULE_OF_0_1,
    argument_texts,
    result_source,
    result_texts,
)
from vtsserving.exceptions import IntegrityError, NewerFormat
from vtsserving_gateway.api.model_examples import body_of, example_call
from vtsserving_gateway.api.model_schemas import array_schema, call_schema
from vtsserving_gateway.api.openapi import BINARY, CALL, call_operation, error_answer
from vtsserving_gateway.predict.decode import Target

MAX_MODELS: Final = 1_000
"""Most models in one document; a cursor leads to more."""


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
    body: dict[str, Any] = {"schema": call_schema(target) if _is_described(target) else CALL}
    arguments = example_call(target)
    if arguments:
        body = {"schema": {**body["schema"], "examples": [body_of(arguments)]}, "example": body_of(arguments)}
    operation["requestBody"]["content"] = {"application/json": body, **BINARY}
    if outputs:
        content = {"application/json": {"schema": array_schema(outputs[0])}, **BINARY}
        operation["responses"]["200"]["content"] = content
    return operation


def _is_described(target: Target) -> bool:
    """Whether anything is known of what a method takes."""
    arguments = target.arguments
    return arguments.table(0) is not None or any(spec is not None for spec in arguments.specs)


def _in_words(contract: MethodContract) -> str:
    """What arguments are and how results follow rows, one line for each."""
    lines = [f"{one.name}: {_joined(one.kind, one.type)}" for one in argument_texts(contract)]
    lines += [f"{one.part}: {_joined(one.rows, one.type)}" for one in result_texts(contract)]
    if contract.undescribed == "every_array_and_list":
        return RULE_OF_0_1
    return "\n".join([*lines, result_source(contract)])


def _joined(*words: str) -> str:
    return "; ".join(word for word in words if word) or "not described"
