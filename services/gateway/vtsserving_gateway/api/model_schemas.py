"""JSON schemas of what a method takes: arrays, tables, texts, and a call around them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vtsserving._codecs.json_arrays import ArraySpec
from vtsserving._model.argument import NOT_DESCRIBED, Argument
from vtsserving._model.contract_text import array_text, kind_text
from vtsserving_gateway.predict.decode import Target

MAX_CATEGORIES: Final = 100
"""Most categories of a column that a document lists."""

_TYPES: Final = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "U": "string"}
_COLUMNS: Final = (
    (("float", "Float"), ["number", "boolean"]),
    (("int", "uint", "Int", "UInt"), ["integer", "boolean"]),
    (("bool",), ["boolean"]),
    (
        ("str", "bytes", "datetime", "timedelta", "period", "interval", "date", "time", "decimal", "uuid"),
        ["string"],
    ),
)
"""Beginning of a dtype's name to its type in JSON."""


def call_schema(target: Target) -> dict[str, Any]:
    """The schema of the body of a call.

    Args:
        target: a method; something is known of what it takes.
    """
    arguments, contract = target.arguments, target.method.contract
    positional = [
        _argument_schema(target, at) for at in range(max(len(contract.names), len(arguments.specs), 1))
    ]
    names = [_name(target, at) for at in range(len(positional))]
    named = {name: schema for name, schema in zip(names, positional, strict=True) if name}
    named |= {name: _in_words(kind_text(contract, name, -1)) for name in contract.keywords}
    call: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "args": {"type": "array", "prefixItems": positional},
            "kwargs": {"type": "object", "properties": named},
        },
    }
    if arguments.needs_several or sum(spec is not None and bool(spec.name) for spec in arguments.specs) > 1:
        return call
    is_list = positional[0].get("type") == "array"
    return {"oneOf" if is_list else "anyOf": [positional[0], call]}


def _name(target: Target, at: int) -> str:
    spec, names = target.arguments.spec(at), target.method.contract.names
    return spec.name if spec is not None and spec.name else names[at] if at < len(names) else ""


def _argument_schema(target: Target, at: int) -> dict[str, Any]:
    contract, spec = target.method.contract, target.arguments.spec(at)
    described = (
        contract.arguments.get(contract.names[at], NOT_DESCRIBED)
        if at < len(contract.names)
        else NOT_DESCRIBED
    )
    if described.type == "series" and described.columns:
        return {
            "type": "array",
            "items": _cell_schema(described.columns[0]),
            "description": "One value a row.",
        }
    if target.arguments.table(at) is not None:
        return table_schema(described)
    if spec is not None:
        return {**array_schema(spec, taken=True), **_in_words(array_text(contract, _name(target, at), at))}
    words = _in_words(kind_text(contract, _name(target, at), at))
    if described.type in ("texts", "bytes"):
        return {"type": "array", "items": {"type": "string"}, **words}
    return words


def _in_words(text: str) -> dict[str, str]:
    return {"description": f"{text[0].upper()}{text[1:]}."} if text else {}


def array_schema(spec: ArraySpec, *, taken: bool = False) -> dict[str, Any]:
    """The JSON schema of nested lists of a shape.

    Args:
        spec: dtype and shape.
        taken: whether it is an argument, not a result: true and false are numbers there, where fractions are.
    """
    schema: dict[str, Any] = {"type": _TYPES[spec.dtype.kind]}
    if spec.dtype.kind == "f":
        # What is missing is NaN.
        schema["type"] = ["number", "boolean", "null"] if taken else ["number", "null"]
    for size in reversed(spec.shape):
        schema = {"type": "array", "items": schema}
        if size >= 0:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def table_schema(described: Argument) -> dict[str, Any]:
    """The JSON schema of a table: records or rows, or an object in the forms columns and split."""
    columns = described.columns
    row: dict[str, Any] = {
        "type": "array",
        "description": "One value for each column, in the order of the columns.",
    }
    if not columns:
        rows = {"type": "array", "items": {"anyOf": [{"type": "object"}, row]}}
        return {"description": "A table.", "anyOf": [rows, {"type": "object"}]}
    row |= {
        "prefixItems": [_cell_schema(column) for column in columns],
        "minItems": len(columns),
        "maxItems": len(columns),
    }
    names = [str(column["name"]) for column in columns]
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {name: {"type": "array"} for name in ("columns", "index", "data")},
    }
    if len(set(names)) < len(names):
        words = "A table whose columns go by their positions, since two have one name."
        return {"description": words, "anyOf": [{"type": "array", "items": row}, split]}
    cells = dict(zip(names, row["prefixItems"], strict=True))
    more = described.extra_columns == "ignore"
    record = {"type": "object", "properties": cells, "required": names, "additionalProperties": more}
    lists = {name: {"type": ["array", "object"]} for name in names}
    by_name = {"type": "object", "properties": lists, "required": names, "additionalProperties": more}
    words = (
        "A table: records, or rows in the order of the columns; or an object in the forms columns or split."
    )
    return {
        "description": words,
        "anyOf": [{"type": "array", "items": {"anyOf": [record, row]}}, by_name, split],
    }


def _cell_schema(column: Mapping[str, Any]) -> dict[str, Any]:
    dtype, categories = str(column.get("dtype", "")), column.get("categories")
    may_miss = (
        column.get("nullable")
        if column.get("nullable") is not None
        else not dtype.startswith(("int", "uint", "bool"))
    )
    said: dict[str, Any] = {"description": dtype} if dtype else {}
    if categories:
        if len(categories) <= MAX_CATEGORIES:
            said["enum"] = [*categories, *([None] if may_miss else [])]
        return said
    kind = next((kind for beginnings, kind in _COLUMNS if dtype.startswith(beginnings)), None)
    if kind is None:
        return said
    kinds = [*kind, "null"] if may_miss else kind
    return {"type": kinds if len(kinds) > 1 else kinds[0], **said}
