"""What a Service hands on that only its own process knows: pydantic objects become their fields, files their bytes."""

from __future__ import annotations

import io
from typing import Any


def plain(value: Any) -> Any:
    """A value that can be sent, of one that a Service's function was given.

    Args:
        value: any argument of a runner's call; lists, tuples and dicts are looked into.

    Returns:
        A dict for a pydantic object, bytes (from where it stands) for a file; everything else as it is.
    """
    if isinstance(value, io.IOBase):
        content = value.read()
        return content.encode() if isinstance(content, str) else content
    if type(value) is list:
        return [plain(item) for item in value] if any(map(_may_be_foreign, set(map(type, value)))) else value
    if type(value) is tuple:
        return tuple(plain(item) for item in value)
    if type(value) is dict:
        return {key: plain(item) for key, item in value.items()}
    return value.model_dump() if _is_model(type(value)) else value


def _may_be_foreign(kind: type) -> bool:
    return issubclass(kind, io.IOBase | list | tuple | dict) or _is_model(kind)


def _is_model(kind: type) -> bool:
    """Whether objects of a type are those of a pydantic model; never imports pydantic."""
    return hasattr(kind, "model_fields") and hasattr(kind, "model_dump")
