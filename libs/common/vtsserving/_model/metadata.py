"""Labels and metadata: what users pass, made plain enough for YAML and JSON."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from vtsserving.exceptions import InvalidMetadata

MAX_LABELS: Final = 256
MAX_LABEL_CHARS: Final = 1_024
MAX_KEY_CHARS: Final = 256
MAX_DEPTH: Final = 32
MAX_TEXT_CHARS: Final = 65_536
MAX_VALUES: Final = 50_000

# What YAML cannot hold even escaped, or only as something that reads back differently.
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def plain_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Check labels.

    Args:
        labels: text to text.

    Returns:
        A copy.

    Raises:
        InvalidMetadata: a key or value is no text, or too long; the message names it.
    """
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise InvalidMetadata(f"labels is a dict from text to text, not {type(labels).__name__}")
    if len(labels) > MAX_LABELS:
        raise InvalidMetadata(f"a model has at most {MAX_LABELS} labels, not {len(labels)}")
    for key, value in labels.items():
        _check_text(key, "a label's name", MAX_KEY_CHARS)
        _check_text(value, f"the label {key!a:.80}", MAX_LABEL_CHARS)
        if not key:
            raise InvalidMetadata("a label's name is empty")
    return {str(key): str(value) for key, value in labels.items()}


def plain_metadata(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """Turn metadata into plain values: numpy scalars and arrays into numbers and lists, tuples into lists.

    Args:
        metadata: text to None, bool, int, float, text, date, datetime, numpy values, and dicts, lists and tuples of
            them.

    Returns:
        A deep copy of None, bool, int, float, str, date, datetime, list and dict.

    Raises:
        InvalidMetadata: a value has another type, is not finite, refers to itself, or is too large; the message has
            its path.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise InvalidMetadata(f"metadata is a dict, not {type(metadata).__name__}")
    plain: dict[str, Any] = _Plain().convert(metadata, "metadata", 0)
    return plain


class _Plain:
    """One conversion; counts the values so that a large one is refused while it is read."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def convert(self, value: Any, path: str, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise InvalidMetadata(f"metadata has more than {MAX_VALUES} values; keep large data in a file")
        if depth > MAX_DEPTH:
            raise InvalidMetadata(f"{path:.200} is nested more than {MAX_DEPTH} deep, or refers to itself")
        if isinstance(value, Mapping):
            return {self._key(key, path): self._item(value[key], key, path, depth) for key in value}
        if isinstance(value, list | tuple):
            return [self.convert(item, f"{path}[{at}]", depth + 1) for at, item in enumerate(value)]
        return self._array(value, path, depth) if hasattr(value, "__array__") else _scalar(value, path)

    def _item(self, value: Any, key: object, path: str, depth: int) -> Any:
        return self.convert(value, f"{path}[{key!a:.80}]", depth + 1)

    def _key(self, key: object, path: str) -> str:
        if not isinstance(key, str):
            raise InvalidMetadata(f"{path:.200} has the key {key!r:.80}; keys are text")
        _check_text(key, f"a key of {path:.200}", MAX_KEY_CHARS)
        return str(key)

    def _array(self, value: Any, path: str, depth: int) -> Any:
        import numpy as np

        array = np.asarray(value)
        if array.dtype.kind == "M":
            if np.isnat(array).any():
                raise InvalidMetadata(f"{path:.200} is not a time; leave it out or use None")
            array = array.astype("datetime64[us]")
        elif array.dtype.kind == "f":
            # tolist() of extended precision would keep numpy's scalars.
            array = array.astype("float64")
        elif array.dtype.kind not in "biuU":
            return _no(value, path)
        return self.convert(array.tolist(), path, depth)


def _scalar(value: Any, path: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _check_text(value, path, MAX_TEXT_CHARS)
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidMetadata(
                f"{path:.200} is {value}; JSON has no such number, so leave it out or use None"
            )
        return float(value)
    if isinstance(value, datetime):
        return datetime.fromisoformat(value.isoformat(timespec="microseconds"))
    return value if type(value) is date else _no(value, path)


def _no(value: Any, path: str) -> Any:
    raise InvalidMetadata(
        f"{path:.200} is of type {type(value).__name__}, which metadata cannot hold; "
        "use text, numbers, dates, lists and dicts, or custom_objects"
    )


def _check_text(value: object, what: str, limit: int) -> None:
    if not isinstance(value, str):
        raise InvalidMetadata(f"{what} is text, not {type(value).__name__}")
    if len(value) > limit:
        raise InvalidMetadata(f"{what:.200} has {len(value)} characters; at most {limit} are allowed")
    if _LONE_SURROGATE.search(value):
        raise InvalidMetadata(f"{what:.200} is not valid Unicode")
