"""Schemas that others refer to, moved to where an OpenAPI document has them."""

from __future__ import annotations

import re
from typing import Any, Final

_LOCAL: Final = "#/$defs/"
_SHARED: Final = "#/components/schemas/"


def share(operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """An operation whose schemas refer to `components`.

    What a JSON schema calls `#/$defs/Name` would be looked for at the root of the whole document.

    Args:
        operation: an OpenAPI operation, its schemas as pydantic makes them, each with its own `$defs`.
        schemas: the document's; those of the operation are added, under names that no other operation has.
    """
    return {
        key: _moved(value, f"{operation['operationId']}_{key}", "", schemas)
        for key, value in operation.items()
    }


def _moved(value: Any, place: str, names: str, schemas: dict[str, Any]) -> Any:
    """`value` without `$defs`.

    Args:
        value: any part of the operation.
        place: names `value` among all of the document.
        names: what the names of the definitions around `value` begin with; empty where there are none.
        schemas: gets the definitions.
    """
    if isinstance(value, list):
        return [_moved(item, f"{place}_{at}", names, schemas) for at, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    definitions = value.get("$defs")
    if isinstance(definitions, dict):
        names = re.sub("[^A-Za-z0-9]+", "_", place)
        for name, schema in definitions.items():
            schemas[f"{names}.{name}"] = _moved(schema, f"{place}_{name}", names, schemas)
    moved = {
        key: _moved(item, f"{place}_{key}", names, schemas) for key, item in value.items() if key != "$defs"
    }
    reference = moved.get("$ref")
    if names and isinstance(reference, str) and reference.startswith(_LOCAL):
        moved["$ref"] = f"{_SHARED}{names}.{reference.removeprefix(_LOCAL)}"
    mapping = (moved.get("discriminator") or {}).get("mapping") if "discriminator" in moved else None
    if names and mapping:
        moved["discriminator"]["mapping"] = {
            kind: f"{_SHARED}{names}.{target.removeprefix(_LOCAL)}" for kind, target in mapping.items()
        }
    return moved
