"""The callable of a method, and its arguments as if the caller had made them here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def method_of(model: object, name: str) -> Callable[..., Any]:
    """The callable of a signature."""
    method: Callable[..., Any] = model if name == "__call__" else getattr(model, name)  # type: ignore[assignment]
    return method


def owned(value: Any) -> Any:
    """An argument as if the caller had made it here: arrays are aligned and may be written to."""
    if type(value) is np.ndarray:
        return value if value.flags.aligned and value.flags.writeable else value.copy()
    if type(value) is list:
        return [owned(item) for item in value] if any(_may_hold_arrays(item) for item in value) else value
    if type(value) is tuple:
        return tuple(owned(item) for item in value)
    if type(value) is dict:
        return {key: owned(item) for key, item in value.items()}
    return value


def _may_hold_arrays(value: Any) -> bool:
    return isinstance(value, (np.ndarray, list, tuple, dict))
