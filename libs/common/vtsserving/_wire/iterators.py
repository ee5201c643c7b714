"""Results that come one by one: generators and their kind become lists, which must end."""

from __future__ import annotations

import itertools
import types
from collections import deque
from typing import Any, Final

from vtsserving._wire.limits import MAX_VALUE_NODES
from vtsserving.exceptions import ResultTooLarge

MAX_ITEMS: Final = MAX_VALUE_NODES
"""Most items of a generator."""

MAX_ITEMS_BYTES: Final = 1 << 30
"""Most bytes of the arrays that a generator gives."""

_EMPTY: Final[dict[Any, Any]] = {}
_VIEWS: Final = (type(_EMPTY.keys()), type(_EMPTY.values()), type(_EMPTY.items()))
ITERATORS: Final = (
    types.GeneratorType,
    map,
    filter,
    zip,
    enumerate,
    range,
    reversed,
    itertools.chain,
    itertools.islice,
    deque,
    set,
    frozenset,
    *_VIEWS,
)
"""Types that become lists. Sets do, too; their order is none."""


def is_iterator(value: Any) -> bool:
    """Whether `value` becomes a list."""
    return isinstance(value, ITERATORS)


def listed(value: Any) -> list[Any]:
    """The items of a generator, or of another of ITERATORS.

    Raises:
        ResultTooLarge: it does not end after MAX_ITEMS items, or gives more than MAX_ITEMS_BYTES of arrays.
    """
    items: list[Any] = []
    size = 0
    for item in value:
        if len(items) == MAX_ITEMS:
            raise ResultTooLarge(f"the result is a {type(value).__name__} of more than {MAX_ITEMS:,} items")
        items.append(item)
        size += int(getattr(item, "nbytes", 0)) if hasattr(item, "dtype") else 0
        if size > MAX_ITEMS_BYTES:
            raise ResultTooLarge(
                f"the result is a {type(value).__name__} of more than {MAX_ITEMS_BYTES:,} bytes"
            )
    return items
